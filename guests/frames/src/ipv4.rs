//! IPv4: headers, and echoes of pings and datagrams.

use core::net::Ipv4Addr;

use crate::{Buffer, Host, ICMP, UDP, answer, checksum};

const HEADER: usize = 20;
const ECHO_REQUEST: [u8; 2] = [8, 0];

/// A header without options.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4 {
    /// The source.
    pub from: Ipv4Addr,
    /// The destination.
    pub to: Ipv4Addr,
    /// What follows.
    pub protocol: u8,
    /// Flags and offset as they are in the header: 0x2000 is "more fragments".
    pub fragment: u16,
}

impl Ipv4 {
    /// Adds the header and what `write` adds behind it.
    pub fn write(&self, frame: &mut Buffer, write: impl FnOnce(&mut Buffer)) {
        let start = frame.len();
        frame.push(&[0x45, 0, 0, 0, 0, 1]);
        frame.push(&self.fragment.to_be_bytes());
        frame.push(&[64, self.protocol, 0, 0]);
        frame.push(&self.from.octets());
        frame.push(&self.to.octets());
        write(frame);
        let packet = &mut frame.written()[start..];
        let len = u16::try_from(packet.len()).unwrap_or(u16::MAX);
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        let sum = !checksum::add(0, &packet[..HEADER]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Turns a ping or a datagram into its echo.
pub(crate) fn answer(host: &Host, packet: &mut [u8]) -> Option<usize> {
    let header_len = usize::from(packet.first()? & 0xF) * 4;
    if packet[0] >> 4 != 4 || header_len < HEADER || packet.len() < header_len {
        return None;
    }
    let len = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    // The flag for more fragments, or an offset.
    let fragment = packet[6] & 0x3F != 0 || packet[7] != 0;
    if fragment || len < header_len || packet[16..20] != host.ipv4?.octets() {
        return None;
    }
    let (header, payload) = packet.get_mut(..len)?.split_at_mut(header_len);
    match header[9] {
        ICMP => answer_ping(payload)?,
        UDP => answer::answer_datagram(payload)?,
        _ => return None,
    }
    // Checksums are sums: they stay right when source and destination change places.
    answer::swap(header, 12, 16, 4);
    Some(len)
}

fn answer_ping(message: &mut [u8]) -> Option<()> {
    if message.len() < 8 || message[..2] != ECHO_REQUEST {
        return None;
    }
    message[0] = 0;
    // The type has become 0x0800 less; the checksum is a one's complement, so it grows by that.
    let sum = u16::from_be_bytes([message[2], message[3]]);
    message[2..4].copy_from_slice(&checksum::plus(sum, 0x0800).to_be_bytes());
    Some(())
}
