//! Reading a console ring, whose layout is [`vmm_proto::ring`].
//!
//! By position with `pread`, never mapped: whatever the writer does, a reader gets bytes or an error.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use vmm_proto::ring::{self, CAPACITY, CLAIMED, FILE_SIZE, WRITTEN};

/// How often a counter is read again that was being stored. Storing it takes some nanoseconds;
/// longer it takes only a writer that was stopped in the middle.
const ATTEMPTS: u32 = 200;

/// A ring.
#[derive(Debug)]
pub struct Ring {
    file: File,
    identity: (u64, u64),
}

/// A piece of a ring.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where the data stands. What is missing between the position asked for and this was
    /// overwritten.
    pub position: u64,
    /// What was read; it may be empty where everything was overwritten meanwhile.
    pub data: Vec<u8>,
}

/// Why a ring cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// a counter was half stored at every look; its writer may have stopped: look again later
    #[error("a counter was half stored at every look; its writer may have stopped")]
    Torn,
    /// the ring has {0} bytes instead of 266240
    #[error("the ring has {0} bytes instead of {FILE_SIZE}")]
    Size(u64),
    /// {0}
    #[error("the ring cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl Ring {
    /// Takes a ring.
    ///
    /// # Errors
    /// [`RingError::Size`] when it isn't one.
    pub fn new(descriptor: OwnedFd) -> Result<Self, RingError> {
        let file = File::from(descriptor);
        let metadata = file.metadata()?;
        if metadata.len() != FILE_SIZE {
            return Err(RingError::Size(metadata.len()));
        }
        Ok(Self { identity: (metadata.dev(), metadata.ino()), file })
    }

    /// Whether both are the same ring, gotten twice.
    pub fn is(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// How many bytes were ever written.
    ///
    /// # Errors
    /// [`RingError`]
    pub fn written(&self) -> Result<u64, RingError> {
        self.counter(WRITTEN)
    }

    /// The oldest position that is still whole.
    ///
    /// # Errors
    /// [`RingError`]
    pub fn oldest(&self) -> Result<u64, RingError> {
        Ok(ring::oldest(self.counter(CLAIMED)?))
    }

    /// Up to `limit` bytes from `position` on, before `end`; or from the oldest byte on that is still
    /// there, but never after `end`, which must not be more than was [`Ring::written`].
    ///
    /// # Errors
    /// [`RingError`]
    pub fn read(&self, position: u64, end: u64, limit: u64) -> Result<Piece, RingError> {
        let oldest = self.oldest()?;
        let start = position.max(oldest.min(end));
        let piece = self.read_from(start, end, limit)?;
        if !piece.data.is_empty() || piece.position >= end {
            return Ok(piece);
        }
        // The writer overtook us all the way. Right at its heels that would happen again and again,
        // so leave it half a ring.
        self.read_from(piece.position.saturating_add(CAPACITY / 2).min(end), end, limit)
    }

    fn read_from(&self, start: u64, end: u64, limit: u64) -> Result<Piece, RingError> {
        let length = end.saturating_sub(start).min(limit).min(CAPACITY);
        let mut data = vec![0; usize::try_from(length).unwrap_or(0)];
        let mut filled = 0;
        for (offset, length) in ring::pieces(start, length) {
            let next = filled + usize::try_from(length).unwrap_or(0);
            self.file.read_exact_at(&mut data[filled..next], offset)?;
            filled = next;
        }
        // Only now is it known how much of that was overwritten while it was read.
        let position = start.max(self.oldest()?.min(end));
        let lost = usize::try_from(position - start).unwrap_or(usize::MAX).min(data.len());
        data.drain(..lost);
        Ok(Piece { position, data })
    }

    /// Where the last `count` lines before `end` begin, or as many of them as are there. A line that
    /// is not finished yet is one.
    ///
    /// # Errors
    /// [`RingError`]
    pub fn last_lines(&self, end: u64, count: u32) -> Result<u64, RingError> {
        const STEP: u64 = 32 << 10;
        let mut begin = end;
        let mut missing = count;
        while begin > 0 && missing > 0 {
            let wanted = begin.saturating_sub(STEP);
            let Piece { position, data } = self.read(wanted, begin, STEP)?;
            for (index, _) in data.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                let after = position + u64::try_from(index).unwrap_or(0) + 1;
                // The line end right before `end` ends the last line, it does not begin another.
                if after == end {
                    continue;
                }
                missing -= 1;
                if missing == 0 {
                    return Ok(after);
                }
            }
            begin = position.min(begin);
            if position > wanted {
                break;
            }
        }
        Ok(begin)
    }

    /// The first line that begins at or after `position` and before `end`.
    ///
    /// # Errors
    /// [`RingError`]
    pub fn next_line(&self, position: u64, end: u64) -> Result<Option<u64>, RingError> {
        let Some(before) = position.checked_sub(1) else { return Ok(Some(0)) };
        let Piece { position: begin, data } = self.read(before, end, CAPACITY)?;
        let found = data.iter().position(|byte| *byte == b'\n');
        let after = found.map(|index| begin + u64::try_from(index).unwrap_or(0) + 1);
        Ok(after.filter(|after| *after < end))
    }

    fn counter(&self, offset: u64) -> Result<u64, RingError> {
        for _ in 0..ATTEMPTS {
            let mut bytes = [0; 16];
            self.file.read_exact_at(&mut bytes, offset)?;
            if let Some(value) = ring::decode_counter(bytes) {
                return Ok(value);
            }
            std::hint::spin_loop();
        }
        Err(RingError::Torn)
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
