//! rtnetlink, one question or order at a time: nothing else is in flight, so an answer is of the
//! last one or stale. The kernel answers before the request has returned; that it does not answer
//! at all is an error in bounded time.

use std::io;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use tracing::warn;

/// How long the kernel may take to answer. It has the answer before it lets go of the question.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a datagram at most: the kernel makes none of more than 32 KiB for dumps, and one
/// interface takes about 1.5 KiB.
const DATAGRAM_MAX: usize = 64 << 10;

/// Messages of one answer at most: a bridge knows tens of thousands of addresses at most.
const MESSAGES_MAX: usize = 1 << 20;

/// How often a list that changed while it was read is read again. After that it is taken as it is.
const DUMPS_MAX: usize = 5;

/// In an answer, the text of an error (`NLMSGERR_ATTR_MSG`).
const ERROR_TEXT: u16 = 1;

/// Bytes of the header of a message, which an error repeats.
const HEADER: usize = 16;

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused, in its own words where it has any.
    #[error("{error}{}", text.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused {
        /// The error number.
        error: Errno,
        /// What the kernel says about it.
        text: Option<String>,
    },
    /// the kernel cannot be asked about networks: {0}
    #[error("the kernel cannot be asked about networks: {0}")]
    Socket(io::Error),
    /// the kernel did not answer
    #[error("the kernel did not answer a question about networks within {} s", PATIENCE.as_secs())]
    Silence,
    /// the kernel answered without an end
    #[error("the kernel's answer about networks has more than {MESSAGES_MAX} parts")]
    Endless,
    /// the kernel's answer makes no sense
    #[error("the kernel's answer about networks cannot be read: {0}")]
    Nonsense(String),
}

impl Error {
    /// The error number, if the kernel has refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { error, .. } => Some(*error),
            _ => None,
        }
    }

    fn nonsense(error: &impl ToString) -> Self {
        Self::Nonsense(error.to_string())
    }
}

/// A connection to the kernel, in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    datagram: Vec<u8>,
}

/// What one message of an answer means.
enum Part {
    /// Of another question.
    Stale,
    Message(Box<RouteNetlinkMessage>),
    /// Part of a list, which this program does not understand.
    Strange(String),
    End,
}

impl Netlink {
    /// Opens one.
    ///
    /// # Errors
    /// The kernel or the host's rules for this process have no such sockets.
    pub fn open() -> Result<Self, Error> {
        let socket = connect(NETLINK_ROUTE)?;
        Ok(Self { socket, sequence: 0, datagram: Vec::new() })
    }

    /// Has something done. `flags` are more of `NLM_F_*`: `CREATE`, `EXCL`, `REPLACE`.
    ///
    /// # Errors
    /// It is not done.
    pub fn order(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Error> {
        self.ask(message, NLM_F_ACK | flags).map(drop)
    }

    /// Asks for one thing. `None` when it is not there.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn get(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> Result<Option<RouteNetlinkMessage>, Error> {
        match self.ask(message, NLM_F_ACK) {
            Ok((mut answer, _)) => Ok(answer.pop()),
            Err(error) => match error.errno() {
                Some(Errno::NODEV | Errno::NOENT) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Asks for a list. What in it makes no sense to this program is left out, and logged.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn list(
        &mut self,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let mut list = Vec::new();
        for _ in 0..DUMPS_MAX {
            let changed;
            (list, changed) = self.ask(message.clone(), NLM_F_DUMP)?;
            if !changed {
                break;
            }
        }
        Ok(list)
    }

    /// The answer, and whether it is a list that changed meanwhile.
    fn ask(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(Vec<RouteNetlinkMessage>, bool), Error> {
        self.send(message, flags)?;
        let (mut answer, mut changed, mut parts) = (Vec::new(), false, 0);
        loop {
            receive(&self.socket, &mut self.datagram)?;
            let mut rest = self.datagram.as_slice();
            while !rest.is_empty() {
                parts += 1;
                if parts > MESSAGES_MAX {
                    return Err(Error::Endless);
                }
                let (buffer, length) = first_of(rest)?;
                changed |= buffer.flags() & NLM_F_DUMP_INTR != 0;
                match self.part(&buffer)? {
                    Part::Stale => {}
                    Part::Message(message) => answer.push(*message),
                    Part::Strange(why) if flags & NLM_F_DUMP == NLM_F_DUMP => {
                        warn!("a part of the kernel's list cannot be read: {why}");
                    }
                    Part::Strange(why) => return Err(Error::Nonsense(why)),
                    Part::End => return Ok((answer, changed)),
                }
                rest = &rest[length..];
            }
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Error> {
        // Zero is what the kernel numbers what nobody asked for.
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let kernel = SocketAddr::new(0, 0);
        let sent = self.socket.send_to(&bytes, &kernel, 0).map_err(silence_or)?;
        if sent == bytes.len() {
            return Ok(());
        }
        Err(Error::Socket(io::ErrorKind::WriteZero.into()))
    }

    fn part(&self, buffer: &NetlinkBuffer<&[u8]>) -> Result<Part, Error> {
        if buffer.sequence_number() != self.sequence {
            return Ok(Part::Stale);
        }
        let bytes = buffer.clone().into_inner();
        let message = match NetlinkMessage::<Checked>::deserialize(bytes) {
            Ok(message) => message,
            Err(error) => return Err(Error::nonsense(&error)),
        };
        Ok(match message.payload {
            NetlinkPayload::InnerMessage(Checked(Ok(message))) => Part::Message(message),
            NetlinkPayload::InnerMessage(Checked(Err(error))) => Part::Strange(error),
            NetlinkPayload::Done(done) => match done.code {
                0 => Part::End,
                code => return Err(refused(code, None)),
            },
            NetlinkPayload::Error(error) => match error.code {
                None => Part::End,
                Some(code) => {
                    let told = buffer.flags() & NLM_F_ACK_TLVS != 0;
                    let text = told.then(|| error_text(&error.header)).flatten();
                    return Err(refused(code.get(), text));
                }
            },
            other => return Err(Error::nonsense(&format!("{other:?}"))),
        })
    }
}

/// A socket to a part of the kernel, which answers in bounded time.
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

/// Takes the next datagram of the kernel.
///
/// # Errors
/// There is none, or it is too long.
pub fn receive(socket: &Socket, datagram: &mut Vec<u8>) -> Result<(), Error> {
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

/// A message, or why this one cannot be read, which says nothing about its neighbours.
#[derive(Debug)]
struct Checked(Result<Box<RouteNetlinkMessage>, String>);

impl NetlinkDeserializable for Checked {
    type Error = std::convert::Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Self::Error> {
        let message = RouteNetlinkMessage::deserialize(header, payload);
        Ok(Self(message.map(Box::new).map_err(|error| error.to_string())))
    }
}

/// The first message in `bytes`, and where the next one begins.
///
/// # Errors
/// It is not whole.
pub fn first_of(bytes: &[u8]) -> Result<(NetlinkBuffer<&[u8]>, usize), Error> {
    let length =
        NetlinkBuffer::new_checked(bytes).map_err(|error| Error::nonsense(&error))?.length();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let first = bytes.get(..length).ok_or_else(|| Error::nonsense(&"a message is cut short"))?;
    let next = length.next_multiple_of(4).min(bytes.len());
    Ok((NetlinkBuffer::new(first), next))
}

fn refused(code: i32, text: Option<String>) -> Error {
    Error::Refused { error: Errno::from_raw_os_error(code.saturating_neg()), text }
}

/// The kernel's words, behind the header that an error repeats.
pub fn error_text(repeated: &[u8]) -> Option<String> {
    let attributes = NlasIterator::new(repeated.get(HEADER..)?);
    let text = attributes.flatten().find(|attribute| attribute.kind() == ERROR_TEXT)?;
    let text = text.value().split(|&byte| byte == 0).next()?;
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    Some(String::from_utf8_lossy(text).chars().map(printable).collect())
}

fn silence_or(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => Error::Silence,
        _ => Error::Socket(error),
    }
}
