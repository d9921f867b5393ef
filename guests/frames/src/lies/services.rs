//! About services that belong to the host: addresses handed out, routes announced, and the fragments
//! in which such things hide.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Scene, Sort};
use crate::{Buffer, ICMP6, Ipv4, Ipv6, TYPE_IPV4, TYPE_IPV6, UDP, link_local};

/// Somewhere that nobody listens.
const PORT: u16 = 9999;
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
const DHCP6_SERVER: u16 = 547;
const DHCP6_CLIENT: u16 = 546;
const ROUTER_ADVERTISEMENT: u8 = 134;
const REDIRECT: u8 = 137;
const MORE_FRAGMENTS: u16 = 0x2000;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 1);

pub(super) const SORTS: &[Sort] = &[
    Sort::lie("dhcp-offer", |scene| {
        datagram(scene, 0, |frame| {
            frame.udp(DHCP_SERVER, DHCP_CLIENT, 240);
            // A reply, over Ethernet.
            frame.push(&[2, 1, 6, 0]);
            frame.push(&[0; 232]);
            frame.push(&[99, 130, 83, 99]);
        })
    }),
    // The ports are in the first fragment; the last one has none to look at.
    Sort::lie("dhcp-first-fragment", |scene| {
        datagram(scene, MORE_FRAGMENTS, |frame| frame.udp(DHCP_SERVER, DHCP_CLIENT, 240))
    }),
    Sort::lie("fragment-too-short-for-ports", |scene| {
        datagram(scene, MORE_FRAGMENTS, |frame| {
            // Never smaller than a multiple of eight, but for those who lie.
            frame.push(&[0, 67]);
        })
    }),
    Sort::honest("honest-fragment", |scene| {
        datagram(scene, MORE_FRAGMENTS, |frame| frame.udp(PORT, PORT, 240))
    }),
    // The ports were in the first one.
    Sort::honest("honest-last-fragment", |scene| {
        datagram(scene, 1, |frame| _ = frame.push(&[0; 8]))
    }),
    Sort::lie("dhcp6-advertisement", |scene| {
        let header = Ipv6 { from: scene.ipv6?, to: ALL_NODES, next: UDP };
        Some(packet(scene, header, |frame| {
            frame.udp(DHCP6_SERVER, DHCP6_CLIENT, 4);
            frame.push(&[2, 0, 0, 1]);
        }))
    }),
    Sort::lie("router-advertisement", |scene| {
        Some(packet(scene, announced(scene, ICMP6), |frame| router(frame, ROUTER_ADVERTISEMENT)))
    }),
    Sort::lie("router-advertisement-behind-options", |scene| {
        Some(packet(scene, announced(scene, 60), |frame| {
            frame.push(&[ICMP6, 0, 1, 4, 0, 0, 0, 0]);
            router(frame, ROUTER_ADVERTISEMENT);
        }))
    }),
    Sort::lie("router-advertisement-in-fragment", |scene| {
        Some(packet(scene, announced(scene, 44), |frame| {
            frame.push(&[ICMP6, 0, 0, 1, 0, 0, 0, 1]);
            router(frame, ROUTER_ADVERTISEMENT);
        }))
    }),
    Sort::lie("redirect", |scene| {
        Some(packet(scene, announced(scene, ICMP6), |frame| {
            router(frame, REDIRECT);
            frame.push(&scene.victim6.octets());
            frame.push(&scene.victim6.octets());
        }))
    }),
];

fn datagram(scene: &Scene, fragment: u16, write: impl FnOnce(&mut Buffer)) -> Option<Buffer> {
    let mut frame = Buffer::ethernet(scene.to, scene.mac, TYPE_IPV4);
    let header = Ipv4 { from: scene.ipv4?, to: Ipv4Addr::BROADCAST, protocol: UDP, fragment };
    header.write(&mut frame, write);
    Some(frame)
}

/// From the speaker's own link-local address, as routers speak.
fn announced(scene: &Scene, next: u8) -> Ipv6 {
    Ipv6 { from: link_local(scene.mac), to: ALL_NODES, next }
}

fn packet(scene: &Scene, header: Ipv6, write: impl FnOnce(&mut Buffer)) -> Buffer {
    let mut frame = Buffer::ethernet(scene.to, scene.mac, TYPE_IPV6);
    header.write(&mut frame, write);
    frame
}

/// A message of that type, with the lifetime of a default router.
fn router(frame: &mut Buffer, kind: u8) {
    frame.push(&[kind, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0]);
}
