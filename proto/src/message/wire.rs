//! The encoding of live messages: bincode 2, in its standard configuration, with a limit.
//!
//! bincode is no longer developed (RUSTSEC-2025-0141); why it is used all the same, and only here,
//! is recorded in `docs/adr/0001-bincode-for-live-messages.md`.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

use crate::frame::MAX_BODY;

/// Bytes that the decoder may claim for one message: what a body can hold, and room for the
/// collections around it.
const LIMIT: usize = 4 * MAX_BODY;

type Config = Configuration<LittleEndian, Varint, Limit<LIMIT>>;

const CONFIG: Config = bincode::config::standard().with_limit::<LIMIT>();

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// a message cannot be encoded: {0}
    #[error("a message cannot be encoded: {0}")]
    Encode(String),
    /// not a message of this version: {0}
    #[error("not a message of this version: {0}")]
    Decode(String),
    /// {0} bytes follow the end of the message
    #[error("{0} bytes follow the end of the message")]
    Trailing(usize),
}

/// What can be sent.
pub trait ToWire: Encode {}

impl<T: Encode> ToWire for T {}

/// What can be received.
pub trait FromWire: Decode<()> {}

impl<T: Decode<()>> FromWire for T {}

/// Encodes a message.
///
/// # Errors
/// [`WireError::Encode`] when it is larger than a frame may be.
pub fn encode<T: ToWire>(message: &T) -> Result<Vec<u8>, WireError> {
    let bytes = bincode::encode_to_vec(message, CONFIG)
        .map_err(|error| WireError::Encode(error.to_string()))?;
    if bytes.len() > MAX_BODY {
        return Err(WireError::Encode(format!("{} bytes are more than {MAX_BODY}", bytes.len())));
    }
    Ok(bytes)
}

/// Decodes a message. It must be all of `bytes`.
///
/// # Errors
/// [`WireError::Decode`], [`WireError::Trailing`]
pub fn decode<T: FromWire>(bytes: &[u8]) -> Result<T, WireError> {
    let (message, used) = bincode::decode_from_slice(bytes, CONFIG)
        .map_err(|error| WireError::Decode(error.to_string()))?;
    match bytes.len() - used {
        0 => Ok(message),
        trailing => Err(WireError::Trailing(trailing)),
    }
}
