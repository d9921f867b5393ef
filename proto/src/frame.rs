//! Frames: how messages are cut out of a byte stream.
//!
//! A frame is a header of eight bytes and a body: the body's length and the number of the request
//! it belongs to, both 32 bits, most significant byte first. Many requests share one connection;
//! request 0 is the connection itself (its hello).

/// Bytes of a frame's header.
pub const HEADER: usize = 8;

/// The longest body, in bytes: 128 KiB. Whatever is larger travels as several frames.
pub const MAX_BODY: usize = 128 << 10;

/// The most bytes of an image that one frame carries.
pub const MAX_DATA: usize = 64 << 10;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The request it belongs to.
    pub request: u32,
    /// What it carries: one encoded message.
    pub body: Vec<u8>,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// a frame of {0} bytes was announced; at most 131072 are allowed
    #[error("a frame of {0} bytes was announced; at most {MAX_BODY} are allowed")]
    TooLong(u32),
}

/// A parsed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the body, at most [`MAX_BODY`].
    pub length: usize,
    /// The request it belongs to.
    pub request: u32,
}

impl Header {
    /// Parses a header.
    ///
    /// # Errors
    /// [`FrameError::TooLong`], before any memory is set aside for the body.
    pub fn parse(bytes: [u8; HEADER]) -> Result<Self, FrameError> {
        let number = |at: usize| u32::from_be_bytes(std::array::from_fn(|index| bytes[at + index]));
        let announced = number(0);
        let length = usize::try_from(announced).unwrap_or(usize::MAX);
        if length > MAX_BODY {
            return Err(FrameError::TooLong(announced));
        }
        Ok(Self { length, request: number(4) })
    }
}

/// Appends a frame to `out`.
///
/// # Errors
/// [`FrameError::TooLong`] for a body over [`MAX_BODY`]; nothing is appended then.
pub fn encode(request: u32, body: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if body.len() > MAX_BODY {
        return Err(FrameError::TooLong(length));
    }
    out.reserve(HEADER + body.len());
    out.extend(length.to_be_bytes());
    out.extend(request.to_be_bytes());
    out.extend(body);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let mut bytes = Vec::new();
        encode(7, b"body", &mut bytes).unwrap();
        assert_eq!(bytes, b"\0\0\0\x04\0\0\0\x07body");
        let header = Header::parse(bytes[..HEADER].try_into().unwrap()).unwrap();
        assert_eq!(header, Header { length: 4, request: 7 });
    }

    #[test]
    fn a_claim_of_four_gibibytes_is_refused_by_the_header_alone() {
        let claimed = Header::parse([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1]);
        assert_eq!(claimed, Err(FrameError::TooLong(u32::MAX)));
        assert!(encode(1, &vec![0; MAX_BODY + 1], &mut Vec::new()).is_err());
    }
}
