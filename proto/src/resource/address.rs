//! Address ranges on a bridge.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// Address bits: 32 or 128.
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// What is wrong with a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// first, last and gateway must be of one family
    #[error("first, last and gateway must be of one family")]
    Family,
    /// the prefix {0} is longer than an address
    #[error("the prefix {0} is longer than an address")]
    Prefix(u8),
    /// the first address is above the last
    #[error("the first address is above the last")]
    Order,
    /// {0} is not in the subnet of the first address
    #[error("{0} is not in the subnet of the first address")]
    Subnet(IpAddr),
    /// the gateway lies between the first and the last address
    #[error("the gateway lies between the first and the last address")]
    GatewayInside,
    /// {0} is no address that a machine can have
    #[error(
        "{0} is no address that a machine can have (unspecified, loopback, multicast, network or \
         broadcast)"
    )]
    Unusable(IpAddr),
}

/// Addresses from `first` to `last`, both included, behind `gateway`, in a subnet of `prefix` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
    gateway: IpAddr,
    prefix: u8,
}

impl AddressRange {
    /// A range that holds what the profile says of ranges.
    ///
    /// # Errors
    /// The first [`RangeError`].
    pub fn new(
        first: IpAddr,
        last: IpAddr,
        gateway: IpAddr,
        prefix: u8,
    ) -> Result<Self, RangeError> {
        let range = Self { first, last, gateway, prefix };
        let family = range.family();
        if [last, gateway].iter().any(|address| family_of(*address) != family) {
            return Err(RangeError::Family);
        }
        if prefix > family.bits() {
            return Err(RangeError::Prefix(prefix));
        }
        if first > last {
            return Err(RangeError::Order);
        }
        for address in [first, last, gateway] {
            if !range.usable(address) {
                return Err(RangeError::Unusable(address));
            }
        }
        if !range.same_subnet(last) {
            return Err(RangeError::Subnet(last));
        }
        if !is_link_local6(gateway) && !range.same_subnet(gateway) {
            return Err(RangeError::Subnet(gateway));
        }
        if first <= gateway && gateway <= last {
            return Err(RangeError::GatewayInside);
        }
        Ok(range)
    }

    /// IPv4 or IPv6.
    pub fn family(&self) -> Family {
        family_of(self.first)
    }

    /// The first address, included.
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address, included.
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// The gateway, outside of the range.
    pub const fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// Bits of the subnet: at most 32 or 128.
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Why this range is not part of the issuer's, if it isn't.
    pub(super) fn misfit(&self, issuer: &AddressRange) -> Option<&'static str> {
        if self.family() != issuer.family() {
            Some("another family than the issuer's")
        } else if self.gateway != issuer.gateway {
            Some("another gateway than the issuer's")
        } else if self.prefix != issuer.prefix {
            Some("another prefix than the issuer's")
        } else if self.first < issuer.first || self.last > issuer.last {
            Some("the range is not inside the issuer's")
        } else {
            None
        }
    }

    fn same_subnet(&self, address: IpAddr) -> bool {
        let host_bits = u32::from(self.family().bits() - self.prefix);
        // Shifting by all bits of the type would overflow: a prefix of 0 is one subnet for all.
        let net = |address: IpAddr| bits_of(address).checked_shr(host_bits).unwrap_or(0);
        net(self.first) == net(address)
    }

    fn usable(&self, address: IpAddr) -> bool {
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
            return false;
        }
        let IpAddr::V4(address) = address else { return true };
        if address.is_broadcast() {
            return false;
        }
        // RFC 3021: with 31 or 32 bits of prefix there is neither network nor broadcast address.
        if self.prefix >= 31 {
            return true;
        }
        let mask = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
        let host = address.to_bits() & mask;
        host != 0 && host != mask
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, gateway, prefix } = self;
        write!(f, "{first}/{last}/{gateway}/{prefix}")
    }
}

const fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(Ipv4Addr::to_bits(address)),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    }
}

fn is_link_local6(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}
