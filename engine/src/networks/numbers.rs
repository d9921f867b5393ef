//! Addresses as numbers, so that both families are searched by the same code.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vmm_proto::resource::{AddressRange, Family};

/// All addresses from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) first: u128,
    pub(super) last: u128,
}

impl Span {
    /// The addresses of a range.
    pub(super) fn of(range: &AddressRange) -> Self {
        Self { first: number(range.first()), last: number(range.last()) }
    }

    pub(super) const fn contains(self, number: u128) -> bool {
        self.first <= number && number <= self.last
    }

    /// What both have, if anything.
    pub(super) fn common(self, other: Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }
}

/// The number of an address, of its family.
pub(super) const fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits() as u128,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of a number. One of IPv4 has only its lowest 32 bits.
pub(super) const fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(v4(number)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

/// The IPv4 address of a number's lowest 32 bits.
#[allow(clippy::cast_possible_truncation, reason = "numbers of IPv4 addresses have 32 bits")]
pub(super) const fn v4(number: u128) -> Ipv4Addr {
    Ipv4Addr::from_bits(number as u32)
}

/// What no machine can have though it may lie inside of a range: the profile looks only at the first
/// and the last address of one.
pub(super) fn never(range: &AddressRange) -> Vec<Span> {
    match range.family() {
        // Only a subnet that is far too large reaches from one of these to the next.
        Family::V4 => {
            let net = |first: [u8; 4], bits: u32| {
                let first = number(Ipv4Addr::from(first).into());
                Span { first, last: first | (u128::from(u32::MAX) >> bits) }
            };
            vec![net([0, 0, 0, 0], 8), net([127, 0, 0, 0], 8), net([224, 0, 0, 0], 4)]
        }
        // RFC 4291, 2.6.1: the first address of a subnet means any of its routers, except (RFC 6164)
        // where it has but two addresses.
        Family::V6 if range.prefix() <= 126 => {
            let hosts = u128::MAX.checked_shr(range.prefix().into()).unwrap_or(0);
            let any_router = number(range.first()) & !hosts;
            vec![Span { first: any_router, last: any_router }]
        }
        Family::V6 => Vec::new(),
    }
}

/// The same addresses in spans that are in order and do not touch.
pub(super) fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut().filter(|last| span.first <= last.last.saturating_add(1)) {
            Some(last) => last.last = last.last.max(span.last),
            None => merged.push(span),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u128, last: u128) -> Span {
        Span { first, last }
    }

    #[test]
    fn spans_that_touch_or_overlap_become_one() {
        let spans = vec![span(7, 9), span(0, 5), span(2, 3), span(6, 6), span(11, u128::MAX)];
        assert_eq!(merged(spans), [span(0, 9), span(11, u128::MAX)]);
    }

    #[test]
    fn what_no_machine_can_have_is_left_out_of_a_range() {
        let range = |first: &str, last: &str, gateway: &str, prefix| {
            let ip = |text: &str| text.parse().unwrap();
            AddressRange::new(ip(first), ip(last), ip(gateway), prefix).unwrap()
        };
        let never = |range: &AddressRange, text: &str| {
            never(range).iter().any(|span| span.contains(number(text.parse().unwrap())))
        };
        let wide = range("1.0.0.2", "250.0.0.1", "251.0.0.1", 0);
        assert!(never(&wide, "127.0.0.1") && never(&wide, "224.0.0.251"));
        assert!(!never(&wide, "126.255.255.255") && !never(&wide, "128.0.0.0"));
        let six = range("fd00::", "fd00::9", "fe80::1", 64);
        assert!(never(&six, "fd00::") && !never(&six, "fd00::1"));
        let pair = range("fd00::", "fd00::", "fd00::1", 127);
        assert!(!never(&pair, "fd00::"));
    }

    #[test]
    fn addresses_and_numbers_are_the_same() {
        for text in ["0.0.0.1", "255.255.255.254", "::1", "fd00::ffff:0:1"] {
            let ip: IpAddr = text.parse().unwrap();
            let family = if ip.is_ipv4() { Family::V4 } else { Family::V6 };
            assert_eq!(address(family, number(ip)), ip);
        }
    }
}
