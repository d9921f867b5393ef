//! Packets and the descriptors beside them.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use vmm_proto::message::spawn::MAX_PACKET;

/// Descriptors that are taken from one packet: more than any message has, so that too many are
/// told from enough. What comes beyond, the kernel closes.
const DESCRIPTORS_IN: usize = 2;

/// Descriptors beside a packet that is sent: a ring has four.
pub const DESCRIPTORS_OUT: usize = 4;

/// What a socket had to say.
#[derive(Debug)]
pub enum Received {
    /// A packet.
    Packet(Packet),
    /// A packet of more than [`MAX_PACKET`] bytes; it is gone.
    TooLong,
    /// Nothing for now.
    Nothing,
    /// The other side is gone.
    End,
}

/// A packet that was received.
#[derive(Debug)]
pub struct Packet {
    /// Its bytes, at least one.
    pub bytes: Vec<u8>,
    /// What came beside it.
    pub descriptors: Descriptors,
}

/// The descriptors beside a packet.
#[derive(Debug)]
pub enum Descriptors {
    /// All of them.
    All(Vec<OwnedFd>),
    /// More than are taken, or than this process may have open. All are closed.
    TooMany,
}

impl Descriptors {
    /// Whether there was none.
    pub fn none(&self) -> bool {
        matches!(self, Self::All(list) if list.is_empty())
    }
}

/// Receives one packet, without waiting. Its descriptors are close-on-exec.
///
/// # Errors
/// The connection is broken.
pub fn receive(socket: impl AsFd) -> Result<Received, Errno> {
    let mut bytes = vec![0; MAX_PACKET];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_IN))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = match recvmsg(socket, &mut slices, &mut control, flags) {
        Ok(received) => received,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(Received::Nothing),
        // What a peer left unread when it closed.
        Err(Errno::CONNRESET) => return Ok(Received::End),
        Err(error) => return Err(error),
    };
    let descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        })
        .flatten()
        .collect();
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Ok(Received::TooLong);
    }
    if received.bytes == 0 {
        return Ok(Received::End);
    }
    bytes.truncate(received.bytes);
    let descriptors = if received.flags.contains(ReturnFlags::CTRUNC) {
        Descriptors::TooMany
    } else {
        Descriptors::All(descriptors)
    };
    Ok(Received::Packet(Packet { bytes, descriptors }))
}

/// Sends one packet with at most [`DESCRIPTORS_OUT`] descriptors, without waiting. `false` when
/// there is no room for it now.
///
/// # Errors
/// The connection is broken.
pub fn send(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<bool, Errno> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_OUT))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags) {
        Ok(_) => Ok(true),
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(error) => Err(error),
    }
}
