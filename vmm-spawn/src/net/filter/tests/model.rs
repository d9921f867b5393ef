//! The same rules once more, as a program about bytes: what the kernel is compared with.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What a guest has.
pub(super) struct Model {
    pub(super) mac: [u8; 6],
    pub(super) address: Option<Ipv4Addr>,
    pub(super) address6: Option<Ipv6Addr>,
}

/// `N` bytes from a place, if they are there.
fn at<const N: usize>(bytes: &[u8], place: usize) -> Option<[u8; N]> {
    bytes.get(place..place + N)?.try_into().ok()
}

fn word(bytes: &[u8], place: usize) -> Option<u16> {
    at(bytes, place).map(u16::from_be_bytes)
}

impl Model {
    fn bare(&self) -> bool {
        self.address.is_none() && self.address6.is_none()
    }

    /// Whether a frame gets through.
    pub(super) fn passes(&self, frame: &[u8]) -> bool {
        self.judge(frame).unwrap_or(false)
    }

    fn judge(&self, frame: &[u8]) -> Option<bool> {
        let to: [u8; 6] = at(frame, 0)?;
        if at::<6>(frame, 6)? != self.mac {
            return None;
        }
        let reserved = to[..5] == [0x01, 0x80, 0xc2, 0, 0]
            || to[..3] == [0x01, 0x00, 0x0c]
            || to[..3] == [0x01, 0x19, 0xa7];
        if reserved {
            return None;
        }
        let rest = frame.get(14..)?;
        match word(frame, 12)? {
            0x0800 if self.address.is_some() || self.bare() => self.ip4(rest),
            0x0806 if self.address.is_some() || self.bare() => self.arp(rest),
            0x86dd if self.address6.is_some() || self.bare() => self.ip6(rest),
            // A tag without the rest of it is no tag, and nothing that can be delivered.
            kind => Some(self.bare() && kind >= 0x600 && !is_of_networks(kind)),
        }
    }

    fn arp(&self, arp: &[u8]) -> Option<bool> {
        let op = arp.get(7)?;
        if at(arp, 0)? != [0, 1, 8, 0, 6, 4, 0] || ![1, 2].contains(op) {
            return None;
        }
        if at::<6>(arp, 8)? != self.mac {
            return None;
        }
        let Some(own) = self.address else { return Some(true) };
        let sender: [u8; 4] = at(arp, 14)?;
        let probe = || *op == 1 && sender == [0; 4] && at(arp, 24) == Some(own.octets());
        Some(sender == own.octets() || probe())
    }

    fn ip4(&self, ip: &[u8]) -> Option<bool> {
        let (protocol, flags) = (*ip.get(9)?, word(ip, 6)?);
        let whole = flags << 2 == 0;
        let first = flags << 3 == 0;
        let membership =
            |kind: Option<&u8>| kind.is_some_and(|it| [0x12, 0x16, 0x17, 0x22].contains(it));
        if let Some(own) = self.address
            && at::<4>(ip, 12)? != own.octets()
        {
            let asks = ip[0] == 0x45 && whole && protocol == 17 && at(ip, 16)? == [255; 4];
            return Some(at(ip, 12)? == [0; 4] && asks && at(ip, 20)? == [0, 68, 0, 67]);
        }
        if ip[0] == 0x46 {
            return Some(whole && protocol == 2 && membership(ip.get(24)));
        }
        Some(
            ip[0] == 0x45
                && match protocol {
                    17 => !first || (word(ip, 20)? != 67 && word(ip, 22)? != 68),
                    1 => !first || ![5, 9].contains(ip.get(20)?),
                    2 => whole && membership(ip.get(20)),
                    103 => false,
                    _ => true,
                },
        )
    }

    fn ip6(&self, ip: &[u8]) -> Option<bool> {
        let (length, next) = (word(ip, 4)?, *ip.get(6)?);
        let source = || at::<16>(ip, 8).map(Ipv6Addr::from);
        if ip[0] >> 4 != 6 {
            return None;
        }
        let groups = || Some(at(ip, 40)? == [58, 0] && [131, 132, 143].contains(ip.get(48)?));
        if !self.bare() && !self.owns(source()?) {
            return Some(
                source()?.is_unspecified()
                    && match next {
                        0 => groups()?,
                        58 => match *ip.get(40)? {
                            133 => length == 8,
                            135 => {
                                self.owns(at::<16>(ip, 48)?.into())
                                    && (length == 24 || length == 32 && at(ip, 64)? == [14, 1])
                            }
                            _ => false,
                        },
                        _ => false,
                    },
            );
        }
        Some(match next {
            6 | 4 | 41 | 47 | 50 | 132 => true,
            17 => word(ip, 40)? != 547 && word(ip, 42)? != 546,
            0 => groups()?,
            44 => {
                let first = word(ip, 42)? >> 3 == 0;
                match *ip.get(40)? {
                    17 => !first || word(ip, 48)? != 547 && word(ip, 50)? != 546,
                    58 => !first || [128, 129].contains(ip.get(48)?),
                    _ => false,
                }
            }
            58 => self.message(ip, length)?,
            _ => false,
        })
    }

    fn message(&self, ip: &[u8], length: u16) -> Option<bool> {
        let option =
            |place, kind| at(ip, place) == Some([kind, 1]) && at(ip, place + 2) == Some(self.mac);
        Some(match *ip.get(40)? {
            1..=4 | 128 | 129 => true,
            133 => length == 8 || length == 16 && option(48, 1),
            135 => length == 24 || length == 32 && (option(64, 1) || at(ip, 64)? == [14, 1]),
            136 => {
                (self.bare() || self.owns(at::<16>(ip, 48)?.into()))
                    && (length == 24 || length == 32 && option(64, 2))
            }
            _ => false,
        })
    }

    fn owns(&self, address: Ipv6Addr) -> bool {
        let [first, second, third, rest @ ..] = self.mac;
        let half = [first ^ 2, second, third, 0xff, 0xfe];
        let local: [u8; 16] =
            [&[0xfe, 0x80, 0, 0, 0, 0, 0, 0][..], &half, &rest].concat().try_into().unwrap();
        let local = Ipv6Addr::from(local);
        self.bare() || Some(address) == self.address6 || address == local
    }
}

fn is_of_networks(kind: u16) -> bool {
    [
        0x22ea, 0x22f3, 0x8035, 0x8100, 0x8808, 0x8809, 0x8863, 0x8864, 0x88a8, 0x88cc, 0x88e3,
        0x88e5, 0x88e6, 0x88e7, 0x888e, 0x88f5, 0x88f6, 0x8902, 0x8926, 0x893f, 0x9000, 0x9100,
        0x9200, 0x9300,
    ]
    .contains(&kind)
}
