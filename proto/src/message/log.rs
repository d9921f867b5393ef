//! Between `vmmd` and `vmm-log`. One connection for writing, one for each reader.

use bincode::{Decode, Encode};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Event {
    /// The journal of the `vmmd` that says so: a random number made with it, once.
    pub source: [u8; 16],
    /// Counts up from 1 within a source, over all runs and without gaps. Sent again, an event is
    /// written once.
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

/// A place in the log, for ever: what is on disk does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Place {
    /// The number of the file.
    pub file: u64,
    /// How many bytes of it stand before.
    pub offset: u64,
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
        /// Only what stands after this place, where reading was broken off.
        after: Option<Place>,
        /// Whether to go on with what happens later.
        follow: bool,
    },
    /// Say where the reading stands: whoever answers is there, and not stopped.
    Where,
}

/// From `vmm-log`, after the hello.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum FromLog {
    /// Everything of this source up to this number is on disk.
    Durable {
        /// The source.
        source: [u8; 16],
        /// The number.
        sequence: u64,
    },
    /// One record.
    Line {
        /// A JSON document without a line break.
        line: String,
        /// Where the next one begins.
        end: Place,
    },
    /// Everything that was asked for was sent.
    End,
    /// It could not be done.
    Failed(String),
    /// Everything before this place that was asked for was sent: the first answer to a request to
    /// read, and the answer to [`ToLog::Where`].
    At(Place),
}
