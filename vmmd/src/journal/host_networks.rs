//! The private networks of the host.

use anyhow::Context;
use rasn::types::OctetString;
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use vmm_engine::Keep;
use vmm_proto::resource::{BridgeName, HostNetwork};

/// The networks, by the names of their bridges.
const HOST_NETWORKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("host-networks");

#[allow(
    clippy::pedantic,
    unused_qualifications,
    missing_docs,
    reason = "expanded by rasn's derives"
)]
mod asn1 {
    use rasn::prelude::*;

    /// A private network of the host; its name is the key.
    #[derive(AsnType, Encode, Decode, Debug)]
    #[rasn(automatic_tags)]
    pub(super) struct HostNetwork {
        /// of four octets
        pub(super) address: OctetString,
        pub(super) prefix: u8,
        /// absent: any
        pub(super) uplink: Option<Utf8String>,
    }
}

/// Makes the table.
pub(super) fn prepare(transaction: &WriteTransaction) -> anyhow::Result<()> {
    transaction.open_table(HOST_NETWORKS)?;
    Ok(())
}

/// Everything that is kept here.
pub(super) fn load(transaction: &ReadTransaction, kept: &mut Vec<Keep>) -> anyhow::Result<()> {
    for entry in transaction.open_table(HOST_NETWORKS)?.iter()? {
        let (name, der) = entry?;
        let network = network(name.value(), der.value())
            .with_context(|| format!("the host network {:?}", name.value()))?;
        kept.push(Keep::HostNetwork(network));
    }
    Ok(())
}

/// Keeps one.
pub(super) fn keep(transaction: &WriteTransaction, network: &HostNetwork) -> anyhow::Result<()> {
    let record = asn1::HostNetwork {
        address: OctetString::from(network.address().octets().to_vec()),
        prefix: network.prefix(),
        uplink: network.uplink().map(ToString::to_string),
    };
    let der = rasn::der::encode(&record).map_err(|error| anyhow::anyhow!("{error}"))?;
    transaction.open_table(HOST_NETWORKS)?.insert(network.name().as_str(), der.as_slice())?;
    Ok(())
}

/// Forgets one.
pub(super) fn forget(transaction: &WriteTransaction, name: &BridgeName) -> anyhow::Result<()> {
    transaction.open_table(HOST_NETWORKS)?.remove(name.as_str())?;
    Ok(())
}

fn network(name: &str, der: &[u8]) -> anyhow::Result<HostNetwork> {
    let record: asn1::HostNetwork =
        rasn::der::decode(der).map_err(|error| anyhow::anyhow!("{error}"))?;
    let address: [u8; 4] = record.address.as_ref().try_into().context("its address")?;
    let uplink = record.uplink.as_deref().map(BridgeName::parse).transpose()?;
    let name = BridgeName::parse(name)?;
    Ok(HostNetwork::new(name, address.into(), record.prefix, uplink)?)
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
