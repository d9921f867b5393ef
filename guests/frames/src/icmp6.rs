//! Neighbour discovery (RFC 4861).

use core::net::Ipv6Addr;

use crate::{Buffer, Host, ICMP6, Ipv6, Mac, ipv6};

/// The type of a neighbour solicitation.
pub const SOLICITATION: u8 = 135;
/// The type of a neighbour advertisement.
pub const ADVERTISEMENT: u8 = 136;

const HEADER: usize = 40;
/// Type, code, checksum, flags, target.
const MESSAGE: usize = 24;
const OPTION: usize = 8;
/// Solicited, and it overrides what was known.
const SOLICITED: u8 = 0x60;
const OVERRIDE: u8 = 0x20;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 1);

/// A neighbour solicitation or advertisement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// [`SOLICITATION`] or [`ADVERTISEMENT`].
    pub kind: u8,
    /// Who is asked for, or spoken of.
    pub target: Ipv6Addr,
    /// The source's, or the target's, hardware address.
    pub mac: Option<Mac>,
}

impl Neighbour {
    /// Reads the payload of an IPv6 packet.
    pub fn read(message: &[u8]) -> Option<Self> {
        let (head, options) = message.split_at_checked(MESSAGE)?;
        if ![SOLICITATION, ADVERTISEMENT].contains(&head[0]) || head[1] != 0 {
            return None;
        }
        let wanted = [option(head[0]), 1];
        let mac = options.first_chunk().filter(|option: &&[u8; OPTION]| option[..2] == wanted);
        Some(Self {
            kind: head[0],
            target: Ipv6Addr::from_octets(*head[8..].first_chunk()?),
            mac: mac.and_then(|option| option[2..].first_chunk().copied()),
        })
    }

    /// Adds the packet to a frame.
    pub fn write(&self, frame: &mut Buffer, from: Ipv6Addr, to: Ipv6Addr) {
        Ipv6 { from, to, next: ICMP6 }.write(frame, |frame| {
            let flags = if self.kind == ADVERTISEMENT { OVERRIDE } else { 0 };
            frame.push(&[self.kind, 0, 0, 0, flags, 0, 0, 0]);
            frame.push(&self.target.octets());
            if let Some(mac) = self.mac {
                frame.push(&[option(self.kind), 1]);
                frame.push(&mac);
            }
        });
    }
}

/// The number of the option with the hardware address.
fn option(kind: u8) -> u8 {
    if kind == SOLICITATION { 1 } else { 2 }
}

/// Turns a solicitation for one of our addresses into an advertisement.
pub(crate) fn answer(host: &Host, room: &mut [u8], len: usize) -> Option<usize> {
    let solicitation = Neighbour::read(&room[HEADER..len])?;
    if !host.has(solicitation.target) || room[7] != 255 {
        return None;
    }
    let from = Ipv6Addr::from_octets(*room[8..].first_chunk()?);
    // Who has no address yet wants to know whether it may have ours.
    let (to, flags) = if from.is_unspecified() { (ALL_NODES, OVERRIDE) } else { (from, SOLICITED) };
    let packet = room.get_mut(..HEADER + MESSAGE + OPTION)?;
    packet[4..6].copy_from_slice(&[0, 32]);
    packet[8..24].copy_from_slice(&solicitation.target.octets());
    packet[24..40].copy_from_slice(&to.octets());
    packet[HEADER..HEADER + 8].copy_from_slice(&[ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]);
    packet[HEADER + MESSAGE..][..2].copy_from_slice(&[option(ADVERTISEMENT), 1]);
    packet[HEADER + MESSAGE + 2..].copy_from_slice(&host.mac);
    ipv6::fill_checksum(packet);
    Some(packet.len())
}
