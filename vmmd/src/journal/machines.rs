//! Machines, and what is kept of the host.

use anyhow::Context;
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use vmm_engine::{Keep, KeptHost, KeptMachine};
use vmm_proto::id::MachineId;

use super::record;

/// The machines, by their ids.
const MACHINES: TableDefinition<'_, [u8; 16], &[u8]> = TableDefinition::new("machines");

/// What is kept of the host, by name.
const HOST: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("host");

/// Whether the host takes no new machines: a `BOOLEAN`.
const DRAINING: &str = "draining";

/// Which boot of the host the machines were last known in: a `UTF8String`.
const BOOT: &str = "boot";

/// Makes the tables.
pub(super) fn prepare(transaction: &WriteTransaction) -> anyhow::Result<()> {
    transaction.open_table(MACHINES)?;
    transaction.open_table(HOST)?;
    Ok(())
}

/// Everything that is kept here, and the boot that it is of.
pub(super) fn load(
    transaction: &ReadTransaction,
    kept: &mut Vec<Keep>,
) -> anyhow::Result<Option<String>> {
    for entry in transaction.open_table(MACHINES)?.iter()? {
        let (id, der) = entry?;
        let id = MachineId(id.value());
        let machine = record::machine(der.value()).with_context(|| format!("the machine {id}"))?;
        anyhow::ensure!(machine.id == id, "the machine {id} is kept as {}", machine.id);
        kept.push(Keep::Machine(Box::new(machine)));
    }
    let host = transaction.open_table(HOST)?;
    if let Some(draining) = host.get(DRAINING)? {
        let draining =
            rasn::der::decode(draining.value()).context("whether the host is drained")?;
        kept.push(Keep::Host(KeptHost { draining }));
    }
    let boot = host.get(BOOT)?;
    boot.map(|boot| rasn::der::decode(boot.value()).context("the boot")).transpose()
}

/// Keeps a machine.
pub(super) fn keep(transaction: &WriteTransaction, machine: &KeptMachine) -> anyhow::Result<()> {
    let der = record::machine_to_der(machine)?;
    transaction.open_table(MACHINES)?.insert(machine.id.0, der.as_slice())?;
    Ok(())
}

/// Forgets a machine.
pub(super) fn forget(transaction: &WriteTransaction, id: MachineId) -> anyhow::Result<()> {
    transaction.open_table(MACHINES)?.remove(id.0)?;
    Ok(())
}

/// Keeps what is kept of the host.
pub(super) fn keep_host(transaction: &WriteTransaction, host: KeptHost) -> anyhow::Result<()> {
    let KeptHost { draining } = host;
    set(transaction, DRAINING, &draining)
}

/// Keeps of which boot the machines are.
pub(super) fn keep_boot(transaction: &WriteTransaction, boot: &str) -> anyhow::Result<()> {
    set(transaction, BOOT, &boot.to_owned())
}

fn set<T: rasn::Encode>(
    transaction: &WriteTransaction,
    name: &str,
    value: &T,
) -> anyhow::Result<()> {
    let der = rasn::der::encode(value).context(name.to_owned())?;
    transaction.open_table(HOST)?.insert(name, der.as_slice())?;
    Ok(())
}
