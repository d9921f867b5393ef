//! What the kernel has counted of network interfaces, as rtnetlink tells it.
//!
//! Not sysfs: what is mounted there may show another network namespace. Anyone may ask this, so no
//! privilege is needed; only interfaces of this process's own network namespace are there.

use std::io;

use netlink_packet_core::{
    NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, Stats64};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use vmm_proto::message::Traffic;

/// Bytes that are read of an answer: an interface without virtual functions has about 1.5 KiB, of
/// which the counters come within the first few hundred.
const ANSWER: usize = 16 << 10;

/// Bytes of `struct ifinfomsg`, behind which the attributes begin.
const LINK_HEADER: usize = 16;

/// `IFLA_STATS64` of `linux/if_link.h`.
const STATS64: u16 = 23;

/// `NLMSG_ERROR` and `RTM_NEWLINK`: the two answers that there are.
const ERROR: u16 = 2;
const NEW_LINK: u16 = 16;

/// The way to the kernel.
#[derive(Debug, Default)]
pub struct Interfaces {
    /// Opened when it is needed, and anew after a failure: then an answer may still be in it.
    socket: Option<Socket>,
    sequence: u32,
    failed: bool,
}

impl Interfaces {
    /// What an interface has counted, from the point of view of the machine at its other end: what
    /// the host has sent into a tap is what the guest has received. `None` when there is no such
    /// interface here, or the kernel cannot be asked; that is logged once, until it can be again.
    pub fn traffic(&mut self, name: &str) -> Option<Traffic> {
        let (traffic, failed) = match self.ask(name) {
            Ok(traffic) => (traffic, false),
            Err(error) if self.failed => {
                tracing::debug!("no counters of {name}: {error}");
                (None, true)
            }
            Err(error) => {
                tracing::warn!("the counters of network interfaces cannot be read: {error}");
                (None, true)
            }
        };
        self.failed = failed;
        traffic
    }

    fn ask(&mut self, name: &str) -> io::Result<Option<Traffic>> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open()?,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let traffic = ask(&socket, self.sequence, name)?;
        self.socket = Some(socket);
        Ok(traffic)
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    // Port 0 is the kernel: nobody else's messages get in.
    socket.connect(&SocketAddr::new(0, 0))?;
    // The kernel answers before the send returns.
    socket.set_non_blocking(true)?;
    Ok(socket)
}

fn ask(socket: &Socket, sequence: u32, name: &str) -> io::Result<Option<Traffic>> {
    let question = question(sequence, name);
    if socket.send(&question, 0)? != question.len() {
        return Err(io::Error::other("the question was cut"));
    }
    let mut answer = Vec::with_capacity(ANSWER);
    socket.recv(&mut answer, 0)?;
    understood(&answer, sequence)
}

fn question(sequence: u32, name: &str) -> Vec<u8> {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    header.sequence_number = sequence;
    let payload = NetlinkPayload::from(RouteNetlinkMessage::GetLink(link));
    let mut message = NetlinkMessage::new(header, payload);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Takes only the counters out of an answer: what else a newer kernel says there does not matter.
fn understood(answer: &[u8], sequence: u32) -> io::Result<Option<Traffic>> {
    let strange = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let message =
        NetlinkBuffer::new_checked(answer).map_err(|_| strange("an answer that is no message"))?;
    if message.sequence_number() != sequence {
        return Err(strange("the answer to another question"));
    }
    match message.message_type() {
        NEW_LINK => {
            let attributes = message.payload().get(LINK_HEADER..).unwrap_or_default();
            let mut attributes = NlasIterator::new(attributes).map_while(Result::ok);
            let counters = attributes
                .find(|attribute| attribute.kind() == STATS64)
                .ok_or_else(|| strange("an interface without counters"))?;
            let counters = Stats64::parse(counters.value())
                .map_err(|_| strange("counters that are too short"))?;
            Ok(Some(seen_by_the_machine(&counters)))
        }
        ERROR => {
            let code = message.payload().first_chunk().map(|code| i32::from_ne_bytes(*code));
            let code = code.ok_or_else(|| strange("an error without a number"))?;
            let error = io::Error::from_raw_os_error(code.saturating_neg());
            if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) {
                return Ok(None);
            }
            Err(error)
        }
        _ => Err(strange("an answer of another kind")),
    }
}

const fn seen_by_the_machine(host: &Stats64) -> Traffic {
    Traffic {
        received_packets: host.tx_packets,
        received_bytes: host.tx_bytes,
        received_dropped: host.tx_dropped,
        sent_packets: host.rx_packets,
        sent_bytes: host.rx_bytes,
        sent_dropped: host.rx_dropped,
    }
}

#[cfg(test)]
#[path = "interface_tests.rs"]
mod tests;
