//! Between `vmmd` and `vmm-log`. One connection for writing, one for each reader.

use bincode::{Decode, Encode};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Event {
    /// Which run of `vmmd` says so: a random number made at its start.
    pub source: [u8; 16],
    /// Counts up from 1 within a run, without gaps. Sent again, an event is written once.
    pub sequence: u64,
    /// When, in Unix milliseconds.
    pub time_ms: u64,
    /// What: `login`, `refused`, `started`, `exited`, …
    pub kind: String,
    /// The path it happened below, as text: who may read it.
    pub path: String,
    /// The machine's full name, when it is about one.
    pub machine: Option<String>,
    /// More, as names and values.
    pub fields: Vec<(String, String)>,
}

/// To `vmm-log`, after the hello.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ToLog {
    /// Write these, in order.
    Append(Vec<Event>),
    /// Read what is at or below a path, or of one machine.
    Read {
        /// The path as text; empty for everything.
        path: String,
        /// Only this machine (full name).
        machine: Option<String>,
        /// Only what is not older, in Unix milliseconds.
        since_ms: Option<u64>,
        /// Whether to go on with what happens later.
        follow: bool,
    },
}

/// From `vmm-log`, after the hello.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum FromLog {
    /// Everything of this run up to this number is on disk.
    Durable {
        /// The run.
        source: [u8; 16],
        /// The number.
        sequence: u64,
    },
    /// One record, as a JSON document without a line break.
    Line(String),
    /// Everything that was asked for was sent.
    End,
    /// It could not be done.
    Failed(String),
}
