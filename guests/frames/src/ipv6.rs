//! IPv6: headers, and echoes of pings and datagrams.

use core::net::Ipv6Addr;

use crate::{Buffer, Host, ICMP6, UDP, answer, checksum, icmp6};

const HEADER: usize = 40;
const ECHO_REQUEST: [u8; 2] = [128, 0];

/// A header.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6 {
    /// The source.
    pub from: Ipv6Addr,
    /// The destination.
    pub to: Ipv6Addr,
    /// What follows.
    pub next: u8,
}

impl Ipv6 {
    /// Adds the header and what `write` adds behind it; the checksum of `ICMPv6` or UDP right behind
    /// the header, which `write` leaves zero, is put in.
    pub fn write(&self, frame: &mut Buffer, write: impl FnOnce(&mut Buffer)) {
        let start = frame.len();
        // Neighbour discovery wants the hop limit 255, and to others it is as good.
        frame.push(&[0x60, 0, 0, 0, 0, 0, self.next, 255]);
        frame.push(&self.from.octets());
        frame.push(&self.to.octets());
        write(frame);
        let packet = &mut frame.written()[start..];
        let len = u16::try_from(packet.len() - HEADER).unwrap_or(u16::MAX);
        packet[4..6].copy_from_slice(&len.to_be_bytes());
        fill_checksum(packet);
    }
}

/// Puts the checksum into a packet of a known kind, where zeros are.
pub(crate) fn fill_checksum(packet: &mut [u8]) {
    let place = match packet[6] {
        ICMP6 => HEADER + 2,
        UDP => HEADER + 6,
        _ => return,
    };
    let sum = !sum(packet);
    // In UDP, zero would say that there is none.
    let sum = if sum == 0 { 0xFFFF } else { sum };
    if let Some(place) = packet.get_mut(place..place + 2) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
}

/// The sum over pseudo-header and payload (RFC 8200, 8.1).
pub(crate) fn sum(packet: &[u8]) -> u16 {
    let addresses = checksum::add(u16::from(packet[6]), &packet[8..HEADER]);
    let length = checksum::add(addresses, &packet[4..6]);
    checksum::add(length, &packet[HEADER..])
}

/// Turns a ping, a datagram or a neighbour solicitation at the beginning of `room` into its answer,
/// which may be longer. `len` is the payload of the frame.
pub(crate) fn answer(host: &Host, room: &mut [u8], len: usize) -> Option<usize> {
    if len < HEADER || room[0] >> 4 != 6 {
        return None;
    }
    let whole = HEADER + usize::from(u16::from_be_bytes([room[4], room[5]]));
    if whole > len {
        return None;
    }
    let to = Ipv6Addr::from_octets(*room[24..].first_chunk()?);
    let message = &room[HEADER..whole];
    if room[6] == ICMP6 && message.first() == Some(&icmp6::SOLICITATION) {
        return icmp6::answer(host, room, whole);
    }
    if !host.has(to) {
        return None;
    }
    let (header, payload) = room[..whole].split_at_mut(HEADER);
    match header[6] {
        ICMP6 => answer_ping(payload)?,
        UDP => answer::answer_datagram(payload)?,
        _ => return None,
    }
    answer::swap(header, 8, 24, 16);
    Some(whole)
}

fn answer_ping(message: &mut [u8]) -> Option<()> {
    if message.len() < 8 || message[..2] != ECHO_REQUEST {
        return None;
    }
    message[0] = 129;
    // The type has become 0x0100 more, so the checksum shrinks by that.
    let sum = u16::from_be_bytes([message[2], message[3]]);
    message[2..4].copy_from_slice(&checksum::plus(sum, !0x0100).to_be_bytes());
    Some(())
}
