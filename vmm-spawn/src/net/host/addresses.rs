//! IPv4 addresses and routes of the host.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use vmm_proto::resource::HostNetwork;

use crate::net::netlink::{Error, Netlink};

/// An address of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The number of its interface.
    pub index: u32,
    /// The address.
    pub address: Ipv4Addr,
    /// Bits of its subnet.
    pub prefix: u8,
}

/// Where packets go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// The numbers of the interfaces: several, where it is shared out.
    pub interfaces: Vec<u32>,
    /// Where to; nothing for the route of last resort.
    pub destination: Option<Ipv4Addr>,
    /// Bits of that.
    pub prefix: u8,
}

/// Where the prefix of a route is shorter, it leads to more than any network that somebody has: it is
/// one of last resort, such as the two halves of everything that tunnels put beside the default route.
const NETWORK_MIN: u8 = 8;

impl Route {
    /// Whether it is for what no other route is for.
    pub const fn is_last_resort(&self) -> bool {
        self.prefix < NETWORK_MIN
    }

    /// Whether one of these could go out through it, or be in its way.
    pub fn matters_to(&self, networks: &[HostNetwork]) -> bool {
        let leads_to =
            |destination| networks.iter().any(|it| it.overlaps(destination, self.prefix));
        self.is_last_resort() || self.destination.is_some_and(leads_to)
    }
}

impl Netlink {
    /// All IPv4 addresses of the host.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        let mut question = AddressMessage::default();
        question.header.family = AddressFamily::Inet;
        self.list(&RouteNetlinkMessage::GetAddress(question), |message| match message {
            RouteNetlinkMessage::NewAddress(message) => address_of(&message),
            _ => None,
        })
    }

    /// The IPv4 routes of the host to elsewhere, of every table, that matter. There may be a million of
    /// them.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn routes(&mut self, matters: impl Fn(&Route) -> bool) -> Result<Vec<Route>, Error> {
        let mut question = RouteMessage::default();
        question.header.address_family = AddressFamily::Inet;
        self.list(&RouteNetlinkMessage::GetRoute(question), |message| match message {
            RouteNetlinkMessage::NewRoute(message) => route_of(&message).filter(&matters),
            _ => None,
        })
    }

    /// Gives an interface an address.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add_address(&mut self, address: Address) -> Result<(), Error> {
        let order = RouteNetlinkMessage::NewAddress(message_of(address));
        self.order(order, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Takes an address from an interface.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn remove_address(&mut self, address: Address) -> Result<(), Error> {
        self.order(RouteNetlinkMessage::DelAddress(message_of(address)), 0)
    }
}

fn message_of(Address { index, address, prefix }: Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = prefix;
    message.header.index = index;
    let broadcast = address.to_bits() | u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(address)),
        AddressAttribute::Address(IpAddr::V4(address)),
        AddressAttribute::Broadcast(Ipv4Addr::from_bits(broadcast)),
    ];
    message
}

fn address_of(message: &AddressMessage) -> Option<Address> {
    // Where it is not that of the host itself, it is that of the far end of a connection of two.
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(IpAddr::V4(address)) => Some(*address),
        _ => None,
    })?;
    Some(Address { index: message.header.index, address, prefix: message.header.prefix_len })
}

fn route_of(message: &RouteMessage) -> Option<Route> {
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let prefix = message.header.destination_prefix_length;
    let mut route = Route { prefix, ..Route::default() };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                route.destination = Some(*address);
            }
            RouteAttribute::Oif(index) => route.interfaces.push(*index),
            RouteAttribute::MultiPath(hops) => {
                route.interfaces.extend(hops.iter().map(|hop| hop.interface_index));
            }
            _ => {}
        }
    }
    Some(route)
}
