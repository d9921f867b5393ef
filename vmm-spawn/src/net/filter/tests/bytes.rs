//! Frames that a guest may send, and frames that it may not.

use super::{MAC, OWN, OWN6};
use crate::net::filter::ip6::link_local;

/// A frame, and the kinds of networks (places in `KINDS`) for which it is one of its list.
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) frame: Vec<u8>,
    pub(super) kinds: &'static [usize],
}

const ALL: &[usize] = &[0, 1, 2, 3];
/// IPv4 is managed, or nothing.
const V4: &[usize] = &[0, 1, 3];
const V6: &[usize] = &[0, 2, 3];
/// Where that family is managed.
const ONLY4: &[usize] = &[0, 1];
const ONLY6: &[usize] = &[0, 2];
const MANAGED: &[usize] = &[0, 1, 2];
const BARE: &[usize] = &[3];

const OTHER: [u8; 4] = [10, 7, 0, 3];
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 9];
const ALL_ONES: [u8; 6] = [255; 6];

fn ether(to: [u8; 6], from: [u8; 6], kind: u16, body: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), body].concat()
}

fn arp(op: u16, mac: [u8; 6], address: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let body = [&[0, 1, 8, 0, 6, 4], &op.to_be_bytes()[..], &mac, &address, &[0; 6], &target];
    ether(ALL_ONES, MAC, 0x0806, &body.concat())
}

fn ip4(from: [u8; 4], to: [u8; 4], protocol: u8, fragment: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
    let fragment = fragment.to_be_bytes();
    let head = [0x45, 0, length[0], length[1], 0, 1, fragment[0], fragment[1], 64, protocol, 0, 0];
    ether(PEER, MAC, 0x0800, &[&head[..], &from, &to, body].concat())
}

fn udp(from: u16, to: u16) -> Vec<u8> {
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0, 16, 0, 0], &[9; 8]].concat()
}

fn ip6(from: [u8; 16], next: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let head = [0x60, 0, 0, 0, length[0], length[1], next, 255];
    let to = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    ether([0x33, 0x33, 0, 0, 0, 1], MAC, 0x86dd, &[&head[..], &from, &to, body].concat())
}

fn icmp6(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 0, 0, 0], rest].concat()
}

/// About a target, with an option of its own or none.
fn about(kind: u8, target: [u8; 16], option: &[u8]) -> Vec<u8> {
    icmp6(kind, &[&target[..], option].concat())
}

fn option(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    [&[kind, 1], &mac[..]].concat()
}

fn fragment(next: u8, place: u16, body: &[u8]) -> Vec<u8> {
    let place = place.to_be_bytes();
    [&[next, 0, place[0], place[1], 0, 0, 0, 1], body].concat()
}

fn named<const N: usize>(list: [(&'static str, Vec<u8>, &'static [usize]); N]) -> Vec<Named> {
    list.into_iter().map(|(name, frame, kinds)| Named { name, frame, kinds }).collect()
}

/// What gets through.
pub(super) fn good() -> Vec<Named> {
    let (own, own6, local) = (OWN.octets(), OWN6.octets(), link_local(MAC).octets());
    let echo = [8, 0, 0, 0, 0, 1, 0, 1];
    let mut igmp = ip4(own, [224, 0, 0, 22], 2, 0, &[0x94, 4, 0, 0, 0x22, 0, 0, 0, 0, 0, 0, 0]);
    igmp[14] = 0x46;
    let mut request = ip4([0; 4], [255; 4], 17, 0, &udp(68, 67));
    request[..6].copy_from_slice(&ALL_ONES);
    named([
        ("ARP request", arp(1, MAC, own, OTHER), V4),
        ("ARP reply", arp(2, MAC, own, OTHER), V4),
        ("gratuitous ARP", arp(1, MAC, own, own), V4),
        ("ARP probe", arp(1, MAC, [0; 4], own), V4),
        ("TCP", ip4(own, OTHER, 6, 0, &[1; 20]), V4),
        ("UDP", ip4(own, OTHER, 17, 0, &udp(5000, 53)), V4),
        ("echo", ip4(own, OTHER, 1, 0, &echo), V4),
        ("first fragment", ip4(own, OTHER, 17, 0x2000, &udp(5000, 53)), V4),
        ("later fragment", ip4(own, OTHER, 17, 0x2002, &udp(67, 68)), V4),
        ("GRE", ip4(own, OTHER, 47, 0, &[0; 8]), V4),
        ("IGMP", igmp, V4),
        ("DHCP request", request, V4),
        ("DHCP renewal", ip4(own, OTHER, 17, 0, &udp(68, 67)), V4),
        ("TCP6", ip6(own6, 6, &[1; 20]), V6),
        ("UDP6", ip6(own6, 17, &udp(5000, 53)), V6),
        ("echo6", ip6(own6, 58, &icmp6(128, &[])), V6),
        ("own link-local", ip6(local, 58, &icmp6(128, &[])), V6),
        ("RS", ip6(local, 58, &icmp6(133, &option(1, MAC))), V6),
        ("RS of none", ip6([0; 16], 58, &icmp6(133, &[])), V6),
        ("NS", ip6(own6, 58, &about(135, [7; 16], &option(1, MAC))), V6),
        ("NS plain", ip6(own6, 58, &about(135, [7; 16], &[])), V6),
        ("DAD", ip6([0; 16], 58, &about(135, own6, &[])), V6),
        ("DAD once", ip6([0; 16], 58, &about(135, local, &[14, 1, 1, 2, 3, 4, 5, 6])), V6),
        ("NA", ip6(own6, 58, &about(136, own6, &option(2, MAC))), V6),
        ("NA local", ip6(local, 58, &about(136, local, &[])), V6),
        ("MLD", ip6([0; 16], 0, &[&[58, 0, 5, 2, 0, 0, 1, 0][..], &icmp6(143, &[])].concat()), V6),
        ("fragment6", ip6(own6, 44, &fragment(17, 1, &udp(5000, 53))), V6),
        ("later fragment6", ip6(own6, 44, &fragment(17, 8, &udp(547, 546))), V6),
        ("fragmented echo6", ip6(own6, 44, &fragment(58, 1, &icmp6(128, &[]))), V6),
        ("DHCPv6 request", ip6(local, 17, &udp(546, 547)), V6),
        ("IPv4 of anybody", ip4(OTHER, own, 6, 0, &[1; 20]), BARE),
        ("ARP of anybody", arp(2, MAC, OTHER, own), BARE),
        ("IPv6 of anybody", ip6([9; 16], 6, &[1; 20]), BARE),
        ("another type", ether(PEER, MAC, 0x88b5, &[0; 46]), BARE),
    ])
}

/// What does not.
pub(super) fn bad() -> Vec<Named> {
    let mut all = spoofed();
    all.extend(served());
    all.extend(strange());
    all
}

fn spoofed() -> Vec<Named> {
    let (own, own6, local) = (OWN.octets(), OWN6.octets(), link_local(MAC).octets());
    let mut foreign_mac = ip4(own, OTHER, 6, 0, &[1; 20]);
    foreign_mac[11] ^= 1;
    let mut other6 = own6;
    other6[15] ^= 1;
    let stable = link_local(PEER).octets();
    named([
        ("MAC", foreign_mac, ALL),
        ("IPv4", ip4(OTHER, own, 6, 0, &[1; 20]), MANAGED),
        ("IPv4 fragment", ip4(OTHER, own, 17, 0x2002, &[1; 16]), MANAGED),
        ("IPv4 of none", ip4([0; 4], OTHER, 17, 0, &udp(5000, 53)), MANAGED),
        ("ARP reply for another", arp(2, MAC, OTHER, own), MANAGED),
        ("ARP of another", arp(2, PEER, own, OTHER), ALL),
        ("ARP probe for another", arp(1, MAC, [0; 4], OTHER), MANAGED),
        ("ARP reply of none", arp(2, MAC, [0; 4], own), MANAGED),
        ("reverse ARP", arp(3, MAC, own, own), ALL),
        ("inverse ARP", arp(8, MAC, own, own), ALL),
        ("IPv6", ip6(other6, 6, &[1; 20]), MANAGED),
        ("link-local of another", ip6(stable, 58, &icmp6(128, &[])), MANAGED),
        ("IPv6 of none", ip6([0; 16], 17, &udp(5000, 53)), MANAGED),
        ("NA for another", ip6(own6, 58, &about(136, other6, &option(2, MAC))), MANAGED),
        ("NA, MAC of another", ip6(own6, 58, &about(136, own6, &option(2, PEER))), ALL),
        ("NA, wrong option", ip6(own6, 58, &about(136, own6, &option(1, PEER))), ALL),
        (
            "NA, two options",
            ip6(own6, 58, &about(136, own6, &[option(2, MAC), option(2, PEER)].concat())),
            ALL,
        ),
        ("NS, MAC of another", ip6(own6, 58, &about(135, other6, &option(1, PEER))), ALL),
        ("RS, MAC of another", ip6(local, 58, &icmp6(133, &option(1, PEER))), ALL),
        ("DAD for another", ip6([0; 16], 58, &about(135, other6, &[])), MANAGED),
        ("IPv4 where there is none", ip4(own, OTHER, 6, 0, &[1; 20]), &[2]),
        ("ARP where there is none", arp(1, MAC, own, OTHER), &[2]),
        ("IPv6 where there is none", ip6(own6, 6, &[1; 20]), &[1]),
        ("local where there is none", ip6(local, 58, &icmp6(128, &[])), &[1]),
    ])
}

fn served() -> Vec<Named> {
    let (own, own6, local) = (OWN.octets(), OWN6.octets(), link_local(MAC).octets());
    let router = |next: u8| [&[next, 0, 5, 2, 0, 0, 1, 0][..], &icmp6(134, &[0; 8])].concat();
    named([
        ("DHCP server", ip4(own, OTHER, 17, 0, &udp(67, 68)), ALL),
        ("DHCP server, other port", ip4(own, OTHER, 17, 0, &udp(5000, 68)), ALL),
        ("DHCP relay", ip4(own, OTHER, 17, 0, &udp(67, 67)), ALL),
        ("DHCP server, first fragment", ip4(own, OTHER, 17, 0x2000, &udp(67, 68)), ALL),
        ("DHCP server, cut off", ip4(own, OTHER, 17, 0x2000, &[0]), ALL),
        ("ICMP redirect", ip4(own, OTHER, 1, 0, &[5, 1, 0, 0, 0, 0, 0, 0]), ALL),
        ("ICMP router", ip4(own, OTHER, 1, 0, &[9, 0, 0, 0, 0, 0, 0, 0]), ALL),
        ("IGMP query", ip4(own, OTHER, 2, 0, &[0x11, 0, 0, 0, 0, 0, 0, 0]), ALL),
        ("IGMP fragment", ip4(own, OTHER, 2, 0x2000, &[0x22, 0, 0, 0, 0, 0, 0, 0]), ALL),
        ("PIM", ip4(own, OTHER, 103, 0, &[0x20; 8]), ALL),
        ("RA", ip6(local, 58, &icmp6(134, &[0; 8])), ALL),
        ("redirect", ip6(local, 58, &icmp6(137, &[0; 32])), ALL),
        ("RA behind hop-by-hop", ip6(local, 0, &router(58)), ALL),
        ("RA behind destination options", ip6(local, 60, &router(58)), ALL),
        ("RA behind routing", ip6(local, 43, &router(58)), ALL),
        (
            "RA behind two",
            ip6(local, 0, &[&[60, 0, 1, 4, 0, 0, 0, 0], &router(58)[..]].concat()),
            ALL,
        ),
        ("RA in a fragment", ip6(local, 44, &fragment(58, 1, &icmp6(134, &[0; 8]))), ALL),
        ("RA in a lone fragment", ip6(local, 44, &fragment(58, 0, &icmp6(134, &[0; 8]))), ALL),
        ("options in a fragment", ip6(local, 44, &fragment(60, 1, &router(58))), ALL),
        ("NA in a fragment", ip6(own6, 44, &fragment(58, 1, &about(136, [9; 16], &[]))), ALL),
        (
            "MLD query",
            ip6(local, 0, &[&[58, 0, 5, 2, 0, 0, 1, 0][..], &icmp6(130, &[0; 16])].concat()),
            ALL,
        ),
        ("MLD without its option", ip6(local, 58, &icmp6(143, &[])), ALL),
        ("DHCPv6 server", ip6(local, 17, &udp(547, 546)), ALL),
        ("DHCPv6 server, other port", ip6(local, 17, &udp(5000, 546)), ALL),
        ("DHCPv6 server, fragment", ip6(local, 44, &fragment(17, 1, &udp(547, 546))), ALL),
        ("PIM6", ip6(local, 103, &[0x20; 8]), ALL),
        ("AH", ip6(own6, 51, &[58; 24]), ALL),
    ])
}

fn strange() -> Vec<Named> {
    let own = OWN.octets();
    let inner = ip4(own, OTHER, 6, 0, &[1; 20]);
    let tagged = |tag: u16, vlan: u16| {
        let body = [&vlan.to_be_bytes()[..], &inner[12..]].concat();
        ether(PEER, MAC, tag, &body)
    };
    let twice = ether(PEER, MAC, 0x88a8, &[&[0, 5, 0x81, 0, 0, 7], &inner[12..]].concat());
    let to = |to: [u8; 6]| [&to[..], &inner[6..]].concat();
    let with = |place: usize, byte: u8| {
        let mut frame = arp(1, MAC, own, OTHER);
        frame[place] = byte;
        frame
    };
    let mut options = inner.clone();
    options[14] = 0x46;
    let mut version = inner.clone();
    version[14] = 0x65;
    let bridge = [1, 0x80, 0xc2, 0, 0, 0];
    named([
        ("VLAN", tagged(0x8100, 7), ALL),
        ("VLAN 0", tagged(0x8100, 0), ALL),
        ("802.1ad", tagged(0x88a8, 7), ALL),
        ("stacked VLANs", twice, ALL),
        ("old tag", tagged(0x9100, 7), ALL),
        ("spanning tree", ether(bridge, MAC, 38, &[0x42; 46]), ALL),
        ("spanning tree to all", ether(ALL_ONES, MAC, 38, &[0x42; 46]), ALL),
        (
            "SNAP",
            ether(PEER, MAC, 60, &[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &inner[14..]].concat()),
            ALL,
        ),
        ("LLDP", ether([1, 0x80, 0xc2, 0, 0, 14], MAC, 0x88cc, &[0; 46]), ALL),
        ("LLDP to all", ether(ALL_ONES, MAC, 0x88cc, &[0; 46]), ALL),
        ("pause", ether([1, 0x80, 0xc2, 0, 0, 1], MAC, 0x8808, &[0; 46]), ALL),
        ("IPv4 to bridges", to([1, 0x80, 0xc2, 0, 0, 3]), ALL),
        ("GVRP", to([1, 0x80, 0xc2, 0, 0, 0x21]), ALL),
        ("Cisco", to([1, 0, 0xc, 0xcc, 0xcc, 0xcc]), ALL),
        ("PPPoE", ether(ALL_ONES, MAC, 0x8863, &[0x11; 46]), ALL),
        ("RARP", ether(ALL_ONES, MAC, 0x8035, &[0; 46]), ALL),
        ("EAPOL", ether(PEER, MAC, 0x888e, &[0; 46]), ALL),
        ("another type", ether(PEER, MAC, 0x88b5, &[0; 46]), MANAGED),
        ("ARP, hardware type", with(15, 6), ALL),
        ("ARP, protocol type", with(17, 1), ALL),
        ("ARP, hardware length", with(18, 8), ALL),
        ("ARP, protocol length", with(19, 16), ALL),
        ("ARP, cut off", arp(1, MAC, own, OTHER)[..30].to_vec(), ONLY4),
        ("IPv4 with options", options, ALL),
        ("IPv4, version 6", version, ALL),
        ("IPv4, cut off", inner[..20].to_vec(), ALL),
        ("IPv6, cut off", ip6(OWN6.octets(), 6, &[])[..30].to_vec(), ONLY6),
        (
            "IPv6, version 4",
            {
                let mut frame = ip6(OWN6.octets(), 6, &[1; 20]);
                frame[14] = 0x40;
                frame
            },
            ALL,
        ),
        ("no frame", inner[..13].to_vec(), ALL),
        ("nothing but a header", inner[..14].to_vec(), ALL),
    ])
}
