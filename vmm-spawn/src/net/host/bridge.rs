//! The bridge of a host network.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use vmm_proto::resource::HostNetwork;

use super::addresses::Address;
use super::forwarding;
use super::judge::Host;
use super::make::Error;
use super::mark::Mark;
use crate::net::link::Link;
use crate::net::netlink::Netlink;

/// Makes the bridge of a network, or makes what there is of it right. A new one is down: it carries
/// packets when the rules for them are in force.
///
/// # Errors
/// The kernel refuses.
pub fn make(
    netlink: &mut Netlink,
    host: &Host,
    network: &HostNetwork,
    mark: &Mark,
) -> Result<Link, Error> {
    let name = network.name().as_str();
    let link = match host.link(name) {
        Some(link) => link.clone(),
        None => create(netlink, name, mark)?,
    };
    if link.alias.is_none() {
        let alias = LinkAttribute::IfAlias(mark.alias());
        netlink.change_link(link.index, vec![alias])?;
    }
    forwarding::without_ipv6(name)?;
    let wanted =
        Address { index: link.index, address: network.address(), prefix: network.prefix() };
    let mut found = false;
    for &address in host.addresses.iter().filter(|address| address.index == link.index) {
        if address == wanted {
            found = true;
        } else {
            netlink.remove_address(address)?;
        }
    }
    if !found {
        netlink.add_address(wanted)?;
    }
    Ok(link)
}

fn create(netlink: &mut Netlink, name: &str, mark: &Mark) -> Result<Link, Error> {
    let mut order = LinkMessage::default();
    order.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        // By it, it is known as ours until the alias is on it, which cannot be given here.
        LinkAttribute::Address(mark.mac(name).to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    netlink.order(RouteNetlinkMessage::NewLink(order), NLM_F_CREATE | NLM_F_EXCL)?;
    crate::failpoint::reach("network-made");
    netlink.link(name)?.ok_or_else(|| Error::Vanished(name.to_owned()))
}
