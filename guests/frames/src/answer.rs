//! Frames become answers in place.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::{BROADCAST, ETHERNET, Mac, TYPE_ARP, TYPE_IPV4, TYPE_IPV6, arp, ipv4, ipv6};

const FRAME_MIN: usize = 60;
const UDP_HEADER: usize = 8;
const ECHO_PORT: [u8; 2] = [0, 7];

/// Who we are on one interface.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// The hardware address.
    pub mac: Mac,
    /// The address, if there is one.
    pub ipv4: Option<Ipv4Addr>,
    /// The address, if there is one; then there is [`link_local`], too.
    pub ipv6: Option<Ipv6Addr>,
}

/// What a frame has become, with its size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// An ARP reply or a neighbour advertisement.
    Neighbour(usize),
    /// An echo.
    Echo(usize),
}

/// The link-local address that follows from a hardware address (RFC 4291, appendix A).
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let mut octets = [0xFE, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFE, 0, 0, 0];
    octets[8..11].copy_from_slice(&mac[..3]);
    octets[13..].copy_from_slice(&mac[3..]);
    octets[8] ^= 2;
    Ipv6Addr::from_octets(octets)
}

/// Where a neighbour with that address listens: its multicast address and the hardware's.
pub fn solicited_node(address: Ipv6Addr) -> (Ipv6Addr, Mac) {
    let [.., d, e, f] = address.octets();
    let mut octets = [0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF, 0, 0, 0];
    octets[13..].copy_from_slice(&[d, e, f]);
    (Ipv6Addr::from_octets(octets), [0x33, 0x33, 0xFF, d, e, f])
}

impl Host {
    /// Turns the frame of `len` bytes in `room` into an answer, if it asks for one. The answer may be
    /// longer, but not longer than `room`.
    pub fn answer(&self, room: &mut [u8], len: usize) -> Option<Answer> {
        let (header, payload) = room.split_at_mut_checked(ETHERNET)?;
        let len = len.checked_sub(ETHERNET).filter(|len| *len <= payload.len())?;
        let to = *header.first_chunk()?;
        let kind = u16::from_be_bytes([header[12], header[13]]);
        let answered = match kind {
            TYPE_ARP if to == self.mac || to == BROADCAST => {
                arp::answer(self, &mut payload[..len])?
            }
            TYPE_IPV4 if to == self.mac => ipv4::answer(self, &mut payload[..len])?,
            TYPE_IPV6 if to == self.mac || self.listens_to(to) => ipv6::answer(self, payload, len)?,
            _ => return None,
        };
        header.copy_within(6..12, 0);
        header[6..12].copy_from_slice(&self.mac);
        let whole = ETHERNET + answered;
        Some(match kind {
            // Short frames are padded, and the padding was there already.
            TYPE_ARP => Answer::Neighbour(FRAME_MIN.min(ETHERNET + len).max(whole)),
            TYPE_IPV6 if payload[40] == crate::ADVERTISEMENT && payload[6] == crate::ICMP6 => {
                Answer::Neighbour(whole)
            }
            _ => Answer::Echo(whole),
        })
    }

    /// Whether an IPv6 address is ours.
    pub(crate) fn has(&self, address: Ipv6Addr) -> bool {
        self.ipv6.is_some_and(|own| own == address || link_local(self.mac) == address)
    }

    /// Whether one of our addresses is asked for at that multicast address.
    fn listens_to(&self, mac: Mac) -> bool {
        let own = self.ipv6.into_iter().chain([link_local(self.mac)]);
        self.ipv6.is_some() && own.map(|own| solicited_node(own).1).any(|node| node == mac)
    }
}

/// Turns a datagram to the echo port into its echo.
pub(crate) fn answer_datagram(datagram: &mut [u8]) -> Option<()> {
    if datagram.len() < UDP_HEADER || datagram[2..4] != ECHO_PORT {
        return None;
    }
    // Two echo services would talk for ever.
    if datagram[..2] == ECHO_PORT {
        return None;
    }
    swap(datagram, 0, 2, 2);
    Some(())
}

/// Has `len` bytes at two places change places.
pub(crate) fn swap(bytes: &mut [u8], a: usize, b: usize, len: usize) {
    (0..len).for_each(|at| bytes.swap(a + at, b + at));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arp, Buffer, ICMP6, Ipv4, Ipv6, Neighbour, REPLY, REQUEST, SOLICITATION, UDP};

    const OURS: Mac = [2, 0, 0, 0, 0, 9];
    const PEER: Mac = [2, 0, 0, 0, 0, 1];
    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn own6() -> Ipv6Addr {
        "fd00::2".parse().unwrap()
    }

    fn other6() -> Ipv6Addr {
        "fd00::1".parse().unwrap()
    }

    fn host() -> Host {
        Host { mac: OURS, ipv4: Some(OWN), ipv6: Some(own6()) }
    }

    fn answered(host: &Host, frame: &Buffer) -> Option<(Answer, Vec<u8>)> {
        let mut room = [0; 1514];
        room[..frame.bytes().len()].copy_from_slice(frame.bytes());
        let answer = host.answer(&mut room, frame.bytes().len())?;
        let (Answer::Neighbour(len) | Answer::Echo(len)) = answer;
        assert_eq!(room[6..12], OURS);
        Some((answer, room[..len].to_vec()))
    }

    #[test]
    fn a_request_for_our_address_is_replied_to() {
        let mut frame = Buffer::ethernet(BROADCAST, PEER, TYPE_ARP);
        let arp = Arp { operation: REQUEST, sender: (PEER, OTHER), target: ([0; 6], OWN) };
        arp.write(&mut frame);
        let (answer, reply) = answered(&host(), &frame).unwrap();
        assert_eq!((answer, &reply[..6]), (Answer::Neighbour(42), &PEER[..]));
        let expected = Arp { operation: REPLY, sender: (OURS, OWN), target: (PEER, OTHER) };
        assert_eq!(Arp::read(&reply[14..]), Some(expected));
        assert!(answered(&Host { ipv4: None, ..host() }, &frame).is_none());
    }

    #[test]
    fn a_datagram_comes_back_over_ipv4() {
        let mut frame = Buffer::ethernet(OURS, PEER, TYPE_IPV4);
        Ipv4 { from: OTHER, to: OWN, protocol: UDP, fragment: 0 }.write(&mut frame, |frame| {
            frame.udp(1000, 7, 2);
            frame.push(b"hi");
        });
        let (answer, reply) = answered(&host(), &frame).unwrap();
        assert_eq!(answer, Answer::Echo(44));
        assert_eq!(reply[26..34], [OWN.octets(), OTHER.octets()].concat());
        assert_eq!(crate::checksum::add(0, &reply[14..34]), 0xFFFF);
        assert_eq!(reply[34..38], [0, 7, 3, 232]);
    }

    #[test]
    fn a_neighbour_is_answered_also_one_without_an_address() {
        for asked in [own6(), link_local(OURS)] {
            for from in [other6(), Ipv6Addr::UNSPECIFIED] {
                let (node, mac) = solicited_node(asked);
                let mut frame = Buffer::ethernet(mac, PEER, TYPE_IPV6);
                let option = (!from.is_unspecified()).then_some(PEER);
                let asking = Neighbour { kind: SOLICITATION, target: asked, mac: option };
                asking.write(&mut frame, from, node);
                assert_eq!(crate::ipv6::sum(&frame.bytes()[14..]), 0xFFFF);
                let (answer, reply) = answered(&host(), &frame).unwrap();
                assert_eq!(answer, Answer::Neighbour(86));
                assert_eq!(crate::ipv6::sum(&reply[14..]), 0xFFFF);
                let told = Neighbour::read(&reply[54..]).unwrap();
                assert_eq!((told.target, told.mac), (asked, Some(OURS)));
                let to = if from.is_unspecified() { "ff02::1".parse().unwrap() } else { from };
                assert_eq!(reply[38..54], to.octets());
            }
        }
    }

    #[test]
    fn pings_and_datagrams_come_back_over_ipv6_with_right_checksums() {
        for next in [ICMP6, UDP] {
            let mut frame = Buffer::ethernet(OURS, PEER, TYPE_IPV6);
            Ipv6 { from: other6(), to: own6(), next }.write(&mut frame, |frame| {
                match next {
                    ICMP6 => _ = frame.push(&[128, 0, 0, 0, 0, 1, 0, 2]),
                    _ => frame.udp(1000, 7, 2),
                }
                frame.push(b"hi");
            });
            let (answer, reply) = answered(&host(), &frame).unwrap();
            assert_eq!(answer, Answer::Echo(64));
            assert_eq!(reply[22..54], [own6().octets(), other6().octets()].concat());
            assert_eq!(crate::ipv6::sum(&reply[14..]), 0xFFFF, "{next}");
            assert_eq!(reply[54..56], if next == ICMP6 { [129, 0] } else { [0, 7] });
        }
    }

    #[test]
    fn nothing_that_is_cut_or_for_others_is_answered() {
        let mut frame = Buffer::ethernet(OURS, PEER, TYPE_IPV6);
        let asking = Neighbour { kind: SOLICITATION, target: own6(), mac: Some(PEER) };
        asking.write(&mut frame, other6(), own6());
        let mut room = [0; 1514];
        for len in 0..frame.bytes().len() {
            room[..len].copy_from_slice(&frame.bytes()[..len]);
            assert_eq!(host().answer(&mut room[..len], len), None, "{len}");
            assert_eq!(host().answer(&mut room, len), None, "{len}");
        }
        assert!(answered(&host(), &frame).is_some());
        assert!(answered(&Host { mac: PEER, ..host() }, &frame).is_none());
        assert!(answered(&Host { ipv6: Some(other6()), ..host() }, &frame).is_none());
        assert!(answered(&Host { ipv6: None, ..host() }, &frame).is_none());
    }
}
