//! The tables of taps: which there are, and removing them. The kernel is asked directly, as `nft`
//! looks at all there is before it does either.

use std::io;
use std::time::Duration;

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// How long the kernel may take for an answer. It answers at once, unless somebody is changing a
/// great many rules.
const PATIENCE: Duration = Duration::from_secs(5);

/// Datagrams of one answer.
const DATAGRAMS_MAX: usize = 10_000;

/// Bytes of the largest.
const DATAGRAM_MAX: usize = 1 << 16;

const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const ERROR: u16 = 2;
const DONE: u16 = 3;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;

/// `NFPROTO_NETDEV`
const NETDEV: u8 = 5;

/// `NFTA_TABLE_NAME`
const NAME: u16 = 1;

/// Of a message of netlink, and of nfnetlink behind it.
const HEADERS: usize = 16 + 4;

/// The names of all tables of single interfaces.
///
/// # Errors
/// The kernel does not tell.
pub fn names() -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    ask(&message(GET_TABLE, DUMP, 1, NETDEV, 0, None), |kind, body| {
        if kind == NEW_TABLE {
            let attributes = NlasIterator::new(body).flatten();
            let name = attributes.into_iter().find(|attribute| attribute.kind() == NAME);
            if let Some(name) = name {
                let name = name.value().split(|&byte| byte == 0).next().unwrap_or_default();
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    })?;
    Ok(names)
}

/// Removes the table of a single interface. That there is none is no error.
///
/// # Errors
/// It is still there, for all that is known.
pub fn remove(name: &str) -> io::Result<()> {
    let mut batch = message(BATCH_BEGIN, 0, 1, 0, SUBSYSTEM, None);
    batch.extend(message(DELETE_TABLE, ACKNOWLEDGE, 2, NETDEV, 0, Some(name)));
    batch.extend(message(BATCH_END, 0, 3, 0, SUBSYSTEM, None));
    match ask(&batch, |_, _| ()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn message(
    kind: u16,
    flags: u16,
    number: u32,
    family: u8,
    resource: u16,
    name: Option<&str>,
) -> Vec<u8> {
    let mut body = vec![family, 0];
    body.extend(resource.to_be_bytes());
    if let Some(name) = name {
        let length = u16::try_from(4 + name.len() + 1).unwrap_or(u16::MAX);
        body.extend(length.to_ne_bytes());
        body.extend(NAME.to_ne_bytes());
        body.extend(name.as_bytes());
        body.push(0);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut bytes = u32::try_from(16 + body.len()).unwrap_or(u32::MAX).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// Sends, and shows each part of the answer until its end.
fn ask(request: &[u8], mut part: impl FnMut(u16, &[u8])) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    for side in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(&socket, side, Some(PATIENCE))?;
    }
    socket.send_to(request, &SocketAddr::new(0, 0), 0)?;
    let nonsense = || io::Error::new(io::ErrorKind::InvalidData, "nonsense from the kernel");
    for _ in 0..DATAGRAMS_MAX {
        let mut datagram = Vec::with_capacity(DATAGRAM_MAX);
        let (_, from) = match socket.recv_from(&mut datagram, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            received => received?,
        };
        if from.port_number() != 0 {
            continue;
        }
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let header = NetlinkBuffer::new_checked(rest).map_err(|_| nonsense())?;
            let length = usize::try_from(header.length()).map_err(|_| nonsense())?;
            let whole = rest.get(..length).ok_or_else(nonsense)?;
            match header.message_type() {
                DONE => return Ok(()),
                ERROR => {
                    let code = whole.get(16..20).ok_or_else(nonsense)?;
                    let code = i32::from_ne_bytes(code.try_into().map_err(|_| nonsense())?);
                    if code == 0 {
                        return Ok(());
                    }
                    return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                }
                kind => part(kind, whole.get(HEADERS..).ok_or_else(nonsense)?),
            }
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
    }
    Err(nonsense())
}
