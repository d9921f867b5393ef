//! rtnetlink, one question or order at a time: nothing else is in flight, so an answer is of the
//! last one or stale. The kernel answers before the request has returned; that it has not is an error
//! after some time. How long a request takes is not limited here: it waits while somebody else changes
//! networks. Whoever watches this process sees that.

pub mod socket;

use std::io;
use std::ops::ControlFlow;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;
use tracing::warn;

use socket::{MESSAGES_MAX, PATIENCE, connect, each_message, error_text, silence_or};

/// How often a list that changed while it was read is read again. After that it is taken as it is.
const DUMPS_MAX: usize = 5;

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
        self.ask(message, NLM_F_ACK | flags, drop).map(drop)
    }

    /// Asks for one thing. `None` when it is not there.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn get(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> Result<Option<RouteNetlinkMessage>, Error> {
        let mut answer = None;
        match self.ask(message, NLM_F_ACK, |part| answer = Some(part)) {
            Ok(_) => Ok(answer),
            Err(error) => match error.errno() {
                Some(Errno::NODEV | Errno::NOENT) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Asks for a list, of which no more is in memory at a time than what is kept. What in it makes no
    /// sense to this program is left out, and logged.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn list<T>(
        &mut self,
        message: &RouteNetlinkMessage,
        mut keep: impl FnMut(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let mut list = Vec::new();
        for _ in 0..DUMPS_MAX {
            list.clear();
            let kept = |message| list.extend(keep(message));
            if !self.ask(message.clone(), NLM_F_DUMP, kept)? {
                break;
            }
        }
        Ok(list)
    }

    /// Shows each part of the answer; returns whether it is a list that changed meanwhile.
    fn ask(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        mut shown: impl FnMut(RouteNetlinkMessage),
    ) -> Result<bool, Error> {
        self.send(message, flags)?;
        let (sequence, mut changed) = (self.sequence, false);
        each_message(&self.socket, &mut self.datagram, |buffer| {
            changed |= buffer.flags() & NLM_F_DUMP_INTR != 0;
            match part(buffer, sequence) {
                Ok(Part::Stale) => {}
                Ok(Part::Message(message)) => shown(*message),
                Ok(Part::Strange(why)) if flags & NLM_F_DUMP == NLM_F_DUMP => {
                    warn!("a part of the kernel's list cannot be read: {why}");
                }
                Ok(Part::Strange(why)) => return ControlFlow::Break(Err(Error::Nonsense(why))),
                Ok(Part::End) => return ControlFlow::Break(Ok(())),
                Err(error) => return ControlFlow::Break(Err(error)),
            }
            ControlFlow::Continue(())
        })??;
        Ok(changed)
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
}

/// What one message means in an answer to the question with this number.
fn part(buffer: &NetlinkBuffer<&[u8]>, sequence: u32) -> Result<Part, Error> {
    if buffer.sequence_number() != sequence {
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

fn refused(code: i32, text: Option<String>) -> Error {
    Error::Refused { error: Errno::from_raw_os_error(code.saturating_neg()), text }
}
