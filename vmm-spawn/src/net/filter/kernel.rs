//! Orders to nfnetlink, and questions, each with a socket of its own: no answer is of another one.

use std::ops::ControlFlow;

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;

use super::messages::Batch;
use crate::net::netlink::Error;
use crate::net::netlink::socket::{connect, each_message, error_text};

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
    let mut changed = false;
    let ended = each_message(&socket, &mut Vec::new(), |message| {
        let (number, payload) = (message.sequence_number(), message.payload());
        changed |= message.flags() & NLM_F_DUMP_INTR != 0;
        match message.message_type() {
            kind @ (NLMSG_DONE | NLMSG_ERROR) => {
                let told = message.flags() & NLM_F_ACK_TLVS != 0;
                let done = refusal(payload, told && kind == NLMSG_ERROR);
                if done.is_err() || kind == NLMSG_DONE || number == last {
                    return ControlFlow::Break(done.map_err(|error| (number, error)));
                }
            }
            kind => {
                let Some(content) = payload.get(HEADER..) else {
                    let short = Error::Nonsense("a message is cut short".into());
                    return ControlFlow::Break(Err(of_none(short)));
                };
                part(number, kind, content);
            }
        }
        ControlFlow::Continue(())
    });
    ended.map_err(of_none)??;
    Ok(changed)
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
