//! Interfaces of the host: what they are, and changing them.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridge, InfoBridgePort, InfoData, InfoKind,
    InfoPortData, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use super::netlink::{Error, Netlink};

/// A hardware address.
pub type Mac = [u8; 6];

/// The longest name of an interface, in bytes.
pub const NAME_MAX: usize = 15;

/// An interface, as the kernel describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number in this network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What was written on it by whoever made it.
    pub alias: Option<String>,
    /// What it is, where it is not hardware.
    pub kind: Option<InfoKind>,
    /// Its hardware address, if it is of six bytes.
    pub mac: Option<Mac>,
    /// The longest packet in bytes.
    pub mtu: u32,
    /// Its group: a number for rules.
    pub group: u32,
    /// The number of the bridge that it is a port of.
    pub controller: Option<u32>,
    /// Whether it is to carry packets.
    pub is_up: bool,
    /// How it behaves as a port of its bridge.
    pub port: Vec<InfoBridgePort>,
    /// How it comes to IPv6 addresses of its own, where there is IPv6.
    pub own_ipv6: Option<In6AddrGenMode>,
    /// Whether it is a bridge that keeps VLANs apart.
    pub keeps_vlans_apart: bool,
}

impl Link {
    /// Whether it is a bridge.
    pub fn is_bridge(&self) -> bool {
        self.kind == Some(InfoKind::Bridge)
    }

    /// Out of the kernel's description.
    pub fn of(message: LinkMessage) -> Self {
        let is_up = message.header.flags.contains(LinkFlags::Up);
        let mut this = Self { index: message.header.index, is_up, ..Self::default() };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => this.name = name,
                LinkAttribute::IfAlias(alias) => this.alias = Some(alias),
                LinkAttribute::Address(bytes) => this.mac = Mac::try_from(bytes).ok(),
                LinkAttribute::Mtu(mtu) => this.mtu = mtu,
                LinkAttribute::Group(group) => this.group = group,
                LinkAttribute::Controller(index) => this.controller = Some(index),
                LinkAttribute::LinkInfo(list) => list.into_iter().for_each(|it| this.learn(it)),
                LinkAttribute::AfSpecUnspec(list) => {
                    let inet6 = list.into_iter().find_map(|it| match it {
                        AfSpecUnspec::Inet6(list) => Some(list),
                        _ => None,
                    });
                    this.own_ipv6 = inet6.into_iter().flatten().find_map(|it| match it {
                        AfSpecInet6::AddrGenMode(mode) => Some(mode),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        this
    }

    fn learn(&mut self, info: LinkInfo) {
        match info {
            LinkInfo::Kind(kind) => self.kind = Some(kind),
            LinkInfo::Data(InfoData::Bridge(list)) => {
                self.keeps_vlans_apart =
                    list.iter().any(|it| matches!(it, InfoBridge::VlanFiltering(true)));
            }
            LinkInfo::PortData(InfoPortData::BridgePort(port)) => self.port = port,
            _ => {}
        }
    }
}

impl Netlink {
    /// The interface of this name, if there is one.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        // The kernel would say that it is out of range.
        if name.is_empty() || name.len() > NAME_MAX {
            return Ok(None);
        }
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.one_link(question)
    }

    /// The interface of this number, if there is one.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn link_at(&mut self, index: u32) -> Result<Option<Link>, Error> {
        let mut question = LinkMessage::default();
        question.header.index = index;
        self.one_link(question)
    }

    fn one_link(&mut self, question: LinkMessage) -> Result<Option<Link>, Error> {
        Ok(match self.get(RouteNetlinkMessage::GetLink(question))? {
            Some(RouteNetlinkMessage::NewLink(message)) => Some(Link::of(message)),
            _ => None,
        })
    }

    /// All interfaces.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
        self.list(&question, |message| match message {
            RouteNetlinkMessage::NewLink(message) => Some(Link::of(message)),
            _ => None,
        })
    }

    /// Changes an interface that there is: all of `attributes`, or up to the one that the kernel
    /// refuses.
    ///
    /// # Errors
    /// One of them is refused.
    pub fn change_link(&mut self, index: u32, attributes: Vec<LinkAttribute>) -> Result<(), Error> {
        let mut order = LinkMessage::default();
        order.header.index = index;
        order.attributes = attributes;
        // Unlike its sibling SETLINK, this order reaches the port data, too. Without the flag to
        // create, it makes nothing.
        self.order(RouteNetlinkMessage::NewLink(order), 0)
    }

    /// Has an interface carry packets, or not.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_up(&mut self, index: u32, up: bool) -> Result<(), Error> {
        let mut order = LinkMessage::default();
        order.header.index = index;
        order.header.change_mask = LinkFlags::Up;
        if up {
            order.header.flags = LinkFlags::Up;
        }
        self.order(RouteNetlinkMessage::SetLink(order), 0)
    }

    /// Removes an interface.
    ///
    /// # Errors
    /// It is not there, or cannot be removed.
    pub fn delete_link(&mut self, index: u32) -> Result<(), Error> {
        let mut order = LinkMessage::default();
        order.header.index = index;
        self.order(RouteNetlinkMessage::DelLink(order), 0)
    }
}
