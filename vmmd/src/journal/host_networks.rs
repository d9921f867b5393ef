//! The private networks of the host.

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use vmm_engine::Keep;
use vmm_proto::resource::{BridgeName, HostNetwork};

use super::record;

/// The networks, by the names of their bridges.
const HOST_NETWORKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("host-networks");

/// Makes the table.
pub(super) fn prepare(transaction: &WriteTransaction) -> anyhow::Result<()> {
    transaction.open_table(HOST_NETWORKS)?;
    Ok(())
}

/// Everything that is kept here.
pub(super) fn load(transaction: &ReadTransaction, kept: &mut Vec<Keep>) -> anyhow::Result<()> {
    for entry in transaction.open_table(HOST_NETWORKS)?.iter()? {
        let (name, der) = entry?;
        kept.push(Keep::HostNetwork(record::host_network(name.value(), der.value())?));
    }
    Ok(())
}

/// Keeps one.
pub(super) fn keep(transaction: &WriteTransaction, network: &HostNetwork) -> anyhow::Result<()> {
    let der = record::host_network_to_der(network)?;
    transaction.open_table(HOST_NETWORKS)?.insert(network.name().as_str(), der.as_slice())?;
    Ok(())
}

/// Forgets one.
pub(super) fn forget(transaction: &WriteTransaction, name: &BridgeName) -> anyhow::Result<()> {
    transaction.open_table(HOST_NETWORKS)?.remove(name.as_str())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Changes, Journal};
    use super::*;

    #[test]
    fn networks_come_back_as_they_were_until_they_are_forgotten() {
        let name = |text| BridgeName::parse(text).unwrap();
        let network = |text, third, uplink: Option<&'static str>| {
            let address = [10, 0, third, 1].into();
            Keep::HostNetwork(HostNetwork::new(name(text), address, 24, uplink.map(name)).unwrap())
        };
        let commit = |journal: &Journal, kept: Vec<Keep>| {
            let kept = kept.into_iter().map(|keep| (keep.slot(), keep)).collect();
            journal.commit(&Changes { kept, ..Changes::default() }).unwrap();
        };
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let (one, two) = (network("nat0", 0, None), network("nat1", 1, Some("eth0.100")));
        commit(&journal, vec![one.clone(), two.clone()]);
        drop(journal);
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.load().unwrap().kept, [one, two.clone()]);
        commit(&journal, vec![Keep::ForgetHostNetwork { name: name("nat0") }]);
        assert_eq!(journal.load().unwrap().kept, [two]);
    }
}
