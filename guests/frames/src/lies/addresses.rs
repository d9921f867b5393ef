//! About addresses: whose they are.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Scene, Sort};
use crate::{
    ADVERTISEMENT, Arp, Buffer, ICMP6, Ipv4, Ipv6, Mac, Neighbour, REPLY, REQUEST, SOLICITATION,
    TYPE_ARP, TYPE_IPV4, TYPE_IPV6, UDP, link_local,
};

const PORT: u16 = 9999;
const TYPE_RARP: u16 = 0x8035;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 1);
const NOBODY: Mac = [0; 6];

pub(super) const SORTS: &[Sort] = &[
    Sort::lie("ipv4-of-another", |scene| Some(ipv4(scene, scene.victim))),
    Sort::lie("ipv4-unspecified", |scene| Some(ipv4(scene, Ipv4Addr::UNSPECIFIED))),
    Sort::lie("ipv4-broadcast", |scene| Some(ipv4(scene, Ipv4Addr::BROADCAST))),
    Sort::honest("honest-arp-request", |scene| {
        arp(scene, REQUEST, (scene.mac, scene.ipv4?), (NOBODY, scene.victim))
    }),
    Sort::honest("honest-arp-reply", |scene| {
        arp(scene, REPLY, (scene.mac, scene.ipv4?), (scene.to, scene.victim))
    }),
    Sort::lie("arp-reply", |scene| {
        arp(scene, REPLY, (scene.mac, scene.victim), (scene.to, Ipv4Addr::BROADCAST))
    }),
    Sort::lie("arp-announcement", |scene| {
        arp(scene, REQUEST, (scene.mac, scene.victim), (NOBODY, scene.victim))
    }),
    Sort::lie("arp-mac", |scene| {
        arp(scene, REPLY, (scene.victim_mac, scene.ipv4?), (scene.to, scene.victim))
    }),
    Sort::lie("arp-reply-of-nobody", |scene| {
        arp(scene, REPLY, (scene.mac, Ipv4Addr::UNSPECIFIED), (scene.to, scene.victim))
    }),
    Sort::lie("rarp", |scene| {
        let mut frame = Buffer::ethernet(scene.to, scene.mac, TYPE_RARP);
        let (sender, target) = ((scene.mac, scene.victim), (scene.mac, scene.victim));
        Arp { operation: 4, sender, target }.write(&mut frame);
        Some(frame)
    }),
    Sort::honest("honest-ipv6", |scene| Some(ipv6(scene, scene.ipv6?))),
    Sort::honest("honest-link-local", |scene| Some(ipv6(scene, link_local(scene.mac)))),
    Sort::lie("ipv6-of-another", |scene| Some(ipv6(scene, scene.victim6))),
    Sort::lie("ipv6-unspecified", |scene| Some(ipv6(scene, Ipv6Addr::UNSPECIFIED))),
    Sort::lie("ipv6-link-local-of-another", |scene| {
        Some(ipv6(scene, link_local(scene.victim_mac)))
    }),
    Sort::honest("honest-advertisement", |scene| {
        let own = scene.ipv6?;
        Some(neighbour(scene, ADVERTISEMENT, own, own, Some(scene.mac)))
    }),
    Sort::honest("honest-solicitation", |scene| {
        Some(neighbour(scene, SOLICITATION, scene.ipv6?, scene.victim6, Some(scene.mac)))
    }),
    Sort::lie("advertisement", |scene| {
        Some(neighbour(scene, ADVERTISEMENT, scene.ipv6?, scene.victim6, Some(scene.mac)))
    }),
    Sort::lie("advertisement-link-local", |scene| {
        let from = link_local(scene.mac);
        Some(neighbour(scene, ADVERTISEMENT, from, scene.victim6, Some(scene.mac)))
    }),
    Sort::lie("advertisement-without-option", |scene| {
        Some(neighbour(scene, ADVERTISEMENT, scene.ipv6?, scene.victim6, None))
    }),
    Sort::lie("advertisement-mac", |scene| {
        let own = scene.ipv6?;
        Some(neighbour(scene, ADVERTISEMENT, own, own, Some(scene.victim_mac)))
    }),
    Sort::lie("solicitation-mac", |scene| {
        let (own, mac) = (scene.ipv6?, scene.victim_mac);
        Some(neighbour(scene, SOLICITATION, own, scene.victim6, Some(mac)))
    }),
    // Who wants to have an address is told that it is taken.
    Sort::lie("duplicate-detection", |scene| {
        let nobody = Ipv6Addr::UNSPECIFIED;
        Some(neighbour(scene, SOLICITATION, nobody, scene.victim6, None))
    }),
    Sort::lie("advertisement-behind-options", |scene| {
        let own = scene.ipv6?;
        let mut frame = Buffer::ethernet(scene.to, scene.mac, TYPE_IPV6);
        Ipv6 { from: own, to: ALL_NODES, next: 0 }.write(&mut frame, |frame| {
            frame.push(&[ICMP6, 0, 1, 4, 0, 0, 0, 0]);
            frame.push(&[ADVERTISEMENT, 0, 0, 0, 0x20, 0, 0, 0]);
            frame.push(&scene.victim6.octets());
        });
        Some(frame)
    }),
    Sort::lie("advertisement-in-fragment", |scene| {
        let own = scene.ipv6?;
        let mut frame = Buffer::ethernet(scene.to, scene.mac, TYPE_IPV6);
        Ipv6 { from: own, to: ALL_NODES, next: 44 }.write(&mut frame, |frame| {
            frame.push(&[ICMP6, 0, 0, 1, 0, 0, 0, 1]);
            frame.push(&[ADVERTISEMENT, 0, 0, 0, 0x20, 0, 0, 0]);
            frame.push(&scene.victim6.octets());
        });
        Some(frame)
    }),
];

fn ipv4(scene: &Scene, from: Ipv4Addr) -> Buffer {
    let mut frame = Buffer::ethernet(scene.to, scene.mac, TYPE_IPV4);
    let header = Ipv4 { from, to: scene.victim, protocol: UDP, fragment: 0 };
    header.write(&mut frame, |frame| frame.udp(PORT, PORT, 0));
    frame
}

fn ipv6(scene: &Scene, from: Ipv6Addr) -> Buffer {
    let mut frame = Buffer::ethernet(scene.to, scene.mac, TYPE_IPV6);
    let header = Ipv6 { from, to: scene.victim6, next: UDP };
    header.write(&mut frame, |frame| frame.udp(PORT, PORT, 0));
    frame
}

type Party = (Mac, Ipv4Addr);

fn arp(scene: &Scene, operation: u8, sender: Party, target: Party) -> Option<Buffer> {
    scene.ipv4?;
    let mut frame = Buffer::ethernet(scene.to, scene.mac, TYPE_ARP);
    Arp { operation, sender, target }.write(&mut frame);
    Some(frame)
}

fn neighbour(
    scene: &Scene,
    kind: u8,
    from: Ipv6Addr,
    target: Ipv6Addr,
    mac: Option<Mac>,
) -> Buffer {
    let mut frame = Buffer::ethernet(scene.to, scene.mac, TYPE_IPV6);
    Neighbour { kind, target, mac }.write(&mut frame, from, ALL_NODES);
    frame
}
