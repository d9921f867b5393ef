//! Who has an address from now on, told to whoever may know otherwise: the host, other machines and
//! switches remember for a while which hardware address an address had, and a machine that got it
//! just now would not be heard of before it speaks.
//!
//! Frames are made here in the place of the guest, and go through its filter like all others.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::link::Mac;
use super::owner::Identity;

/// To all on a network.
const ALL: Mac = [0xff; 6];

/// All nodes of a link, as a group of Ethernet (RFC 2464, section 7) and of IPv6.
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ICMPV6: u8 = 58;

/// What a guest with managed addresses would say of them.
pub fn frames(identity: Identity) -> Vec<Vec<u8>> {
    let Identity { mac, address, address6 } = identity;
    let arp = address.map(|address| arp(mac, address));
    let advertisement = address6.map(|address| advertisement(mac, address));
    arp.into_iter().chain(advertisement).collect()
}

/// An ARP Announcement (RFC 5227, section 2.3).
fn arp(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
    let own = address.octets();
    [&ether(ALL, mac, 0x0806)[..], &REQUEST, &mac, &own, &[0; 6], &own].concat()
}

/// An unsolicited Neighbor Advertisement (RFC 4861, section 7.2.6) which replaces what is known.
fn advertisement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    const OVERRIDE: u8 = 0x20;
    let target = address.octets();
    let mut message = [&[136, 0, 0, 0, OVERRIDE, 0, 0, 0][..], &target, &[2, 1], &mac].concat();
    let sum = checksum(address, ALL_NODES, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let [.., high, low] = message.len().to_be_bytes();
    let head = [0x60, 0, 0, 0, high, low, ICMPV6, 255];
    let ether = ether(ALL_NODES_MAC, mac, 0x86dd);
    [&ether[..], &head, &target, &ALL_NODES.octets(), &message].concat()
}

fn ether(to: Mac, from: Mac, kind: u16) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes()].concat()
}

/// RFC 4443, section 2.3. The message has an even length.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let pseudo = [&from.octets()[..], &to.octets(), &length, &[0, 0, 0, ICMPV6]].concat();
    let words = pseudo.chunks_exact(2).chain(message.chunks_exact(2));
    let sum = words.fold(0_u32, |sum, word| {
        let sum = sum + u32::from(u16::from_be_bytes([word[0], word[1]]));
        (sum & 0xffff) + (sum >> 16)
    });
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use vmm_proto::id::MachineId;
    use vmm_proto::message::spawn::Interface;
    use vmm_proto::resource::BridgeName;

    use super::*;
    use crate::net::Networks;
    use crate::net::filter::Limits;
    use crate::net::tests::{empty_network, ip, make_bridge};

    #[test]
    fn what_a_host_remembers_of_an_address_is_replaced_when_another_machine_gets_it() {
        let Some(mut netlink) = empty_network() else { return };
        make_bridge(&mut netlink, "ext");
        // A bridge that changes its address or finds a carrier forgets what it knows.
        for order in [
            "link set ext address 02:00:00:00:00:ff",
            "link add up0 type veth peer name far0",
            "link set far0 up",
            "link set up0 master ext up",
            "link set ext up",
            "addr add 10.7.0.1/24 dev ext",
            "addr add fd07::1/64 dev ext nodad",
            "neigh add 10.7.0.2 lladdr 02:00:00:00:00:01 dev ext nud reachable",
            "neigh add fd07::2 lladdr 02:00:00:00:00:01 dev ext nud reachable",
        ] {
            ip(order);
        }
        let bridge = BridgeName::parse("ext").unwrap();
        let mut networks =
            Networks::open(&[bridge], Limits::default(), Path::new("/run/vmm")).unwrap();
        let interface = Interface {
            device: "service".to_owned(),
            bridge: "ext".to_owned(),
            mac: [2, 0, 0, 0, 0, 2],
            address: Some(Ipv4Addr::new(10, 7, 0, 2)),
            address6: Some("fd07::2".parse().unwrap()),
            group: None,
        };
        let _tap = networks.make(MachineId([2; 16]), &[interface]).unwrap();
        for address in ["10.7.0.2", "fd07::2"] {
            let known = ip(&format!("neigh show {address} dev ext"));
            assert!(known.contains("02:00:00:00:00:02"), "{known}");
        }
    }

    #[test]
    fn nothing_is_said_of_addresses_that_are_not_managed() {
        let identity = Identity { mac: [2, 0, 0, 0, 0, 2], address: None, address6: None };
        assert!(frames(identity).is_empty());
    }
}
