//! Orders to nfnetlink, and questions, each with a socket of its own: no answer is of another one.

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;

use super::messages::Batch;
use crate::net::netlink::{Error, connect, error_text, first_of, receive};

/// Messages of one answer: one for each table, chain or rule.
const MESSAGES_MAX: usize = 1 << 20;

/// Bytes of nfnetlink before attributes.
const HEADER: usize = 4;

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
pub struct Refused {
    /// What.
    pub what: String,
    /// Why.
    pub error: Error,
}

impl Refused {
    /// The error number, if it is the kernel that has refused.
    pub fn errno(&self) -> Option<Errno> {
        self.error.errno()
    }
}

/// Has orders carried out: all of them, or none.
///
/// # Errors
/// None is, if the kernel says so; without an answer it is not known.
pub fn order(batch: &mut Batch) -> Result<(), Refused> {
    let (bytes, last) = batch.finish();
    let done = ask(&bytes, last, |_, _, _| ());
    done.map(drop).map_err(|(number, error)| Refused { what: batch.name(number).into(), error })
}

/// Asks, and shows each part of the answer (its number, kind and content) until the end: of a
/// list, or of the question with the number `last`. Whether the list has changed meanwhile.
///
/// # Errors
/// With the number of what is refused, or 0.
pub fn ask(
    request: &[u8],
    last: u32,
    mut part: impl FnMut(u32, u16, &[u8]),
) -> Result<bool, (u32, Error)> {
    let of_none = |error| (0, error);
    let socket = connect(NETLINK_NETFILTER).map_err(of_none)?;
    send(&socket, request).map_err(of_none)?;
    let (mut datagram, mut changed, mut parts) = (Vec::new(), false, 0);
    loop {
        receive(&socket, &mut datagram).map_err(of_none)?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            parts += 1;
            if parts > MESSAGES_MAX {
                return Err(of_none(Error::Endless));
            }
            let (buffer, next) = first_of(rest).map_err(of_none)?;
            let number = buffer.sequence_number();
            changed |= buffer.flags() & NLM_F_DUMP_INTR != 0;
            let payload = buffer.payload();
            match buffer.message_type() {
                kind @ (NLMSG_DONE | NLMSG_ERROR) => {
                    let told = buffer.flags() & NLM_F_ACK_TLVS != 0;
                    refusal(payload, told && kind == NLMSG_ERROR).map_err(|it| (number, it))?;
                    if kind == NLMSG_DONE || number == last {
                        return Ok(changed);
                    }
                }
                kind => {
                    let short = || of_none(Error::Nonsense("a message is cut short".into()));
                    part(number, kind, payload.get(HEADER..).ok_or_else(short)?);
                }
            }
            rest = &rest[next..];
        }
    }
}

fn send(socket: &Socket, request: &[u8]) -> Result<(), Error> {
    match socket.send_to(request, &SocketAddr::new(0, 0), 0) {
        Ok(sent) if sent == request.len() => Ok(()),
        Ok(_) => Err(Error::Socket(std::io::ErrorKind::WriteZero.into())),
        Err(error) => Err(Error::Socket(error)),
    }
}

/// What an answer says about its order: nothing when that is done.
fn refusal(payload: &[u8], told: bool) -> Result<(), Error> {
    let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
    if code == 0 {
        return Ok(());
    }
    let text = told.then(|| error_text(payload.get(4..)?)).flatten();
    Err(Error::Refused { error: Errno::from_raw_os_error(code.saturating_neg()), text })
}
