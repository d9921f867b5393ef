//! A frame that is written from its beginning to its end.

use crate::Mac;

/// The largest frame for an MTU of 1500.
pub const FRAME_MAX: usize = 1514;

/// A frame that grows. What does not fit is cut off: `push` says so.
#[derive(Clone, Debug)]
pub struct Buffer {
    bytes: [u8; FRAME_MAX],
    len: usize,
}

impl Buffer {
    /// A frame with its Ethernet header.
    pub fn ethernet(to: Mac, from: Mac, kind: u16) -> Self {
        let mut frame = Self { bytes: [0; FRAME_MAX], len: 0 };
        frame.push(&to);
        frame.push(&from);
        frame.push(&kind.to_be_bytes());
        frame
    }

    /// Adds bytes; `false`, and nothing is added, if there is no room.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) else {
            return false;
        };
        room.copy_from_slice(bytes);
        self.len += bytes.len();
        true
    }

    /// Adds a UDP header without a checksum, for `len` bytes that follow.
    pub fn udp(&mut self, from: u16, to: u16, len: usize) {
        let len = u16::try_from(8 + len).unwrap_or(u16::MAX);
        self.push([from, to, len, 0].map(u16::to_be_bytes).as_flattened());
    }

    /// The frame so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Where the next byte goes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// What was written, to be completed.
    pub(crate) fn written(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}
