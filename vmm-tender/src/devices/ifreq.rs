//! The kernel's requests about network interfaces.
#![allow(unsafe_code, reason = "interfaces have no safe interface")]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::options::InterfaceName;

const NAME_SIZE: usize = 16;
const SIOCETHTOOL: u64 = 0x8946;

/// What is asked about an interface or a descriptor; each takes and returns one [`Request`].
#[derive(Clone, Copy)]
#[repr(u64)]
pub(super) enum Operation {
    /// Attaches a descriptor of `/dev/net/tun` to an interface.
    SetTap = 0x4004_54CA,
    /// To which interface a descriptor is attached, and how.
    GetTap = 0x8004_54D2,
    /// Flags of an interface.
    GetFlags = 0x8913,
    /// MTU of an interface.
    GetMtu = 0x8921,
}

/// `struct ifreq`: a name and a union, here as bytes.
#[repr(C, align(8))]
pub(super) struct Request {
    name: [u8; NAME_SIZE],
    value: [u8; 24],
}

impl Request {
    /// About nothing in particular: the kernel fills in the name.
    pub(super) fn empty() -> Self {
        Self { name: [0; NAME_SIZE], value: [0; 24] }
    }

    /// About the interface `name`.
    pub(super) fn about(name: &InterfaceName) -> Self {
        let mut out = Self::empty();
        let name = name.as_str().as_bytes();
        out.name[..name.len()].copy_from_slice(name);
        out
    }

    /// The same with flags to set.
    pub(super) fn with_flags(mut self, flags: u16) -> Self {
        self.value[..2].copy_from_slice(&flags.to_ne_bytes());
        self
    }

    /// The interface that the kernel named.
    pub(super) fn name(&self) -> Option<InterfaceName> {
        let name = self.name.split(|&byte| byte == 0).next()?;
        InterfaceName::new(std::str::from_utf8(name).ok()?)
    }

    /// The flags that the kernel stored.
    pub(super) fn flags(&self) -> u16 {
        u16::from_ne_bytes([self.value[0], self.value[1]])
    }

    /// The number that the kernel stored.
    pub(super) fn number(&self) -> i32 {
        i32::from_ne_bytes([self.value[0], self.value[1], self.value[2], self.value[3]])
    }

    /// Asks the kernel, through `fd`.
    pub(super) fn ask(mut self, fd: BorrowedFd<'_>, operation: Operation) -> Result<Self, Errno> {
        // SAFETY: each operation reads and writes one `struct ifreq`, which has 40 bytes, and
        // keeps no pointer to it.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), operation as u64, &raw mut self) };
        if result < 0 { Err(last_error()) } else { Ok(self) }
    }
}

/// A switch of an interface that is turned off.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Offload {
    /// Segmentation of large frames by the interface.
    SendSegmentation = 0x24,
    /// Joining of small frames by the interface.
    ReceiveJoining = 0x2C,
}

/// Turns `what` off on the interface `name`, through any socket.
pub(super) fn turn_off(
    socket: BorrowedFd<'_>,
    name: &InterfaceName,
    what: Offload,
) -> Result<(), Errno> {
    let mut order = [what as u32, 0];
    let mut request = Request::about(name);
    let address = (&raw mut order).expose_provenance() as u64;
    request.value[..8].copy_from_slice(&address.to_ne_bytes());
    // SAFETY: the request holds the address of a `struct ethtool_value` of two words that lives
    // until the call returns; both are read and may be written.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn every_host_has_a_loopback_interface() {
        const { assert!(size_of::<Request>() == 40) };
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let name = InterfaceName::new("lo").unwrap();
        let request = Request::about(&name).ask(socket.as_fd(), Operation::GetMtu).unwrap();
        assert!(request.number() >= 1500);
        assert_eq!(request.name(), Some(name));
        let none = InterfaceName::new("no-such-thing").unwrap();
        let error = Request::about(&none).ask(socket.as_fd(), Operation::GetMtu);
        assert_eq!(error.err(), Some(Errno::NODEV));
    }
}
