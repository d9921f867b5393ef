//! The TLS door: budgets before the peer is known, the chain judged right after the handshake.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::Context;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use vmm_proto::authority::Authorization;
use vmm_proto::chain;
use vmm_proto::message::client::{Error, ErrorCode, Reply, ToServer};
use vmm_service::connection::{Reader, Writer};
use vmm_service::socket::is_passing;

use crate::links::log::Entry;
use crate::places::{Full, Origin, Place, Places};
use crate::{Shared, clock, session};

/// Bytes that a peer may send before it is known (rule 1).
const BYTES: usize = 128 << 10;

/// How long the handshake may take (rule 1).
const TIME: Duration = Duration::from_secs(10);

/// Handshakes at once, of all and of one source address (rule 1).
const HANDSHAKES: usize = 64;
const HANDSHAKES_PER_SOURCE: usize = 8;

/// Sessions at once: of all delegations together, and of one delegation's own and of all below it.
const SESSIONS: usize = 1024;
const SESSIONS_PER_DELEGATION: usize = 256;

/// How long a refused peer's bytes are still read, so that a reset does not eat the refusal.
const DRAIN: Duration = Duration::from_secs(2);

type Tls = TlsStream<Metered<TcpStream>>;

/// Takes the listening sockets that were passed, or opens those of the command line.
pub(crate) async fn listen(
    addresses: &[SocketAddr],
    passed: Vec<std::net::TcpListener>,
) -> anyhow::Result<Vec<TcpListener>> {
    let mut doors = Vec::new();
    for passed in passed {
        tracing::info!("listening at {}, as passed", passed.local_addr()?);
        doors.push(TcpListener::from_std(passed)?);
    }
    if !doors.is_empty() {
        return Ok(doors);
    }
    for address in addresses {
        let door = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen at {address}"))?;
        tracing::info!("listening at {}", door.local_addr()?);
        doors.push(door);
    }
    Ok(doors)
}

/// What all TLS doors share.
pub(crate) struct Entrance {
    shared: Arc<Shared>,
    acceptor: TlsAcceptor,
    /// `None` stands for all sources together.
    handshakes: Places<Option<IpAddr>>,
    sessions: Places<Origin>,
}

impl Entrance {
    /// The entrance of a server.
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            acceptor: TlsAcceptor::from(Arc::clone(&shared.identity.config)),
            shared: Arc::clone(shared),
            handshakes: Places::default(),
            sessions: Places::default(),
        }
    }
}

/// Serves one door.
pub(crate) async fn serve(entrance: Arc<Entrance>, door: TcpListener) -> anyhow::Result<()> {
    loop {
        let (stream, peer) = match door.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_passing(&error) => {
                tracing::warn!("cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            Err(error) => return Err(error).context("the TLS door failed"),
        };
        // A peer over its budget is closed at once: anything said to it would cost more.
        let source = source_of(peer.ip());
        let keys = [(None, HANDSHAKES), (Some(source), HANDSHAKES_PER_SOURCE)];
        match entrance.handshakes.take(keys) {
            Ok(place) => {
                tokio::spawn(welcome(Arc::clone(&entrance), stream, peer, place));
            }
            Err((_, limit)) => {
                let message = format!("{limit} handshakes at once");
                refused(&entrance.shared, peer, "busy", &message);
            }
        }
    }
}

/// Where a connection counts as coming from: an IPv4 address, or the IPv6 network of 64 bits that
/// whoever has one address of it usually has all of.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

fn refused(shared: &Shared, peer: SocketAddr, code: &str, message: &str) {
    let entry = Entry::of("refused", "").with("peer", peer);
    shared.recorder.record(entry.with("code", code).with("message", message));
}

/// One connection, from its first byte on.
async fn welcome(
    entrance: Arc<Entrance>,
    stream: TcpStream,
    peer: SocketAddr,
    handshake: Place<Option<IpAddr>>,
) {
    let shared = Arc::clone(&entrance.shared);
    if let Err(error) = prepare(&stream) {
        tracing::debug!("{peer}: {error}");
    }
    let metered = Metered { inner: stream, left: Some(BYTES) };
    let accepted = tokio::time::timeout(TIME, entrance.acceptor.accept(metered)).await;
    let mut stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return refused(&shared, peer, "handshake", &error.to_string()),
        Err(_) => {
            let message = format!("not done within {} seconds", TIME.as_secs());
            return refused(&shared, peer, "handshake", &message);
        }
    };
    stream.get_mut().0.left = None;
    match admit(&entrance, &stream).await {
        Ok((authorization, place)) => {
            drop(handshake);
            let who = authorization.describe();
            let entry = Entry::of("login", authorization.path()).with("by", &who);
            shared.recorder.record(entry.with("peer", peer));
            let (read, write) = tokio::io::split(stream);
            let (reader, writer) = (Reader::new(read), Writer::new(write));
            session::run(shared, Arc::new(authorization), reader, writer).await;
            drop(place);
        }
        Err(error) => {
            refused(&shared, peer, error.code.as_str(), &error.message);
            turn_away(stream, error).await;
        }
    }
}

/// Small messages go back and forth, so none waits to fill a segment; and a peer that has gone
/// without a word is noticed within two minutes.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_mins(1))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(stream, 6)?;
    Ok(())
}

/// Everything that is judged right after the handshake.
async fn admit(entrance: &Entrance, stream: &Tls) -> Result<(Authorization, Place<Origin>), Error> {
    let shared = &entrance.shared;
    let chain_error = |message: &dyn std::fmt::Display| Error::new(ErrorCode::Chain, message);
    let connection = stream.get_ref().1;
    if connection.alpn_protocol() != Some(vmm_proto::message::ALPN) {
        return Err(chain_error(&"the ALPN protocol must be vmm/1 (certificate profile, rule 1)"));
    }
    let presented = connection.peer_certificates().unwrap_or_default();
    let identity = &shared.identity;
    let now = clock::unix_s();
    let authorization = chain::authorize(presented, &identity.root, Some(&identity.key), now)
        .map_err(|error| chain_error(&error))?;
    shared.recorder.check_room()?;
    session::present(shared, &authorization).await?;
    let place = entrance.sessions.take_at(authorization.path(), SESSIONS, SESSIONS_PER_DELEGATION);
    let place = place.map_err(|Full { of, limit }| {
        Error::new(
            ErrorCode::Busy,
            format!("{limit} sessions of {of} are open already; close one first"),
        )
    })?;
    Ok((authorization, place))
}

/// Says why, and closes.
async fn turn_away(stream: Tls, error: Error) {
    let (read, write) = tokio::io::split(stream);
    let mut writer = Writer::new(write);
    let said = async {
        writer.send(0, &Reply::Error(error)).await?;
        writer.close().await
    };
    if let Err(error) = said.await {
        tracing::debug!("a refusal was not read: {error}");
    }
    Reader::<_, ToServer>::new(read).drain(DRAIN).await;
}

/// A stream that may be read so many bytes from, until the limit is lifted.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    inner: S,
    /// Bytes left; `None`: no limit.
    left: Option<usize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == Some(0) {
            let message = format!("more than {BYTES} bytes before the handshake was done");
            return Poll::Ready(Err(io::Error::other(message)));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let count = buffer.filled().len() - before;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(count);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_peer_that_is_not_known_yet_is_read_up_to_its_budget() {
        let sent = vec![7; BYTES + 1];
        let mut metered = Metered { inner: sent.as_slice(), left: Some(BYTES) };
        let mut piece = vec![0; 4096];
        for _ in 0..BYTES / piece.len() {
            metered.read_exact(&mut piece).await.unwrap();
        }
        let error = metered.read(&mut piece).await.unwrap_err();
        assert!(error.to_string().contains("131072 bytes before the handshake"), "{error}");
        // Known, it may go on.
        metered.left = None;
        assert_eq!(metered.read(&mut piece).await.unwrap(), 1);
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        let source = |text: &str| source_of(text.parse().unwrap()).to_string();
        assert_eq!(source("10.0.0.7"), "10.0.0.7");
        assert_eq!(source("::ffff:10.0.0.7"), "10.0.0.7");
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
    }
}
