//! ARP for IPv4 over Ethernet (RFC 826).

use core::net::Ipv4Addr;

use crate::{Buffer, Host, Mac};

/// The operation of a request.
pub const REQUEST: u8 = 1;
/// The operation of a reply.
pub const REPLY: u8 = 2;

const SIZE: usize = 28;
/// Ethernet, IPv4, and their sizes.
const ARP_IPV4: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];

/// A message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// [`REQUEST`] or [`REPLY`].
    pub operation: u8,
    /// Who says so.
    pub sender: (Mac, Ipv4Addr),
    /// Who is asked, or told.
    pub target: (Mac, Ipv4Addr),
}

impl Arp {
    /// Reads the payload of a frame.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let packet: &[u8; SIZE] = packet.first_chunk()?;
        if packet[..6] != ARP_IPV4 || packet[6] != 0 {
            return None;
        }
        let party = |at: usize| {
            let (mac, address) = (packet[at..].first_chunk()?, packet[at + 6..].first_chunk()?);
            Some((*mac, Ipv4Addr::from_octets(*address)))
        };
        Some(Self { operation: packet[7], sender: party(8)?, target: party(18)? })
    }

    /// Adds it to a frame.
    pub fn write(&self, frame: &mut Buffer) {
        frame.push(&ARP_IPV4);
        frame.push(&[0, self.operation]);
        for (mac, address) in [self.sender, self.target] {
            frame.push(&mac);
            frame.push(&address.octets());
        }
    }
}

/// Turns a request for our address into the reply.
pub(crate) fn answer(host: &Host, packet: &mut [u8]) -> Option<usize> {
    let address = host.ipv4?;
    let request = Arp::read(packet)?;
    if request.operation != REQUEST || request.target.1 != address {
        return None;
    }
    packet[7] = REPLY;
    // Who asked becomes the target, and we are the sender.
    packet.copy_within(8..18, 18);
    packet[8..14].copy_from_slice(&host.mac);
    packet[14..18].copy_from_slice(&address.octets());
    Some(SIZE)
}
