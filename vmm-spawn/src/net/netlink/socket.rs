//! Sockets to the kernel, and what comes out of them.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use netlink_sys::Socket;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::Error;

/// How long the kernel may take to answer. It has the answer before it lets go of the question.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a datagram at most: the kernel makes none of more than 32 KiB for dumps, and one
/// interface takes about 1.5 KiB.
const DATAGRAM_MAX: usize = 64 << 10;

/// Messages of one answer at most: one for each address that a bridge knows, or for each route of a
/// router, of which those of the whole Internet are a million.
pub const MESSAGES_MAX: usize = 4 << 20;

/// In an answer, the text of an error (`NLMSGERR_ATTR_MSG`).
const ERROR_TEXT: u16 = 1;

/// Bytes of the header of a message, which an error repeats.
const HEADER: usize = 16;

/// A socket to a part of the kernel. To wait for its answer is an error after some time; what it takes to
/// carry out the question is not limited by that.
///
/// # Errors
/// The kernel or the host's rules for this process have no such sockets.
pub fn connect(protocol: isize) -> Result<Socket, Error> {
    let mut socket = Socket::new(protocol).map_err(Error::Socket)?;
    socket.bind_auto().map_err(Error::Socket)?;
    socket.set_ext_ack(true).map_err(Error::Socket)?;
    // An error repeats the header of the request only, so that its text has a known place.
    socket.set_cap_ack(true).map_err(Error::Socket)?;
    // What is asked for is judged as a whole, not as far as the kernel cares to read.
    socket.set_netlink_get_strict_chk(true).map_err(Error::Socket)?;
    for side in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(&socket, side, Some(PATIENCE))
            .map_err(|error| Error::Socket(error.into()))?;
    }
    Ok(socket)
}

/// Shows each message that comes, until one of them is the last.
///
/// # Errors
/// No more comes, or too many, or what comes makes no sense.
pub fn each_message<T>(
    socket: &Socket,
    datagram: &mut Vec<u8>,
    mut look: impl FnMut(&NetlinkBuffer<&[u8]>) -> ControlFlow<T>,
) -> Result<T, Error> {
    let mut messages = 0;
    loop {
        receive(socket, datagram)?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            messages += 1;
            if messages > MESSAGES_MAX {
                return Err(Error::Endless);
            }
            let (message, next) = first_of(rest)?;
            if let ControlFlow::Break(done) = look(&message) {
                return Ok(done);
            }
            rest = &rest[next..];
        }
    }
}

/// Takes the next datagram of the kernel.
fn receive(socket: &Socket, datagram: &mut Vec<u8>) -> Result<(), Error> {
    for _ in 0..MESSAGES_MAX {
        datagram.clear();
        datagram.reserve(DATAGRAM_MAX);
        let (length, from) = match socket.recv_from(datagram, libc::MSG_TRUNC) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            received => received.map_err(silence_or)?,
        };
        if from.port_number() != 0 {
            continue;
        }
        if length != datagram.len() {
            return Err(Error::nonsense(&format!("{length} bytes at once")));
        }
        return Ok(());
    }
    Err(Error::Endless)
}

/// The first message in `bytes`, and where the next one begins.
fn first_of(bytes: &[u8]) -> Result<(NetlinkBuffer<&[u8]>, usize), Error> {
    let length =
        NetlinkBuffer::new_checked(bytes).map_err(|error| Error::nonsense(&error))?.length();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let first = bytes.get(..length).ok_or_else(|| Error::nonsense(&"a message is cut short"))?;
    let next = length.next_multiple_of(4).min(bytes.len());
    Ok((NetlinkBuffer::new(first), next))
}

/// The kernel's words, behind the header that an error repeats.
pub fn error_text(repeated: &[u8]) -> Option<String> {
    let attributes = NlasIterator::new(repeated.get(HEADER..)?);
    let text = attributes.flatten().find(|attribute| attribute.kind() == ERROR_TEXT)?;
    let text = text.value().split(|&byte| byte == 0).next()?;
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    Some(String::from_utf8_lossy(text).chars().map(printable).collect())
}

/// That the kernel has not answered in time, or what else is wrong with its socket.
pub fn silence_or(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => Error::Silence,
        _ => Error::Socket(error),
    }
}
