//! About the link: whose frames these are, and frames that are for bridges.

use super::{Scene, Sort};
use crate::{Buffer, Ipv4, Mac, TYPE_IPV4, UDP};

/// Somewhere that nobody listens.
const PORT: u16 = 9999;
const VLAN: u16 = 0x8100;
const PROVIDER_VLAN: u16 = 0x88A8;

pub(super) const SORTS: &[Sort] = &[
    Sort::honest("honest-ipv4", |scene| from(scene, scene.mac)),
    Sort::lie("mac-of-another", |scene| from(scene, scene.victim_mac)),
    Sort::lie("mac-multicast", |scene| from(scene, [0x01, 0, 0x5E, 0, 0, 1])),
    Sort::lie("mac-zero", |scene| from(scene, [0; 6])),
    Sort::lie("vlan", |scene| tagged(scene, &[VLAN, 5])),
    Sort::lie("vlan-priority", |scene| tagged(scene, &[VLAN, 0xE000])),
    Sort::lie("vlan-twice", |scene| tagged(scene, &[PROVIDER_VLAN, 5, VLAN, 6])),
    Sort::lie("type-unknown", |scene| Some(Buffer::ethernet(scene.to, scene.mac, 0x88B5))),
    Sort::lie("type-pppoe", |scene| Some(Buffer::ethernet(scene.to, scene.mac, 0x8863))),
    Sort::lie("spanning-tree", |scene| Some(spanning_tree(scene.mac))),
    Sort::lie("link-layer-discovery", |scene| {
        Some(Buffer::ethernet([0x01, 0x80, 0xC2, 0, 0, 0x0E], scene.mac, 0x88CC))
    }),
    Sort::lie("pause", |scene| {
        Some(Buffer::ethernet([0x01, 0x80, 0xC2, 0, 0, 0x01], scene.mac, 0x8808))
    }),
];

/// An honest datagram, but for the hardware address.
fn from(scene: &Scene, mac: Mac) -> Option<Buffer> {
    let mut frame = Buffer::ethernet(scene.to, mac, TYPE_IPV4);
    datagram(scene, &mut frame)?;
    Some(frame)
}

/// An honest datagram behind tags.
fn tagged(scene: &Scene, tags: &[u16]) -> Option<Buffer> {
    let mut frame = Buffer::ethernet(scene.to, scene.mac, tags[0]);
    for word in &tags[1..] {
        frame.push(&word.to_be_bytes());
    }
    frame.push(&TYPE_IPV4.to_be_bytes());
    datagram(scene, &mut frame)?;
    Some(frame)
}

fn datagram(scene: &Scene, frame: &mut Buffer) -> Option<()> {
    let header = Ipv4 { from: scene.ipv4?, to: scene.victim, protocol: UDP, fragment: 0 };
    header.write(frame, |frame| frame.udp(PORT, PORT, 0));
    Some(())
}

/// The best root of all (IEEE 802.1D, 9.3.1).
fn spanning_tree(mac: Mac) -> Buffer {
    let payload = 38_u16;
    let mut frame = Buffer::ethernet([0x01, 0x80, 0xC2, 0, 0, 0], mac, payload);
    frame.push(&[0x42, 0x42, 0x03]);
    // Protocol, version, type, flags; root and its cost; bridge and port; ages.
    frame.push(&[0; 5]);
    for priority_and_cost in [[0; 2].as_slice(), &[0; 4], &[0; 2]] {
        frame.push(priority_and_cost);
        if priority_and_cost.len() == 2 {
            frame.push(&mac);
        }
    }
    frame.push(&[0x80, 1, 0, 0, 20, 0, 2, 0, 15, 0]);
    frame
}
