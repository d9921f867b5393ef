//! One connection: requests, their replies, and what it means when it ends.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use vmm_proto::message::client::{Reply, Request, ToServer};
use vmm_service::connection::{ConnectionError, Reader, Writer};

use crate::failure::{Code, Failure, Stop};
use crate::tls::{self, Shown};

/// How long to listen for a reason after sending has failed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the server says.
pub(crate) enum Incoming {
    Local(Reader<OwnedReadHalf, Reply>),
    Tls(Reader<ReadHalf<TlsStream<TcpStream>>, Reply>),
}

/// What it is told.
pub(crate) enum Outgoing {
    Local(Writer<OwnedWriteHalf, ToServer>),
    Tls(Writer<WriteHalf<TlsStream<TcpStream>>, ToServer>),
}

impl Incoming {
    async fn next(&mut self) -> Result<Option<(u32, Reply)>, ConnectionError> {
        match self {
            Self::Local(reader) => reader.next().await,
            Self::Tls(reader) => reader.next().await,
        }
    }
}

impl Outgoing {
    async fn send(&mut self, request: u32, message: &ToServer) -> Result<(), ConnectionError> {
        match self {
            Self::Local(writer) => writer.send(request, message).await,
            Self::Tls(writer) => writer.send(request, message).await,
        }
    }

    async fn close(&mut self) -> Result<(), ConnectionError> {
        match self {
            Self::Local(writer) => writer.close().await,
            Self::Tls(writer) => writer.close().await,
        }
    }
}

/// A connection on which one request is made after the other.
pub(crate) struct Session {
    incoming: Incoming,
    outgoing: Outgoing,
    /// The number of the last request.
    last: u32,
    /// Whether the server has ever answered: it has accepted the chain then.
    heard: bool,
    usable: bool,
    shown: Option<Shown>,
    interrupt: Option<Signal>,
}

impl Session {
    pub(crate) const fn new(incoming: Incoming, outgoing: Outgoing, shown: Option<Shown>) -> Self {
        Self { incoming, outgoing, last: 0, heard: false, usable: true, shown, interrupt: None }
    }

    /// Whether another request can be made.
    pub(crate) const fn is_usable(&self) -> bool {
        self.usable
    }

    /// From now on Ctrl-C ends a wait for a reply with [`Stop::Interrupted`], not the process. One
    /// that was pressed before does not count.
    pub(crate) fn heed_interrupts(&mut self) -> Result<(), Failure> {
        let watched = signal(SignalKind::interrupt());
        self.interrupt = Some(watched.map_err(|error| {
            Failure::new(Code::Output, format!("cannot watch for Ctrl-C: {error}"))
        })?);
        Ok(())
    }

    /// Makes a request; its number goes with every reply.
    pub(crate) async fn open(&mut self, request: Request) -> Result<u32, Stop> {
        self.last += 1;
        self.send(self.last, &ToServer::Open(request)).await?;
        Ok(self.last)
    }

    /// Ends a request early. Replies that are on their way are passed over later.
    pub(crate) async fn cancel(&mut self, request: u32) -> Result<(), Stop> {
        self.send(request, &ToServer::Cancel).await
    }

    async fn send(&mut self, request: u32, message: &ToServer) -> Result<(), Stop> {
        match self.outgoing.send(request, message).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.last_words(request, error).await),
        }
    }

    /// The next reply to a request. An error in reply comes as [`Stop::Failed`].
    pub(crate) async fn next(&mut self, request: u32) -> Result<Reply, Stop> {
        loop {
            let next = tokio::select! {
                biased;
                () = pressed(self.interrupt.as_mut()) => return Err(Stop::Interrupted),
                next = self.incoming.next() => next,
            };
            if let Some(reply) = self.sorted(request, next)? {
                return Ok(reply);
            }
        }
    }

    /// Sends a piece of an image and listens all the while: a reply that comes is the end of
    /// sending.
    pub(crate) async fn send_piece(
        &mut self,
        request: u32,
        piece: Vec<u8>,
    ) -> Result<Option<Reply>, Stop> {
        let message = ToServer::Data(piece);
        let outcome = {
            let mut sending = pin!(self.outgoing.send(request, &message));
            tokio::select! {
                biased;
                next = self.incoming.next() => Err((next, is_ready(sending.as_mut()).await)),
                sent = &mut sending => Ok(sent),
            }
        };
        match outcome {
            Ok(Ok(())) => Ok(None),
            Ok(Err(error)) => Err(self.last_words(request, error).await),
            Err((next, sent)) => {
                // Half a frame may have gone out; what follows it would not be understood.
                self.usable &= sent;
                let reply = self.sorted(request, next)?;
                if !sent && reply.is_none() {
                    return Err(self.nonsense("it answered a request that is over").into());
                }
                Ok(reply)
            }
        }
    }

    /// What a received message is to `request`: a reply, the end of everything, or nothing
    /// (`None`).
    fn sorted(
        &mut self,
        request: u32,
        received: Result<Option<(u32, Reply)>, ConnectionError>,
    ) -> Result<Option<Reply>, Stop> {
        match received {
            // About the connection itself: the chain is refused, or there are too many.
            Ok(Some((0, Reply::Error(error)))) => {
                self.usable = false;
                Err(error.into())
            }
            Ok(Some((number, reply))) if number == request => {
                self.heard = true;
                match reply {
                    Reply::Error(error) => Err(error.into()),
                    reply => Ok(Some(reply)),
                }
            }
            Ok(Some((number, _))) if number != 0 && number < request => Ok(None),
            Ok(Some((number, _))) => {
                Err(self.nonsense(&format!("it answered request {number}, never made")).into())
            }
            Ok(None) => Err(self.over(None).into()),
            Err(error) => Err(self.over(Some(&error)).into()),
        }
    }

    /// Sending has failed. A peer that refuses says why before it closes.
    async fn last_words(&mut self, request: u32, error: ConnectionError) -> Stop {
        self.usable = false;
        let heard = timeout(LAST_WORDS, async {
            loop {
                let next = self.incoming.next().await;
                match self.sorted(request, next) {
                    Ok(_) => {}
                    Err(stop) => return stop,
                }
            }
        });
        match heard.await {
            Ok(stop) => stop,
            Err(_) => self.over(Some(&error)).into(),
        }
    }

    /// Why a connection is over: `None` when it was closed in good order.
    fn over(&mut self, error: Option<&ConnectionError>) -> Failure {
        self.usable = false;
        let alert = match error {
            Some(ConnectionError::Io(io)) => tls::alert_of(io),
            _ => None,
        };
        let message = match error {
            None => "the server closed the connection before the command was done".to_owned(),
            Some(error) => format!("the connection to the server was lost: {error}"),
        };
        match &self.shown {
            // Before the first answer it may be about the certificates.
            Some(shown) if !self.heard => shown.explain(&message, alert),
            _ => Failure::lost(message),
        }
    }

    /// The server breaks the protocol.
    pub(crate) fn nonsense(&mut self, what: &str) -> Failure {
        self.usable = false;
        Failure::lost(format!("the server makes no sense: {what}"))
    }

    /// Ends the connection in good order. Everything was answered by now, so that a server that has
    /// gone meanwhile is no failure.
    pub(crate) async fn close(mut self) {
        let _ = self.outgoing.close().await;
    }
}

/// Waits for Ctrl-C; for ever when it is not heeded.
async fn pressed(interrupt: Option<&mut Signal>) {
    match interrupt {
        Some(interrupt) => {
            interrupt.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether sending is through, without waiting for it.
async fn is_ready(
    mut sending: std::pin::Pin<&mut impl Future<Output = Result<(), ConnectionError>>>,
) -> bool {
    tokio::select! {
        biased;
        sent = &mut sending => sent.is_ok(),
        () = std::future::ready(()) => false,
    }
}
