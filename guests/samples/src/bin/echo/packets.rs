//! Frames become answers in place.

/// Who we are.
pub(crate) struct Host {
    pub(crate) mac: [u8; 6],
    pub(crate) address: [u8; 4],
}

/// What a frame has become, with its size.
pub(crate) enum Answer {
    /// An ARP reply.
    Neighbour(usize),
    /// An echo.
    Echo(usize),
}

const ETHERNET: usize = 14;
const IPV4_MIN: usize = 20;
const UDP: usize = 8;
const ARP_SIZE: usize = 28;
const FRAME_MIN: usize = 60;

const BROADCAST: [u8; 6] = [0xFF; 6];
const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TYPE_ARP: [u8; 2] = [0x08, 0x06];
/// Ethernet, IPv4, and their sizes.
const ARP_IPV4: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_UDP: u8 = 17;
const ECHO_PORT: [u8; 2] = [0, 7];

impl Host {
    /// Turns `frame` into an answer, if it asks for one.
    pub(crate) fn answer(&self, frame: &mut [u8]) -> Option<Answer> {
        let (header, payload) = frame.split_at_mut_checked(ETHERNET)?;
        let for_us = header[..6] == self.mac;
        if !for_us && header[..6] != BROADCAST {
            return None;
        }
        let kind = [header[12], header[13]];
        let len = match kind {
            TYPE_ARP => self.answer_arp(payload)?,
            TYPE_IPV4 if for_us => self.answer_ipv4(payload)?,
            _ => return None,
        };
        header.copy_within(6..12, 0);
        header[6..12].copy_from_slice(&self.mac);
        let whole = ETHERNET + len;
        if kind == TYPE_ARP {
            // Short frames are padded, and the padding was there already.
            return Some(Answer::Neighbour(FRAME_MIN.min(frame.len()).max(whole)));
        }
        Some(Answer::Echo(whole))
    }

    fn answer_arp(&self, packet: &mut [u8]) -> Option<usize> {
        let packet = packet.get_mut(..ARP_SIZE)?;
        let request = packet[..6] == ARP_IPV4 && packet[6..8] == [0, 1];
        if !request || packet[24..28] != self.address {
            return None;
        }
        packet[7] = 2;
        // Who asked becomes the target, and we are the sender.
        packet.copy_within(8..18, 18);
        packet[8..14].copy_from_slice(&self.mac);
        packet[14..18].copy_from_slice(&self.address);
        Some(ARP_SIZE)
    }

    fn answer_ipv4(&self, packet: &mut [u8]) -> Option<usize> {
        let header_len = usize::from(packet.first()? & 0xF) * 4;
        if packet[0] >> 4 != 4 || header_len < IPV4_MIN || packet.len() < header_len {
            return None;
        }
        let len = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        // The flag for more fragments, or an offset.
        let fragment = packet[6] & 0x3F != 0 || packet[7] != 0;
        if fragment || len < header_len || packet[16..20] != self.address {
            return None;
        }
        let (header, payload) = packet.get_mut(..len)?.split_at_mut(header_len);
        match header[9] {
            PROTOCOL_ICMP => answer_ping(payload)?,
            PROTOCOL_UDP => answer_datagram(payload)?,
            _ => return None,
        }
        // Checksums are sums: they stay right when source and destination change places.
        swap(header, 12, 16, 4);
        Some(len)
    }
}

fn answer_ping(message: &mut [u8]) -> Option<()> {
    if message.len() < 8 || message[..2] != [8, 0] {
        return None;
    }
    message[0] = 0;
    // The type has become 0x0800 less; the checksum is a one's complement, so it grows by that.
    let checksum = u16::from_be_bytes([message[2], message[3]]);
    let (sum, carry) = checksum.overflowing_add(0x0800);
    message[2..4].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
    Some(())
}

fn answer_datagram(datagram: &mut [u8]) -> Option<()> {
    if datagram.len() < UDP || datagram[2..4] != ECHO_PORT {
        return None;
    }
    // Two echo services would talk for ever.
    if datagram[..2] == ECHO_PORT {
        return None;
    }
    swap(datagram, 0, 2, 2);
    Some(())
}

fn swap(bytes: &mut [u8], a: usize, b: usize, len: usize) {
    (0..len).for_each(|at| bytes.swap(a + at, b + at));
}

/// Parses `A.B.C.D/P`.
pub(crate) fn parse_network(text: &[u8]) -> Option<([u8; 4], u8)> {
    let (address, prefix) = core::str::from_utf8(text).ok()?.split_once('/')?;
    let prefix = prefix.parse().ok().filter(|&prefix| prefix <= 32)?;
    let mut out = [0; 4];
    let mut parts = address.split('.');
    for byte in &mut out {
        *byte = parts.next()?.parse().ok()?;
    }
    parts.next().is_none().then_some((out, prefix))
}
