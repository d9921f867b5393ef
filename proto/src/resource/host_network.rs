//! Private networks that the host makes for machines, behind addresses of its own.

use std::fmt;
use std::net::Ipv4Addr;

use super::BridgeName;

/// The most host networks of a host.
pub const MAX_HOST_NETWORKS: usize = 16;

/// What private networks are part of: RFC 1918, and RFC 6598 (shared address space).
const PRIVATE: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// The longest prefix: there is room for one machine beside the host.
const PREFIX_MAX: u8 = 30;

/// What is wrong with a host network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostNetworkError {
    /// The kernel takes it for something else.
    #[error("an interface cannot be called \"{0}\"; choose another name")]
    Name(BridgeName),
    /// Not an address of the host in a private network.
    #[error(
        "{0}/{1} is not in a private network: use a part of 10.0.0.0/8, 172.16.0.0/12, \
         192.168.0.0/16 (RFC 1918) or 100.64.0.0/10 (RFC 6598)"
    )]
    NotPrivate(Ipv4Addr, u8),
    /// No room for a machine.
    #[error("a prefix of {0} leaves no room for machines: use {PREFIX_MAX} or less")]
    Prefix(u8),
    /// Not an address that a host can have.
    #[error(
        "{0}/{1} is the address of the network itself or its broadcast address: use another one of \
         it, such as the next"
    )]
    Unusable(Ipv4Addr, u8),
    /// Its way out would be itself.
    #[error("a host network cannot be its own uplink; name an interface that leads out, or none")]
    OwnUplink,
}

/// A private network of the host: a bridge on which the host has an address, and from which machines
/// reach others under the host's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNetwork {
    name: BridgeName,
    address: Ipv4Addr,
    prefix: u8,
    uplink: Option<BridgeName>,
}

impl HostNetwork {
    /// A bridge called `name` on which the host has `address` in a subnet of `prefix` bits, and whose
    /// machines reach others through the interface `uplink`, or through any.
    ///
    /// # Errors
    /// The first [`HostNetworkError`].
    pub fn new(
        name: BridgeName,
        address: Ipv4Addr,
        prefix: u8,
        uplink: Option<BridgeName>,
    ) -> Result<Self, HostNetworkError> {
        for name in [Some(&name), uplink.as_ref()].into_iter().flatten() {
            // The first two name the settings of all and of future interfaces.
            if ["all", "default", "lo"].contains(&name.as_str()) {
                return Err(HostNetworkError::Name(name.clone()));
            }
        }
        if uplink.as_ref() == Some(&name) {
            return Err(HostNetworkError::OwnUplink);
        }
        if prefix > PREFIX_MAX {
            return Err(HostNetworkError::Prefix(prefix));
        }
        let within = |(net, bits): (Ipv4Addr, u8)| prefix >= bits && subnet(address, bits) == net;
        if !PRIVATE.into_iter().any(within) {
            return Err(HostNetworkError::NotPrivate(address, prefix));
        }
        let host = address.to_bits() & !mask(prefix);
        if host == 0 || host == !mask(prefix) {
            return Err(HostNetworkError::Unusable(address, prefix));
        }
        Ok(Self { name, address, prefix, uplink })
    }

    /// The name of its bridge.
    pub const fn name(&self) -> &BridgeName {
        &self.name
    }

    /// The host's address on it.
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Bits of its subnet: 8 to 30.
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The interface through which machines reach others; without one, any.
    pub const fn uplink(&self) -> Option<&BridgeName> {
        self.uplink.as_ref()
    }

    /// The first address of its subnet.
    pub const fn network(&self) -> Ipv4Addr {
        subnet(self.address, self.prefix)
    }

    /// Whether it has addresses in common with the subnet of `prefix` bits (0 to 32) of `address`.
    pub const fn overlaps(&self, address: Ipv4Addr, prefix: u8) -> bool {
        let bits = if self.prefix < prefix { self.prefix } else { prefix };
        subnet(self.address, bits).to_bits() == subnet(address, bits).to_bits()
    }
}

impl fmt::Display for HostNetwork {
    /// The address and the prefix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

const fn mask(prefix: u8) -> u32 {
    match u32::MAX.checked_shl(32_u32.saturating_sub(prefix as u32)) {
        Some(mask) => mask,
        None => 0,
    }
}

const fn subnet(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() & mask(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str, prefix: u8) -> Result<HostNetwork, HostNetworkError> {
        HostNetwork::new(BridgeName::parse("nat0").unwrap(), text.parse().unwrap(), prefix, None)
    }

    #[test]
    fn only_an_address_of_a_host_in_a_private_network_is_taken() {
        for (address, prefix) in [
            ("10.0.0.1", 24),
            ("10.255.255.254", 8),
            ("172.31.0.1", 12),
            ("192.168.7.2", 30),
            ("100.127.0.9", 10),
        ] {
            assert_eq!(
                network(address, prefix).unwrap().to_string(),
                format!("{address}/{prefix}")
            );
        }
        for (address, prefix, rule) in [
            ("8.8.8.8", 24, "RFC 1918"),
            ("172.32.0.1", 16, "RFC 1918"),
            ("192.168.0.1", 15, "RFC 1918"),
            ("100.128.0.1", 24, "RFC 1918"),
            ("10.0.0.1", 0, "RFC 1918"),
            ("127.0.0.1", 8, "RFC 1918"),
            ("169.254.0.1", 16, "RFC 1918"),
            ("10.0.0.1", 31, "30 or less"),
            ("10.0.0.1", 255, "30 or less"),
            ("10.0.0.0", 24, "broadcast"),
            ("10.0.0.255", 24, "broadcast"),
        ] {
            let error = network(address, prefix).unwrap_err().to_string();
            assert!(error.contains(rule), "{address}/{prefix}: {error}");
        }
    }

    #[test]
    fn names_that_mean_something_else_to_the_kernel_are_refused() {
        let name = |text| BridgeName::parse(text).unwrap();
        let make = |bridge, uplink: Option<&'static str>| {
            HostNetwork::new(name(bridge), Ipv4Addr::new(10, 0, 0, 1), 24, uplink.map(name))
        };
        for bridge in ["all", "default", "lo"] {
            assert_eq!(make(bridge, None), Err(HostNetworkError::Name(name(bridge))));
            assert_eq!(make("nat0", Some(bridge)), Err(HostNetworkError::Name(name(bridge))));
        }
        assert_eq!(make("nat0", Some("nat0")), Err(HostNetworkError::OwnUplink));
        assert!(make("nat0", Some("eth0.100")).is_ok());
    }

    #[test]
    fn an_overlap_is_noticed_whichever_is_larger() {
        let network = network("10.1.2.1", 24).unwrap();
        assert_eq!(network.network(), Ipv4Addr::new(10, 1, 2, 0));
        for (address, prefix, overlaps) in [
            ([10, 1, 2, 77], 32, true),
            ([10, 0, 0, 0], 8, true),
            ([0, 0, 0, 0], 0, true),
            ([10, 1, 3, 1], 24, false),
            ([10, 1, 3, 1], 23, true),
            ([11, 0, 0, 0], 8, false),
        ] {
            assert_eq!(network.overlaps(address.into(), prefix), overlaps, "{address:?}/{prefix}");
        }
    }
}
