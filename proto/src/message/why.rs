//! Why something would be refused: the parts of an answer to [`super::client::Request::Why`].
//!
//! Each part is a reply of its own, so that none is large however deep the chain is and however
//! much runs.

use bincode::{Decode, Encode};

use super::client::{Described, Error};
use crate::id::Digest;

/// What might be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Deed {
    /// A [`super::client::Request::Deploy`] with the same fields.
    Deploy {
        /// See there.
        described: Option<Described>,
        /// See there.
        attach: bool,
    },
    /// A [`super::client::Request::Start`].
    Start {
        /// The machine.
        name: String,
    },
}

/// One part of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Part {
    /// One delegation of the chain, the outermost first.
    Walked(Walked),
    /// The limits at one path, the host's first.
    Level(Level),
    /// Some of the machines that take a part of what is bounded, below the requester's own path.
    Users(Vec<User>),
    /// One thing that stands in the way. The first is what the deed would be refused with; without
    /// any it would be accepted.
    Obstacle(Error),
}

/// One delegation of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Walked {
    /// Its path.
    pub path: String,
    /// SHA-256 of the key that signed it.
    pub issuer: Digest,
    /// The generation of this certificate.
    pub generation: u64,
    /// The first Unix second at which it may be used.
    pub not_before: i64,
    /// The last one.
    pub not_after: i64,
    /// The newest generation that the host has seen, if it remembers the delegation.
    pub newest: Option<Newest>,
    /// Whether its issuer has taken it back.
    pub revoked: bool,
}

/// The newest certificate seen of a delegation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Newest {
    /// Its generation.
    pub generation: u64,
    /// When it was first seen, in Unix milliseconds.
    pub seen_ms: u64,
}

/// The limits at one path.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Level {
    /// The path; empty for the host.
    pub path: String,
    /// Machines.
    pub machines: Room,
    /// MiB of memory.
    pub memory_mib: Room,
    /// Bytes of cached images.
    pub image_bytes: Room,
    /// CPUs usable.
    pub cpus: Vec<u16>,
    /// CPUs asked for that are not.
    pub cpus_missing: Vec<u16>,
    /// Bridges usable; nothing where bridges are not bounded.
    pub bridges: Option<Vec<String>>,
    /// Bridges asked for that are not.
    pub bridges_missing: Vec<String>,
}

/// One number at one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Room {
    /// At most so much.
    pub limit: u64,
    /// So much is asked for.
    pub asked: u64,
    /// So much is used; only told of the requester's own path and what is below it.
    pub used: Option<u64>,
    /// So much could be had; told with `used`.
    pub left: Option<u64>,
    /// Whether it fits.
    pub fits: bool,
}

/// A machine that takes a part of what is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct User {
    /// Its full name.
    pub name: String,
    /// Its state.
    pub state: String,
    /// MiB that are held for it.
    pub memory_mib: u64,
}
