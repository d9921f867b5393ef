//! Which address is behind which port of a bridge.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::link::Mac;
use super::netlink::{Error, Netlink};

/// What a bridge knows of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The number of the port that it is behind; that of the bridge for its own.
    pub port: u32,
    /// How it is known: set ([`NeighbourState::Noarp`]), learned, or of the host itself
    /// ([`NeighbourState::Permanent`]).
    pub state: NeighbourState,
    /// Whether it stays where it is, whoever else sends from it.
    pub is_sticky: bool,
}

impl Netlink {
    /// Where a bridge has this address, outside of all VLANs.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn behind(&mut self, bridge: u32, mac: Mac) -> Result<Option<Entry>, Error> {
        let question = about(0, mac, vec![NeighbourAttribute::Controller(bridge)]);
        let answer = self.get(RouteNetlinkMessage::GetNeighbour(question))?;
        Ok(answer.and_then(|message| entry_of(&message, mac)))
    }

    /// The same in whatever VLAN, which takes the longer the more the bridge knows.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn behind_anywhere(&mut self, bridge: u32, mac: Mac) -> Result<Option<Entry>, Error> {
        let mut question = about(0, mac, Vec::new());
        question.attributes = vec![NeighbourAttribute::Controller(bridge)];
        let question = RouteNetlinkMessage::GetNeighbour(question);
        let found = self.list(&question, |message| entry_of(&message, mac))?;
        Ok(found.into_iter().next())
    }

    /// Has a bridge find this address behind this port of it and nowhere else, as long as it is a
    /// port.
    ///
    /// # Errors
    /// `EXIST`: the bridge knows it already.
    pub fn pin(&mut self, port: u32, mac: Mac) -> Result<(), Error> {
        let mut order = about(port, mac, Vec::new());
        // Neither learned nor of the host: what "static" is called here.
        order.header.state = NeighbourState::Noarp;
        order.header.flags = NeighbourFlags::Controller | NeighbourFlags::Sticky;
        self.order(RouteNetlinkMessage::NewNeighbour(order), NLM_F_CREATE | NLM_F_EXCL)
    }
}

fn about(port: u32, mac: Mac, more: Vec<NeighbourAttribute>) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header =
        NeighbourHeader { family: AddressFamily::Bridge, ifindex: port, ..Default::default() };
    message.attributes = more;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    message
}

fn entry_of(message: &RouteNetlinkMessage, mac: Mac) -> Option<Entry> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else { return None };
    let is_it = |it: &NeighbourAttribute| matches!(it, NeighbourAttribute::LinkLayerAddress(bytes) if bytes[..] == mac);
    let NeighbourHeader { ifindex: port, state, flags, .. } = message.header;
    let is_sticky = flags.contains(NeighbourFlags::Sticky);
    message.attributes.iter().any(is_it).then_some(Entry { port, state, is_sticky })
}
