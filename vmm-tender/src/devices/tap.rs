//! Network interfaces: frames go through a TAP descriptor, one with each call.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, fstat, open};
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::net::{AddressFamily, SocketType, socket, sockopt};
use rustix::rand::{GetRandomFlags, getrandom};
use vmm_tender_abi::DeviceName;
use vmm_tender_abi::hypercall::CallResult;

use super::DeviceError;
use super::ifreq::{Offload, Operation, Request, turn_off};
use super::options::{InterfaceName, MacAddress, Mtu, NetSource};
use crate::Error;
use crate::descriptors::DescriptorNumber;

const TUN: &str = "/dev/net/tun";

/// Used where the interface cannot be asked.
const DEFAULT_MTU: u16 = 1500;

const IFF_UP: u16 = 0x0001;
const IFF_RUNNING: u16 = 0x0040;
const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;

/// An attached network interface.
pub(crate) struct Tap {
    fd: OwnedFd,
    mac: MacAddress,
    mtu: u16,
}

impl Tap {
    /// Attaches `source` to the device `name`.
    pub(super) fn attach(
        name: DeviceName,
        source: NetSource,
        mac: Option<MacAddress>,
        mtu: Option<Mtu>,
    ) -> Result<Self, Error> {
        let mac = match mac {
            Some(mac) => mac,
            None => random_mac().map_err(|error| DeviceError::Host {
                name,
                what: "make up a hardware address for",
                error,
            })?,
        };
        let (fd, found) = match source {
            NetSource::Interface(interface) => open_interface(&interface).map_err(|error| {
                DeviceError::Interface { device: name, name: interface.as_str().to_owned(), error }
            })?,
            NetSource::Descriptor(number) => adopt(name, number)?,
        };
        Ok(Self { fd, mac, mtu: mtu.map_or(found, Mtu::bytes) })
    }

    pub(crate) fn mac(&self) -> MacAddress {
        self.mac
    }

    pub(crate) fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Sends one frame.
    pub(crate) fn send(&self, frame: &[u8]) -> CallResult {
        match retry_on_intr(|| write(&self.fd, frame)) {
            Ok(sent) if sent == frame.len() => CallResult::Ok,
            Ok(_) | Err(_) => CallResult::Unspecified,
        }
    }

    /// Receives one frame into `room`; what does not fit is lost.
    ///
    /// # Errors
    /// What the guest gets instead of a frame.
    pub(crate) fn receive(&self, room: &mut [u8]) -> Result<usize, CallResult> {
        match retry_on_intr(|| read(&self.fd, &mut *room)) {
            Ok(0) | Err(Errno::AGAIN) => Err(CallResult::Again),
            Ok(len) => Ok(len),
            Err(_) => Err(CallResult::Unspecified),
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Attaches to an interface that exists and is up.
fn open_interface(interface: &InterfaceName) -> Result<(OwnedFd, u16), Errno> {
    let socket = any_socket()?;
    // Asked before: attaching to an interface that does not exist would create one.
    let flags = Request::about(interface).ask(socket.as_fd(), Operation::GetFlags)?.flags();
    if flags & (IFF_UP | IFF_RUNNING) == 0 {
        return Err(Errno::NETDOWN);
    }
    let tun = open(TUN, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    let wanted = Request::about(interface).with_flags(IFF_TAP | IFF_NO_PI);
    let attached = wanted.ask(tun.as_fd(), Operation::SetTap)?;
    // The kernel takes `%d` for a number of its choice.
    if attached.name().as_ref() != Some(interface) {
        return Err(Errno::NODEV);
    }
    let mtu = mtu_of(interface)?;
    for offload in [Offload::ReceiveJoining, Offload::SendSegmentation] {
        // Larger frames than the MTU would be cut. Not every kernel lets it be switched, and
        // not every user may.
        let _ = turn_off(socket.as_fd(), interface, offload);
    }
    Ok((tun, mtu))
}

/// Takes over a descriptor that carries frames: of a TAP, or a packet socket of another program.
fn adopt(device: DeviceName, number: DescriptorNumber) -> Result<(OwnedFd, u16), Error> {
    let refused = |reason| DeviceError::NetDescriptor { device, number, reason };
    let fd = number.take().map_err(|_| refused("it is not open"))?;
    let flags = fcntl_getfl(&fd).map_err(Error::host("examine a network descriptor"))?;
    if flags & OFlags::RWMODE != OFlags::RDWR {
        return Err(refused("it is not open for reading and writing").into());
    }
    let mtu = match Request::empty().ask(fd.as_fd(), Operation::GetTap) {
        Ok(tap) if tap.flags() & IFF_TAP == 0 => {
            return Err(refused("it is attached to a TUN interface, not to a TAP").into());
        }
        // Whether it was attached with IFF_NO_PI, the kernel does not tell: the same bit says that
        // the descriptor has no packet filter.
        Ok(tap) if tap.flags() & IFF_VNET_HDR != 0 => {
            return Err(refused("its frames have headers (IFF_VNET_HDR)").into());
        }
        // The interface may be in another network namespace, where it cannot be asked.
        Ok(tap) => tap.name().and_then(|name| mtu_of(&name).ok()).unwrap_or(DEFAULT_MTU),
        Err(_) if is_packet_socket(fd.as_fd()) => DEFAULT_MTU,
        Err(_) => return Err(refused("it is no TAP descriptor").into()),
    };
    fcntl_setfl(&fd, flags | OFlags::NONBLOCK)
        .map_err(Error::host("make a network descriptor non-blocking"))?;
    Ok((fd, mtu))
}

/// Whether each read of `fd` is one packet.
fn is_packet_socket(fd: BorrowedFd<'_>) -> bool {
    let is_socket =
        fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket);
    is_socket
        && sockopt::socket_type(fd)
            .is_ok_and(|kind| kind == SocketType::DGRAM || kind == SocketType::SEQPACKET)
}

fn mtu_of(interface: &InterfaceName) -> Result<u16, Errno> {
    let request = Request::about(interface).ask(any_socket()?.as_fd(), Operation::GetMtu)?;
    u16::try_from(request.number()).map_err(|_| Errno::RANGE)
}

/// Questions about interfaces go through any socket.
fn any_socket() -> Result<OwnedFd, Errno> {
    socket(AddressFamily::INET, SocketType::DGRAM, None)
}

/// A random address of one interface that nobody has assigned.
fn random_mac() -> Result<MacAddress, Errno> {
    let mut mac = [0; 6];
    // Six bytes are never delivered in parts.
    retry_on_intr(|| getrandom(&mut mac, GetRandomFlags::empty()))?;
    mac[0] = (mac[0] & !1) | 2;
    Ok(MacAddress(mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_addresses_are_of_one_interface_and_nobodys() {
        let (one, other) = (random_mac().unwrap(), random_mac().unwrap());
        assert_ne!(one, other);
        assert_eq!((one.0[0] & 3, other.0[0] & 3), (2, 2));
    }
}
