//! One connection: its requests, each on its own, many at a time.

mod console;
mod deploy;
mod host;
mod host_network;
mod look;
mod order;
mod power;
mod revoke;
mod why;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::{self, AbortHandle, JoinError, JoinSet};
use vmm_engine::{Chain, Event};
use vmm_proto::authority::Authorization;
use vmm_proto::message::client::{Error, ErrorCode, MAX_OPEN, Reply, Request, ToServer};
use vmm_proto::name::{MachineName, Target};
use vmm_proto::verb::Verb;
use vmm_service::connection::{ConnectionError, Reader, Writer};

use crate::core::Requester;
use crate::failure::Failure;
use crate::links::log::Entry;
use crate::places::{Full, Origin, Place};
use crate::{Shared, clock};

/// Replies that wait to be written. Requests wait when it is full: their own connection's reader
/// is slow, and nobody else's. Each may have a frame's size.
const REPLIES: usize = 16;

/// Readers of consoles and of the log at once: of all delegations together, and of one delegation's own
/// and of all below it. With the host's own they are fewer than the connections that `vmm-console` and
/// `vmm-log` take, so that there is always one for `vmmd` itself.
const READERS: usize = 576;
const READERS_PER_DELEGATION: usize = 192;

/// How long a client may take to send the next piece of an image or a list.
const PIECE_TIME: Duration = Duration::from_secs(30);

/// Pieces of an image that wait to be stored.
const PIECES: usize = 1;

/// Bytes written at once.
const BATCH: usize = 128 << 10;

/// How long a connection may stay open without a request.
const IDLE: Duration = Duration::from_mins(5);

/// Shows the engine the delegations of a chain (rule 9): a newer one takes effect, an outdated one
/// is refused.
///
/// # Errors
/// The engine's refusal.
pub(crate) async fn present(shared: &Shared, of: &Authorization) -> Result<(), Error> {
    let chain = Chain::from(of);
    let by = Requester::of(of);
    let event = |token| Event::Presented { token, chain };
    shared.core.request(&by, event).await.map(drop).map_err(|failure| failure.error)
}

/// Serves one connection until it ends.
pub(crate) async fn run<R, W>(
    shared: Arc<Shared>,
    authorization: Arc<Authorization>,
    reader: Reader<R, ToServer>,
    writer: Writer<W, Reply>,
) where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (out, replies) = mpsc::channel(REPLIES);
    let mut writing = tokio::spawn(write(writer, replies));
    let by = Requester::of(&authorization);
    let session =
        Session { shared, authorization, by, out, open: HashMap::new(), tasks: JoinSet::new() };
    let out = session.out.clone();
    let ended = tokio::select! {
        ended = session.read(reader) => ended,
        _ = &mut writing => return,
    };
    if let Err(error) = ended {
        tracing::debug!("a session ended: {error}");
        // The peer may have gone; then there is nobody to tell.
        let _gone = out.send((0, Reply::Error(error))).await;
    }
    drop(out);
    if let Err(error) = writing.await {
        tracing::error!("the writer of a session failed: {error}");
    }
}

/// Writes replies as they come, as many at once as there are.
async fn write<W: AsyncWrite + Unpin>(
    mut writer: Writer<W, Reply>,
    mut replies: mpsc::Receiver<(u32, Reply)>,
) {
    while let Some((request, reply)) = replies.recv().await {
        let written = async {
            writer.push(request, &reply)?;
            while writer.waiting() < BATCH
                && let Ok((request, reply)) = replies.try_recv()
            {
                writer.push(request, &reply)?;
            }
            writer.flush().await
        };
        if let Err(error) = written.await {
            tracing::debug!("a session's peer: {error}");
            return;
        }
    }
    if let Err(error) = writer.close().await {
        tracing::debug!("a session's peer: {error}");
    }
}

/// A request that is being answered.
struct Open {
    pieces: mpsc::Sender<Vec<u8>>,
    /// Whether it takes pieces of an image now.
    wanting: Arc<AtomicBool>,
    task: AbortHandle,
}

struct Session {
    shared: Arc<Shared>,
    authorization: Arc<Authorization>,
    by: Arc<Requester>,
    out: mpsc::Sender<(u32, Reply)>,
    open: HashMap<u32, Open>,
    tasks: JoinSet<()>,
}

impl Session {
    /// Takes what the client sends, for as long as its chain stands. When this ends, so do all
    /// requests.
    async fn read<R: AsyncRead + Unpin>(
        mut self,
        mut reader: Reader<R, ToServer>,
    ) -> Result<(), Error> {
        let broken = |error: ConnectionError| Error::new(ErrorCode::Usage, error);
        let mut revoked = self.shared.core.revoked();
        loop {
            tokio::select! {
                message = reader.next() => match message.map_err(broken)? {
                    Some((number, message)) => self.take(number, message).await,
                    None => return Ok(()),
                },
                // That the core has ended is seen by every request.
                Ok(()) = revoked.changed() => present(&self.shared, &self.authorization).await?,
                Some(done) = self.tasks.join_next_with_id() => self.ended(done).await,
                () = tokio::time::sleep(IDLE), if self.open.is_empty() => return Ok(()),
            }
        }
    }

    async fn take(&mut self, number: u32, message: ToServer) {
        match message {
            ToServer::Open(request) => self.begin(number, request).await,
            ToServer::Data(piece) => {
                // Pieces that nobody asked for, or not any more, are dropped: a client may have sent
                // them before it saw the answer.
                let wanting = |open: &&Open| open.wanting.load(Ordering::Relaxed);
                let pieces = self.open.get(&number).filter(wanting).map(|open| open.pieces.clone());
                if let Some(pieces) = pieces {
                    // A request that has failed takes no more; its answer says why.
                    let _ended = pieces.send(piece).await;
                }
            }
            ToServer::Cancel => {
                if let Some(open) = self.open.get(&number) {
                    open.task.abort();
                }
            }
        }
    }

    async fn begin(&mut self, number: u32, request: Request) {
        let refusal = if number == 0 || self.open.contains_key(&number) {
            Some(Error::new(ErrorCode::Usage, format!("the request number {number} is in use")))
        } else if self.open.len() >= MAX_OPEN {
            let message = format!("at most {MAX_OPEN} requests are open on one connection");
            Some(Error::new(ErrorCode::Busy, message))
        } else {
            None
        };
        if let Some(error) = refusal {
            // The writer's end is seen by the loop.
            let _gone = self.out.send((number, Reply::Error(error))).await;
            return;
        }
        let (pieces, arriving) = mpsc::channel(PIECES);
        let wanting = Arc::new(AtomicBool::new(false));
        let turn = Turn {
            shared: Arc::clone(&self.shared),
            authorization: Arc::clone(&self.authorization),
            by: Arc::clone(&self.by),
            number,
            out: self.out.clone(),
            pieces: arriving,
            wanting: Arc::clone(&wanting),
        };
        let task = self.tasks.spawn(turn.answer(request));
        self.open.insert(number, Open { pieces, wanting, task });
    }

    /// Forgets exactly the request whose task has ended: its number may be in use again.
    async fn ended(&mut self, done: Result<(task::Id, ()), JoinError>) {
        let id = done.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        let number = self.open.iter().find(|(_, open)| open.task.id() == id);
        let Some(number) = number.map(|(number, _)| *number) else { return };
        self.open.remove(&number);
        if let Err(error) = done
            && !error.is_cancelled()
        {
            tracing::error!("a request failed: {error}");
            let error = Error::new(ErrorCode::Internal, "the server failed at this request");
            // The writer's end is seen by the loop.
            let _gone = self.out.send((number, Reply::Error(error))).await;
        }
    }
}

/// One request and what it needs.
struct Turn {
    shared: Arc<Shared>,
    authorization: Arc<Authorization>,
    by: Arc<Requester>,
    number: u32,
    out: mpsc::Sender<(u32, Reply)>,
    pieces: mpsc::Receiver<Vec<u8>>,
    /// Set while [`Turn::pieces`] are waited for.
    wanting: Arc<AtomicBool>,
}

impl Turn {
    /// Answers the request.
    async fn answer(mut self, request: Request) {
        let verb = request.verb();
        let not_after = self.authorization.validity().not_after;
        let result = tokio::select! {
            result = self.judged(verb, request) => result,
            () = until(not_after) => Err(expired().into()),
        };
        let last = match result {
            Ok(()) => Reply::Done,
            Err(Failure { error, recorded }) => {
                if !recorded {
                    self.record_refusal(verb, &error);
                }
                Reply::Error(error)
            }
        };
        // The writer may have ended; the connection is over then.
        let _gone = self.out.send((self.number, last)).await;
    }

    fn record_refusal(&self, verb: Verb, error: &Error) {
        let entry = Entry::of("refused", self.authorization.path())
            .with("by", &self.by.who)
            .with("verb", verb)
            .with("code", error.code.as_str())
            .with("message", &error.message);
        self.shared.recorder.record(entry);
    }

    /// What is judged anew at every request, and then the request.
    async fn judged(&mut self, verb: Verb, request: Request) -> Result<(), Failure> {
        if !self.authorization.validity().contains(clock::unix_s()) {
            return Err(expired().into());
        }
        self.authorization.has(verb).map_err(denied)?;
        present(&self.shared, &self.authorization).await?;
        match request {
            Request::Deploy { described, attach, probation_ms } => {
                deploy::deploy(self, described, attach, probation_ms).await
            }
            Request::Info { name } => look::info(self, name).await,
            Request::Quota => look::quota(self).await,
            Request::Statistics { name, follow } => look::statistics(self, name, follow).await,
            Request::Log { name, since_ms, follow } => {
                look::log(self, name, since_ms, follow).await
            }
            Request::Attach { name, start, follow } => {
                console::attach(self, &name, start, follow).await
            }
            Request::Detach { name } => console::detach(self, &name).await,
            Request::Start { name } => power::start(self, &name).await,
            Request::Stop { name, timeout_ms } => power::stop(self, &name, timeout_ms).await,
            Request::Restart { name, timeout_ms } => power::restart(self, &name, timeout_ms).await,
            Request::Destroy { name } => power::destroy(self, &name).await,
            Request::Revoke { size, chain } => revoke::revoke(self, size, chain).await,
            Request::Why(deed) => why::why(self, deed).await,
            Request::Host(doorkeeping) => host::host(self, doorkeeping).await,
            Request::HostNetwork(deed) => host_network::host_network(self, deed).await,
        }
    }

    /// The next piece of what the client was asked for, which `what` names.
    ///
    /// # Errors
    /// When it does not come in time, or the connection is over.
    async fn piece(&mut self, what: &str) -> Result<Vec<u8>, Error> {
        let piece = tokio::time::timeout(PIECE_TIME, self.pieces.recv()).await;
        let stalled = |_| {
            let seconds = PIECE_TIME.as_secs();
            let message = format!("no piece of the {what} came within {seconds} seconds");
            Error::new(ErrorCode::Busy, message)
        };
        let gone = || Error::new(ErrorCode::Internal, "the connection is over");
        piece.map_err(stalled)?.ok_or_else(gone)
    }

    /// A place among those who read a console or the log: each takes a connection of a daemon that
    /// others need too.
    fn reader_place(&self) -> Result<Place<Origin>, Error> {
        let path = self.authorization.path();
        let place = self.shared.readers.take_at(path, READERS, READERS_PER_DELEGATION);
        place.map_err(|Full { of, limit }| {
            let message = format!("{limit} readers of {of} read consoles or the log already");
            Error::new(ErrorCode::Busy, message)
        })
    }

    /// What the client means by a name, if it may do this there.
    fn target(&self, verb: Verb, name: Option<&str>) -> Result<Target, Error> {
        let usage = |error| Error::new(ErrorCode::Usage, error);
        let target = self.authorization.target(name).map_err(usage)?;
        self.authorization.may(verb, &target).map_err(denied)?;
        Ok(target)
    }

    /// The machine that the client means by a name, if it may do this to it.
    fn machine(&self, verb: Verb, name: &str) -> Result<MachineName, Error> {
        match self.target(verb, Some(name))? {
            Target::Machine(name) => Ok(name),
            Target::Below(path) => {
                let message = format!("\"{path}/\" is not one machine; {verb} takes one");
                Err(Error::new(ErrorCode::Usage, message))
            }
        }
    }

    /// Sends a reply that is not the last.
    async fn say(&self, reply: Reply) -> Result<(), Error> {
        let gone = |_| Error::new(ErrorCode::Internal, "the connection is over");
        self.out.send((self.number, reply)).await.map_err(gone)
    }
}

fn denied(denied: vmm_proto::authority::Denied) -> Error {
    Error::new(ErrorCode::Permission, denied)
}

fn expired() -> Error {
    let message = "a certificate of this chain has expired; ask its issuer for a new one";
    Error::new(ErrorCode::Chain, message)
}

/// Waits until after `not_after` (Unix seconds). The clock may be set meanwhile, so it is looked at
/// now and then.
async fn until(not_after: i64) {
    const LOOK: u64 = 3600;
    loop {
        let left = not_after.saturating_sub(clock::unix_s()).saturating_add(1);
        match u64::try_from(left) {
            Ok(left) if left > 0 => tokio::time::sleep(Duration::from_secs(left.min(LOOK))).await,
            _ => return,
        }
    }
}
