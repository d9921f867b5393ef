//! Live messages between the parts of the suite.
//!
//! Nothing here is signed or kept: what is, is DER ([`crate::grant`]). Each pair of parts has a
//! module of its own; [`wire`] is the only place that knows the encoding.

pub mod client;
pub mod console;
pub mod log;
pub mod spawn;
pub mod stats;
pub mod why;
pub mod wire;

use bincode::{Decode, Encode};

/// The version of this message set. It is the `1` of the ALPN name `vmm/1`.
pub const VERSION: u16 = 1;

/// The ALPN protocol name of this message set.
pub const ALPN: &[u8] = b"vmm/1";

/// The first frame in both directions of a connection without TLS.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// [`VERSION`]
    pub version: u16,
    /// Who speaks, for messages to people: `vmmd`, `vmm-console`, …
    pub name: String,
}

impl Hello {
    /// A hello of this version.
    pub fn of(name: &str) -> Self {
        Self { version: VERSION, name: name.to_owned() }
    }
}

/// How a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Exit {
    /// It exited with this status.
    Code(u8),
    /// A signal ended it.
    Signal(u8),
    /// The kernel ended it for want of memory.
    OutOfMemory,
    /// Nobody saw it end.
    Unknown,
}

/// What one machine used up to a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Sample {
    /// When, in Unix milliseconds.
    pub time_ms: u64,
    /// Processor time in the guest and its tender, in microseconds.
    pub user_us: u64,
    /// Processor time in the kernel, in microseconds.
    pub system_us: u64,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Page faults served without I/O.
    pub minor_faults: u64,
    /// Page faults that needed I/O.
    pub major_faults: u64,
}

/// What went through one network interface of a machine since its start, from the machine's own
/// point of view: received is what the guest got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Traffic {
    /// Frames that the guest got.
    pub received_packets: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames for the guest that were dropped, since it did not take them fast enough.
    pub received_dropped: u64,
    /// Frames that the guest sent, those among them that the filter of the host refuses.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Frames of the guest that the host dropped before the filter.
    pub sent_dropped: u64,
}

/// A piece of a console.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Output {
    /// Bytes as the guest wrote them.
    Bytes {
        /// How many bytes the machine had written before these.
        position: u64,
        /// When they were read from the machine, in Unix milliseconds.
        time_ms: u64,
        /// The bytes, at most [`crate::frame::MAX_DATA`].
        data: Vec<u8>,
    },
    /// Bytes that were overwritten before this reader got to them.
    Gap {
        /// How many bytes the machine had written before them.
        position: u64,
        /// How many are missing.
        bytes: u64,
    },
}

/// Where reading a console begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum ConsoleStart {
    /// With the oldest byte still there that is not before this position.
    Position(u64),
    /// With the last so many lines.
    Lines(u32),
    /// With the first line written at or after this time, in Unix milliseconds.
    Since(u64),
}
