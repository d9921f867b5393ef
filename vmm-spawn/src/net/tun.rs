//! `/dev/net/tun`: making a tap is the one thing that netlink cannot do.
#![allow(unsafe_code, reason = "taps are made by ioctl, for which there is no safe interface")]

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::ioctl::{IntegerSetter, Updater, ioctl, opcode};

/// The device.
pub const TUN: &str = "/dev/net/tun";

const TUNSETIFF: u32 = opcode::write::<i32>(b'T', 202);
const TUNSETOFFLOAD: u32 = opcode::write::<u32>(b'T', 208);

/// Ethernet frames.
const IFF_TAP: u16 = 0x0002;
/// Nothing but the frame in each read and write.
const IFF_NO_PI: u16 = 0x1000;
/// One that is there already is not taken.
const IFF_TUN_EXCL: u16 = 0x8000;

/// `struct ifreq`: a name, and a union whose first member here is flags.
const REQUEST: usize = 40;
const NAME: usize = 16;

/// The device, open.
///
/// # Errors
/// It is not there, or not for this process.
pub fn device() -> Result<OwnedFd, Errno> {
    open(TUN, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
}

/// Makes a tap of this name, which nothing has: down, with one queue, not persistent. The kernel
/// removes it when the last copy of the descriptor is closed.
///
/// # Errors
/// `BUSY`: there is one of this name. Others: it cannot be made.
pub fn make(name: &str) -> Result<OwnedFd, Errno> {
    let mut request = [0u8; REQUEST];
    // The last byte ends the name.
    let room = request[..NAME - 1].get_mut(..name.len()).ok_or(Errno::INVAL)?;
    room.copy_from_slice(name.as_bytes());
    let flags = IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL;
    request[NAME..NAME + 2].copy_from_slice(&flags.to_ne_bytes());
    let fd = device()?;
    // SAFETY: the operation reads and writes one `struct ifreq`, which has 40 bytes.
    let set = unsafe { Updater::<TUNSETIFF, [u8; REQUEST]>::new(&mut request) };
    // SAFETY: the descriptor is one of this device, and the kernel keeps no pointer.
    unsafe { ioctl(&fd, set)? };
    // What the guest is sent has its checksums and is no longer than the MTU.
    // SAFETY: the operation takes a number, not a pointer.
    let none = unsafe { IntegerSetter::<TUNSETOFFLOAD>::new_usize(0) };
    // SAFETY: as above.
    unsafe { ioctl(&fd, none)? };
    Ok(fd)
}
