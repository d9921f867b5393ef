//! The private networks of the host.

use anyhow::Context;
use vmm_proto::resource::{BridgeName, HostNetwork};

use super::asn1;

/// A private network, in DER; its name is the key.
///
/// # Errors
/// When it cannot be encoded.
pub(in crate::journal) fn host_network_to_der(network: &HostNetwork) -> anyhow::Result<Vec<u8>> {
    let record = asn1::HostNetwork {
        address: super::octets(&network.address().octets()),
        prefix: network.prefix(),
        uplink: network.uplink().map(ToString::to_string),
    };
    rasn::der::encode(&record).context("a host network")
}

/// A private network, from its name and DER.
///
/// # Errors
/// When it is not what [`host_network_to_der`] makes.
pub(in crate::journal) fn host_network(name: &str, der: &[u8]) -> anyhow::Result<HostNetwork> {
    decoded(name, der).with_context(|| format!("the host network {name:?}"))
}

fn decoded(name: &str, der: &[u8]) -> anyhow::Result<HostNetwork> {
    let record: asn1::HostNetwork = rasn::der::decode(der)?;
    let address: [u8; 4] = record.address.as_ref().try_into().context("its address")?;
    let uplink = record.uplink.as_deref().map(BridgeName::parse).transpose()?;
    let name = BridgeName::parse(name)?;
    Ok(HostNetwork::new(name, address.into(), record.prefix, uplink)?)
}
