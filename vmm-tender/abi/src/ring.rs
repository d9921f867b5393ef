//! The network ring, by which an hvt guest hands over many frames at once (the Solo5 hvt ABI,
//! section 3.9; since Solo5 0.11).
//!
//! The guest writes entries and moves [`ENTRY_TAIL_AT`]; the tender does what they ask for, in
//! order, and moves [`ENTRY_HEAD_AT`]. Each read is answered by a commit behind
//! [`COMMIT_TAIL_AT`], a write by nothing. Indices run freely and are cut to a slot's number.

use crate::GuestAddress;
use crate::bytes::{put, u32_at, u64_at};

/// Port by which a guest says that there are entries, whatever it writes there.
pub const KICK_PORT: u16 = 0x600;

/// Entries, and commits, that there is room for.
pub const SLOTS: u32 = 1024;

/// Where the guest counts the entries that it has written. It stands at the ring's beginning.
pub const ENTRY_TAIL_AT: u64 = 0;
/// Where the tender counts the entries that it has taken; [`COMMIT_TAIL_AT`] follows.
pub const ENTRY_HEAD_AT: u64 = 64;
/// Where the tender counts the commits that it has written.
pub const COMMIT_TAIL_AT: u64 = 68;
/// Where the tender says whether it wants to be told of entries.
pub const NEEDS_KICK_AT: u64 = 72;
/// Where the entries begin.
pub const ENTRIES_AT: u64 = 128;
/// Where the commits begin.
pub const COMMITS_AT: u64 = ENTRIES_AT + SLOTS as u64 * Entry::SIZE as u64;
/// Size of the ring.
pub const SIZE: u64 = COMMITS_AT + SLOTS as u64 * Commit::SIZE as u64;

/// What an entry asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Send a frame.
    Write,
    /// Receive a frame.
    Read,
}

/// What the guest wants to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What to do; nothing is done if there is no such operation.
    pub operation: Option<Operation>,
    /// Handle of the device.
    pub handle: u32,
    /// Where the frame is or goes.
    pub data: GuestAddress,
    /// Its size, or the room for it.
    pub len: u32,
    /// The guest's own number for it, which comes back in the commit.
    pub id: u32,
}

impl Entry {
    /// Size of an entry.
    pub const SIZE: usize = 32;

    /// Where the entry of this index stands, from the ring's beginning.
    pub fn offset(index: u32) -> u64 {
        ENTRIES_AT + u64::from(index % SLOTS) * Self::SIZE as u64
    }

    /// Reads an entry.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Self {
        let operation = match u32_at(bytes, 0) {
            1 => Some(Operation::Write),
            2 => Some(Operation::Read),
            _ => None,
        };
        Self {
            operation,
            handle: u32_at(bytes, 4),
            data: GuestAddress(u64_at(bytes, 8)),
            len: u32_at(bytes, 16),
            id: u32_at(bytes, 20),
        }
    }
}

/// What has become of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commit {
    /// The number in the entry.
    pub id: u32,
    /// The result, as for `NET_READ`.
    pub result: crate::hypercall::CallResult,
    /// Size of the frame, 0 if there is none.
    pub len: u32,
}

impl Commit {
    /// Size of a commit.
    pub const SIZE: usize = 16;

    /// Where the commit of this index stands, from the ring's beginning.
    pub fn offset(index: u32) -> u64 {
        COMMITS_AT + u64::from(index % SLOTS) * Self::SIZE as u64
    }

    /// As it stands in the ring.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        put(&mut out, 0, &self.id.to_le_bytes());
        put(&mut out, 4, &self.result.encode());
        put(&mut out, 8, &self.len.to_le_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::CallResult;

    #[test]
    fn the_ring_has_the_layout_of_the_abi() {
        assert_eq!((COMMITS_AT, SIZE), (32896, 49280));
        assert_eq!((Entry::offset(0), Entry::offset(1023)), (128, 128 + 32 * 1023));
        assert_eq!((Commit::offset(1), Commit::offset(2)), (32896 + 16, 32896 + 32));
    }

    #[test]
    fn indices_run_freely_and_wrap_around() {
        assert_eq!(Entry::offset(u32::MAX), Entry::offset(1023));
        assert_eq!(Entry::offset(u32::MAX.wrapping_add(1)), Entry::offset(0));
        assert_eq!(Commit::offset(1024 * 7 + 5), Commit::offset(5));
    }

    #[test]
    fn fields_are_where_the_abi_has_them() {
        let mut bytes = [0; Entry::SIZE];
        (1..=5).zip([0, 4, 8, 16, 20]).for_each(|(value, at)| bytes[at] = value);
        let entry = Entry::decode(&bytes);
        assert_eq!(entry.operation, Some(Operation::Write));
        assert_eq!((entry.handle, entry.data.0, entry.len, entry.id), (2, 3, 4, 5));
        for (number, operation) in [(0, None), (2, Some(Operation::Read)), (3, None)] {
            bytes[0] = number;
            assert_eq!(Entry::decode(&bytes).operation, operation);
        }
        let commit = Commit { id: 1, result: CallResult::Again, len: 3 };
        assert_eq!(commit.encode(), [1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    }
}
