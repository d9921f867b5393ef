//! All connections.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::UCred;
use tracing::{debug, error, info, warn};
use vmm_proto::message::spawn::{FromSpawn, Role};
use vmm_proto::message::wire;

use crate::access::Access;
use crate::outbox::{Full, Outgoing};
use crate::packet::{self, Received};
use crate::peer::{Peer, Request, Said, Standing, Violation};
use crate::poller::{Poller, Token};

/// Connections at once that have not said who they are.
pub const UNKNOWN_MAX: usize = 8;

/// A message, and the descriptors to send beside it.
#[derive(Debug)]
pub struct Message {
    /// What is said.
    pub body: FromSpawn,
    /// At most [`packet::DESCRIPTORS_OUT`].
    pub descriptors: Vec<Rc<OwnedFd>>,
}

impl From<FromSpawn> for Message {
    fn from(body: FromSpawn) -> Self {
        Self { body, descriptors: Vec::new() }
    }
}

/// The table of connections. Whatever fails on one ends that one and is logged.
#[derive(Debug)]
pub struct Peers {
    all: BTreeMap<u64, Peer>,
    next: u64,
    poller: Rc<Poller>,
    access: Access,
}

impl Peers {
    /// No connections yet; they will be watched by `poller`.
    pub fn new(poller: Rc<Poller>, access: Access) -> Self {
        Self { all: BTreeMap::new(), next: 0, poller, access }
    }

    /// Takes a connection in, if `who` may connect at all.
    pub fn admit(&mut self, socket: OwnedFd, who: UCred, now: Instant) {
        if !self.access.allows(who.uid.as_raw()) {
            warn!(
                uid = who.uid.as_raw(),
                pid = who.pid.as_raw_nonzero(),
                "a foreign user is sent away"
            );
            return;
        }
        if self.unknown().count() >= UNKNOWN_MAX {
            warn!("{UNKNOWN_MAX} peers have yet to say who they are: another one is sent away");
            return;
        }
        let number = self.next;
        if let Err(error) = self.poller.watch(&socket, Token::Peer(number)) {
            error!("a connection cannot be watched and is closed: {error}");
            return;
        }
        self.next += 1;
        let peer = Peer::new(socket, who, now);
        debug!(pid = peer.pid, "a peer connects");
        self.all.insert(number, peer);
    }

    /// Receives one packet. `None` when there is nothing to do about it.
    pub fn receive(&mut self, number: u64) -> Option<Request> {
        let peer = self.all.get_mut(&number)?;
        let understood = match packet::receive(&*peer) {
            Ok(Received::Nothing) => return None,
            Ok(Received::Packet(packet)) => peer.understand(packet, &self.access),
            Ok(Received::TooLong) => Err(Violation::TooLong),
            Ok(Received::End) => {
                info!(pid = peer.pid, "{} has left", peer.name());
                self.all.remove(&number);
                return None;
            }
            Err(error) => {
                self.broken(number, error);
                return None;
            }
        };
        match understood {
            Ok(Said::Ping) => {
                self.send(number, FromSpawn::Pong.into());
                None
            }
            Ok(Said::Request(request)) => {
                if let Request::Joined(role) = request {
                    self.replace(number, role);
                }
                Some(request)
            }
            Err(violation) => {
                self.expel(number, &violation);
                None
            }
        }
    }

    /// Answers a hello with what the peer in `role` has to know, however much that is.
    pub fn answer_hello(&mut self, role: Role, messages: Vec<Message>) {
        let Some(number) = self.in_role(role) else { return };
        if let Some(peer) = self.all.get_mut(&number) {
            peer.outbox.expect(messages.len());
        }
        for message in messages {
            self.send(number, message);
        }
    }

    /// Tells whoever is in `role`. Nobody may be: what matters is told again at the next hello.
    pub fn tell(&mut self, role: Role, message: impl Into<Message>) {
        if let Some(number) = self.in_role(role) {
            self.send(number, message.into());
        }
    }

    /// Sends what there is room for now.
    pub fn flush(&mut self, number: u64) {
        let Some(peer) = self.all.get_mut(&number) else { return };
        let done = peer.flush().and_then(|()| {
            let wants_room = !peer.outbox.is_empty();
            if wants_room == peer.wants_room {
                return Ok(());
            }
            peer.wants_room = wants_room;
            self.poller.want_room(&*peer, Token::Peer(number), wants_room)
        });
        if let Err(error) = done {
            self.broken(number, error);
        }
    }

    /// When [`Peers::expire`] has something to do next.
    pub fn deadline(&self) -> Option<Instant> {
        self.unknown().map(|(_, until)| until).min()
    }

    /// Ends connections whose peers took too long to say who they are.
    pub fn expire(&mut self, now: Instant) {
        let late: Vec<u64> =
            self.unknown().filter(|&(_, until)| until <= now).map(|(number, _)| number).collect();
        for number in late {
            self.expel(number, &Violation::Late);
        }
    }

    fn send(&mut self, number: u64, message: Message) {
        let Some(peer) = self.all.get_mut(&number) else { return };
        let Message { body, descriptors } = message;
        let bytes = match wire::encode(&body) {
            Ok(bytes) => bytes,
            Err(error) => {
                error!("a message to {} cannot be sent: {error}", peer.name());
                return;
            }
        };
        match peer.outbox.push(Outgoing { bytes, descriptors }) {
            // What waits for room waits for the poller to say that there is some.
            Ok(()) if peer.wants_room => {}
            Ok(()) => self.flush(number),
            Err(Full) => self.expel(number, &Violation::DoesNotRead),
        }
    }

    fn in_role(&self, role: Role) -> Option<u64> {
        let joined = Standing::Joined(role);
        self.all.iter().find(|(_, peer)| peer.standing == joined).map(|(&number, _)| number)
    }

    fn unknown(&self) -> impl Iterator<Item = (u64, Instant)> {
        self.all.iter().filter_map(|(&number, peer)| match peer.standing {
            Standing::Unknown(until) => Some((number, until)),
            Standing::Joined(_) => None,
        })
    }

    /// Ends the connection that was in this role before `number`.
    fn replace(&mut self, number: u64, role: Role) {
        let joined = Standing::Joined(role);
        let old = self.all.iter().find(|&(&n, peer)| n != number && peer.standing == joined);
        if let Some(old) = old.map(|(&n, _)| n)
            && let Some(peer) = self.all.remove(&old)
        {
            info!(pid = peer.pid, "{} is replaced by a new one", peer.name());
        }
        if let Some(peer) = self.all.get(&number) {
            info!(pid = peer.pid, "{} has joined", peer.name());
        }
    }

    fn expel(&mut self, number: u64, violation: &Violation) {
        if let Some(peer) = self.all.remove(&number) {
            warn!(pid = peer.pid, "{} is sent away: {violation}", peer.name());
        }
    }

    fn broken(&mut self, number: u64, error: Errno) {
        if let Some(peer) = self.all.remove(&number) {
            // A peer that left while something was sent to it is no cause for alarm.
            info!(pid = peer.pid, "the connection of {} is broken: {error}", peer.name());
        }
    }
}
