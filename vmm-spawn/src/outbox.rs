//! What waits to be sent to one peer.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;

use crate::packet;

/// Packets that may wait for a peer, beyond those that answer its hello (there are as many of
/// these as machines and exits). Past that it is disconnected: what it has missed it gets
/// again when it comes back, so nothing is lost, and a peer that is stuck costs no more memory.
pub const LIMIT: usize = 4096;

/// A packet to be sent.
#[derive(Debug)]
pub struct Outgoing {
    /// The encoded message.
    pub bytes: Vec<u8>,
    /// At most [`packet::DESCRIPTORS_OUT`].
    pub descriptors: Vec<Rc<OwnedFd>>,
}

/// The queue of one peer.
#[derive(Debug)]
pub struct Outbox {
    waiting: VecDeque<Outgoing>,
    limit: usize,
}

/// More waits than may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Full;

impl Outbox {
    /// An empty one.
    pub fn new() -> Self {
        Self { waiting: VecDeque::new(), limit: LIMIT }
    }

    /// Lets so many more packets wait: they answer a hello.
    pub fn expect(&mut self, packets: usize) {
        self.limit += packets;
    }

    /// Adds a packet.
    ///
    /// # Errors
    /// The queue is full, and stays as it was.
    pub fn push(&mut self, outgoing: Outgoing) -> Result<(), Full> {
        if self.waiting.len() >= self.limit {
            return Err(Full);
        }
        self.waiting.push_back(outgoing);
        Ok(())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends what there is room for.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self, socket: impl AsFd) -> Result<(), Errno> {
        while let Some(next) = self.waiting.front() {
            let descriptors: Vec<_> = next.descriptors.iter().map(AsFd::as_fd).collect();
            if !packet::send(&socket, &next.bytes, &descriptors)? {
                return Ok(());
            }
            self.waiting.pop_front();
        }
        Ok(())
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}
