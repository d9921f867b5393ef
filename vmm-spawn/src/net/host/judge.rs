//! Whether a host network has room beside what else there is on the host.

use vmm_proto::resource::HostNetwork;

use super::addresses::{Address, Route};
use super::mark::Mark;
use crate::net::link::Link;

/// What there is on the host.
#[derive(Debug, Default)]
pub struct Host {
    /// Its interfaces.
    pub links: Vec<Link>,
    /// Its IPv4 addresses.
    pub addresses: Vec<Address>,
    /// Its IPv4 routes to elsewhere.
    pub routes: Vec<Route>,
}

/// Why a host network cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Collision {
    /// Somebody else's.
    #[error(
        "there is an interface \"{0}\" that is no host network of this vmm-spawn; choose another name"
    )]
    Foreign(String),
    /// Named on the command line.
    #[error(
        "\"{0}\" is named by --bridge of vmm-spawn, and so is the admin's; choose another name"
    )]
    Listed(String),
    /// No way out.
    #[error(
        "there is no interface \"{0}\" to be the uplink; name one that `ip link` shows, or none"
    )]
    NoUplink(String),
    /// A way out of another kind.
    #[error("\"{0}\" is a host network itself, and so no uplink; name an interface that leads out")]
    Inside(String),
    /// Addresses that there are.
    #[error(
        "{network} has addresses in common with {address}/{prefix} of interface \"{interface}\"; \
         choose another subnet"
    )]
    Address {
        /// what was asked for
        network: String,
        /// the address
        address: std::net::Ipv4Addr,
        /// bits of its subnet
        prefix: u8,
        /// of which interface
        interface: String,
    },
    /// Addresses that are somewhere else.
    #[error(
        "{network} has addresses in common with the route to {destination}/{prefix} through \
         interface \"{interface}\"; choose another subnet"
    )]
    Route {
        /// what was asked for
        network: String,
        /// where it leads
        destination: std::net::Ipv4Addr,
        /// bits of that
        prefix: u8,
        /// through which interface
        interface: String,
    },
}

impl Collision {
    /// Whether it is no fault of a network that was there before it.
    pub const fn comes_later(&self) -> bool {
        matches!(self, Self::NoUplink(_) | Self::Address { .. } | Self::Route { .. })
    }
}

impl Host {
    /// The interface of this name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    fn name_of(&self, index: u32) -> String {
        let link = self.links.iter().find(|link| link.index == index);
        link.map_or_else(|| format!("number {index}"), |link| link.name.clone())
    }

    /// The interfaces that routes of last resort go through.
    pub fn ways_out(&self) -> impl Iterator<Item = &Link> {
        let last = self.routes.iter().filter(|route| route.is_last_resort());
        let indices = last.flat_map(|route| &route.interfaces);
        indices.filter_map(|index| self.links.iter().find(|link| link.index == *index))
    }

    /// Whether there is a route of last resort.
    pub fn has_way_out(&self) -> bool {
        self.ways_out().next().is_some()
    }

    /// Whether the bridge of a network is there as that is now, and carries packets. It was judged
    /// before it did so, be it by another process.
    pub fn carries(&self, network: &HostNetwork, mark: &Mark) -> bool {
        let own = self.link(network.name().as_str());
        let Some(own) = own.filter(|link| link.is_up && mark.is_on(link)) else { return false };
        let mut addresses = self.addresses.iter().filter(|address| address.index == own.index);
        let is_its =
            |it: &Address| (it.address, it.prefix) == (network.address(), network.prefix());
        addresses.next().is_some_and(is_its) && addresses.next().is_none()
    }

    /// Whether there is nothing in the way of a network, whose bridge may be there already.
    ///
    /// # Errors
    /// What is in the way.
    pub fn has_room(&self, network: &HostNetwork, mark: &Mark) -> Result<(), Collision> {
        let own = self.link(network.name().as_str());
        if let Some(link) = own.filter(|link| !mark.is_on(link)) {
            return Err(Collision::Foreign(link.name.clone()));
        }
        if let Some(uplink) = network.uplink() {
            let uplink = uplink.to_string();
            match self.link(&uplink) {
                None => return Err(Collision::NoUplink(uplink)),
                Some(link) if mark.is_on(link) => return Err(Collision::Inside(uplink)),
                Some(_) => {}
            }
        }
        let own = own.map(|link| link.index);
        for &Address { index, address, prefix } in &self.addresses {
            if Some(index) != own && network.overlaps(address, prefix) {
                let (network, interface) = (network.to_string(), self.name_of(index));
                return Err(Collision::Address { network, address, prefix, interface });
            }
        }
        let elsewhere = self.routes.iter().filter(|route| !route.is_last_resort());
        for Route { interfaces, destination, prefix } in elsewhere {
            let (Some(destination), Some(&index)) = (*destination, interfaces.first()) else {
                continue;
            };
            if interfaces.iter().any(|&index| Some(index) != own)
                && network.overlaps(destination, *prefix)
            {
                let (network, interface) = (network.to_string(), self.name_of(index));
                let prefix = *prefix;
                return Err(Collision::Route { network, destination, prefix, interface });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use netlink_packet_route::link::InfoKind;
    use vmm_proto::resource::BridgeName;

    use super::*;

    fn network(address: [u8; 4], prefix: u8, uplink: Option<&str>) -> HostNetwork {
        let name = |text| BridgeName::parse(text).unwrap();
        HostNetwork::new(name("nat0"), address.into(), prefix, uplink.map(name)).unwrap()
    }

    fn link(index: u32, name: &str) -> Link {
        Link { index, name: name.into(), ..Link::default() }
    }

    #[test]
    fn what_is_in_the_way_is_named_and_what_is_its_own_is_not() {
        let mark = Mark::of_directory(Path::new("/run/vmm"));
        let own = Link {
            kind: Some(InfoKind::Bridge),
            alias: Some(mark.alias()),
            is_up: true,
            ..link(3, "nat0")
        };
        let inside = Link { name: "nat1".into(), index: 4, ..own.clone() };
        let route = |destination: Option<[u8; 4]>, prefix, index| Route {
            interfaces: vec![index],
            destination: destination.map(Into::into),
            prefix,
        };
        let address =
            |index, address: [u8; 4], prefix| Address { index, address: address.into(), prefix };
        let host = Host {
            links: vec![link(1, "lo"), link(2, "eth0"), own, inside],
            addresses: vec![address(2, [192, 168, 1, 7], 24), address(3, [10, 0, 0, 1], 24)],
            routes: vec![
                route(None, 0, 2),
                route(Some([10, 9, 0, 0]), 16, 2),
                route(Some([10, 0, 0, 0]), 24, 3),
            ],
        };
        let judge = |network: HostNetwork| host.has_room(&network, &mark);
        assert_eq!(judge(network([10, 0, 0, 1], 24, Some("eth0"))), Ok(()));
        for (network, names) in [
            (network([192, 168, 0, 1], 16, None), "192.168.1.7/24 of interface \"eth0\""),
            (network([10, 9, 3, 1], 24, None), "10.9.0.0/16 through interface \"eth0\""),
            (network([10, 0, 0, 1], 8, None), "10.9.0.0/16 through interface \"eth0\""),
            (network([10, 0, 0, 1], 24, Some("eth1")), "no interface \"eth1\""),
            (network([10, 0, 0, 1], 24, Some("nat1")), "\"nat1\" is a host network itself"),
        ] {
            let error = judge(network).unwrap_err().to_string();
            assert!(error.contains(names), "{error}");
        }
        // A tunnel that everything goes through, in two halves beside the default route.
        let mut tunnelled = host;
        tunnelled.links.push(link(5, "tun0"));
        tunnelled
            .routes
            .extend([route(Some([0, 0, 0, 0]), 1, 5), route(Some([128, 0, 0, 0]), 1, 5)]);
        assert_eq!(tunnelled.has_room(&network([10, 0, 0, 1], 24, None), &mark), Ok(()));
        let ways = |host: &Host| host.ways_out().map(|it| it.name.clone()).collect::<Vec<_>>();
        assert_eq!(ways(&tunnelled), ["eth0", "tun0", "tun0"]);
        let host = tunnelled;
        let other = Mark::of_directory(Path::new("/run/other"));
        let error = host.has_room(&network([10, 0, 0, 1], 24, None), &other).unwrap_err();
        assert_eq!(error, Collision::Foreign("nat0".into()));
    }
}
