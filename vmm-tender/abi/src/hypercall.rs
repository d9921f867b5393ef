//! The calls of an hvt guest to its tender (the Solo5 hvt ABI, section 3.8).
//!
//! A call is a 32-bit `out` of the guest-physical address of a structure, which is read and
//! written in place.

use crate::GuestAddress;
use crate::bytes::{u32_at, u64_at};

/// Port of call number 0, which does not exist.
pub const PORT_BASE: u16 = 0x500;

/// A call, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hypercall {
    /// Time of day.
    WallTime = 1,
    /// Console output.
    Puts = 2,
    /// Wait for network packets or a timeout.
    Poll = 3,
    /// Write to a block device.
    BlockWrite = 4,
    /// Read from a block device.
    BlockRead = 5,
    /// Send a frame.
    NetWrite = 6,
    /// Receive a frame.
    NetRead = 7,
    /// End the guest.
    Halt = 8,
}

impl Hypercall {
    /// The call that belongs to `port`.
    ///
    /// # Errors
    /// No call does.
    pub fn from_port(port: u16) -> Result<Self, InvalidPort> {
        let number = port.checked_sub(PORT_BASE).ok_or(InvalidPort::NoHypercall)?;
        match number {
            0 => Err(InvalidPort::NoHandler(0)),
            1 => Ok(Self::WallTime),
            2 => Ok(Self::Puts),
            3 => Ok(Self::Poll),
            4 => Ok(Self::BlockWrite),
            5 => Ok(Self::BlockRead),
            6 => Ok(Self::NetWrite),
            7 => Ok(Self::NetRead),
            8 => Ok(Self::Halt),
            _ => Err(InvalidPort::NoHypercall),
        }
    }
}

/// A port that no hypercall belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InvalidPort {
    /// The port is not among those for hypercalls.
    NoHypercall,
    /// The port is, but this number has no call.
    NoHandler(u16),
}

/// Result of a call on a device, as the guest gets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallResult {
    /// Done.
    Ok = 0,
    /// Nothing there yet.
    Again = 1,
    /// The arguments make no sense, or the handle is not that of such a device.
    InvalidArgument = 2,
    /// The host failed.
    Unspecified = 3,
}

impl CallResult {
    /// As it stands in a structure.
    pub fn encode(self) -> [u8; 4] {
        (self as i32).to_le_bytes()
    }
}

/// `WALLTIME`: an output of nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WallTime;

impl WallTime {
    /// Size of the structure.
    pub const SIZE: usize = 8;

    /// The whole structure after the call.
    pub fn encode(nanoseconds: u64) -> [u8; Self::SIZE] {
        nanoseconds.to_le_bytes()
    }
}

/// `PUTS`: console output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Puts {
    /// Where the bytes are.
    pub data: GuestAddress,
    /// How many.
    pub len: u64,
}

impl Puts {
    /// Size of the structure.
    pub const SIZE: usize = 16;

    /// Reads the structure.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Self {
        Self { data: GuestAddress(u64_at(bytes, 0)), len: u64_at(bytes, 8) }
    }
}

/// `POLL`: wait until a network device is readable or the timeout is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Poll {
    /// Nanoseconds from now; 0 looks once, `u64::MAX` is valid.
    pub timeout: u64,
}

impl Poll {
    /// Size of the structure.
    pub const SIZE: usize = 24;
    /// Where the outputs begin.
    pub const REPLY_AT: u64 = 8;
    /// Size of the outputs.
    pub const REPLY_SIZE: usize = 12;

    /// Reads the inputs.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Self {
        Self { timeout: u64_at(bytes, 0) }
    }

    /// The outputs: bit h of `ready` tells that the device with handle h can be read.
    pub fn encode_reply(ready: u64) -> [u8; Self::REPLY_SIZE] {
        let mut out = [0; Self::REPLY_SIZE];
        out[..8].copy_from_slice(&ready.to_le_bytes());
        out[8..].copy_from_slice(&ready.count_ones().to_le_bytes());
        out
    }
}

/// `BLOCK_WRITE` and `BLOCK_READ`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Handle of the device, all 64 bits of it.
    pub handle: u64,
    /// Byte offset on the device.
    pub offset: u64,
    /// Where the bytes are or go.
    pub data: GuestAddress,
    /// How many.
    pub len: u64,
}

impl Block {
    /// Size of the structure.
    pub const SIZE: usize = 40;
    /// Where the result goes.
    pub const RESULT_AT: u64 = 32;

    /// Reads the inputs.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Self {
        Self {
            handle: u64_at(bytes, 0),
            offset: u64_at(bytes, 8),
            data: GuestAddress(u64_at(bytes, 16)),
            len: u64_at(bytes, 24),
        }
    }
}

/// `NET_WRITE` and `NET_READ`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Net {
    /// Handle of the device, all 64 bits of it.
    pub handle: u64,
    /// Where the frame is or goes.
    pub data: GuestAddress,
    /// Its size, or the room for it.
    pub len: u64,
}

impl Net {
    /// Size of the structure.
    pub const SIZE: usize = 32;
    /// Where `NET_READ` stores the size of the frame.
    pub const LEN_AT: u64 = 16;
    /// Where the result goes.
    pub const RESULT_AT: u64 = 24;

    /// Reads the inputs.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Self {
        Self {
            handle: u64_at(bytes, 0),
            data: GuestAddress(u64_at(bytes, 8)),
            len: u64_at(bytes, 16),
        }
    }
}

/// `HALT`: the guest is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Halt {
    /// Address of [`Halt::COOKIE_SIZE`] bytes that begin with a trap frame, or 0.
    pub cookie: GuestAddress,
    /// What the guest returned; the machine's exit status are its lowest 8 bits.
    pub exit_status: u32,
}

/// What a cookie begins with: the trap that a guest could not handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrapFrame {
    /// Address of a page fault.
    pub cr2: u64,
    /// Error code of the trap; 0 if it has none.
    pub error_code: u64,
    /// Where it happened.
    pub rip: u64,
    /// Code segment.
    pub cs: u64,
    /// Flags.
    pub rflags: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Stack segment.
    pub ss: u64,
}

impl TrapFrame {
    /// Size of the structure.
    pub const SIZE: usize = 56;

    /// Reads the structure.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Self {
        let word = |index: usize| u64_at(bytes, 8 * index);
        Self {
            cr2: word(0),
            error_code: word(1),
            rip: word(2),
            cs: word(3),
            rflags: word(4),
            rsp: word(5),
            ss: word(6),
        }
    }
}

impl Halt {
    /// Status of a guest that gave up: an assertion, a trap, a smashed stack.
    pub const ABORT: u8 = 255;
    /// Size of the structure.
    pub const SIZE: usize = 16;
    /// Size of what a cookie points to.
    pub const COOKIE_SIZE: u64 = 512;

    /// Reads the structure.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Self {
        Self { cookie: GuestAddress(u64_at(bytes, 0)), exit_status: u32_at(bytes, 8) }
    }

    /// The machine's exit status.
    pub fn status(&self) -> u8 {
        self.exit_status.to_le_bytes()[0]
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn exactly_eight_ports_are_hypercalls() {
        let calls = (0..=u16::MAX).filter(|&port| Hypercall::from_port(port).is_ok());
        assert!(calls.eq(0x501..=0x508));
        assert_eq!(Hypercall::from_port(0x500), Err(InvalidPort::NoHandler(0)));
        assert_eq!(Hypercall::from_port(0x600), Err(InvalidPort::NoHypercall));
        assert_eq!(Hypercall::from_port(0x508), Ok(Hypercall::Halt));
    }

    #[test]
    fn fields_are_where_the_abi_has_them() {
        let mut bytes = [0; 40];
        (1..=5).zip((0..40).step_by(8)).for_each(|(value, at)| bytes[at] = value);
        let block = Block::decode(&bytes);
        assert_eq!((block.handle, block.offset, block.data.0, block.len), (1, 2, 3, 4));
        let net = Net::decode(&crate::bytes::array(&bytes, 0));
        assert_eq!((net.handle, net.data.0, net.len), (1, 2, 3));
        let puts = Puts::decode(&crate::bytes::array(&bytes, 0));
        assert_eq!((puts.data.0, puts.len), (1, 2));
        assert_eq!(Poll::decode(&crate::bytes::array(&bytes, 0)).timeout, 1);
        let halt = Halt::decode(&crate::bytes::array(&bytes, 0));
        assert_eq!((halt.cookie.0, halt.exit_status), (1, 2));
        let trap: Vec<u8> = (1..8u64).flat_map(u64::to_le_bytes).collect();
        let trap = TrapFrame::decode(&crate::bytes::array(&trap, 0));
        assert_eq!((trap.cr2, trap.error_code, trap.rip, trap.cs), (1, 2, 3, 4));
        assert_eq!((trap.rflags, trap.rsp, trap.ss), (5, 6, 7));
        let reply = Poll::encode_reply(0b110);
        assert_eq!(reply, [6, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
    }

    #[test]
    fn an_exit_status_is_cut_to_8_bits() {
        for (returned, status) in [(42u32, 42), (263, 7), (u32::MAX, 255)] {
            let halt = Halt { cookie: GuestAddress(0), exit_status: returned };
            assert_eq!(halt.status(), status);
        }
    }
}
