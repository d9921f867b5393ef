//! The event log: what happened is kept here until `vmm-log` has it on disk.
//!
//! [`reading`]: what is on disk, for those who ask.

pub(crate) mod reading;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::unix::OwnedReadHalf;
use tokio::sync::Notify;
use vmm_proto::message::client::{Error, ErrorCode};
use vmm_proto::message::log::{Event, FromLog, ToLog};
use vmm_service::connection::{ConnectionError, Reader};
use vmm_service::socket::Backoff;

use crate::clock;

/// Bytes of events that wait for `vmm-log`. Past that, requests that change something are refused,
/// and only what happens by itself is still recorded.
const LIMIT: usize = 64 << 20;

/// Bytes of events in one message.
const BATCH: usize = 64 << 10;

/// How long `vmm-log` may take to get a message to disk.
const DURABLE: Duration = Duration::from_secs(10);

/// Refusals of strangers and of tenants that are recorded one by one each second; more are summed.
const REFUSALS: u32 = 20;

/// Something to record: an event without its number and time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    pub(crate) kind: &'static str,
    pub(crate) path: String,
    pub(crate) machine: Option<String>,
    pub(crate) fields: Vec<(String, String)>,
}

impl Entry {
    /// An entry about a path.
    pub(crate) fn of(kind: &'static str, path: impl std::fmt::Display) -> Self {
        Self { kind, path: path.to_string(), ..Self::default() }
    }

    /// With one more field.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.fields.push((name.to_owned(), cut(value.to_string())));
        self
    }

    /// Its fields as one text.
    fn shown(&self) -> String {
        let fields = self.fields.iter().map(|(name, value)| format!("{name}={value}"));
        fields.collect::<Vec<_>>().join(" ")
    }

    /// About a machine.
    #[must_use]
    pub(crate) fn about(mut self, machine: impl std::fmt::Display) -> Self {
        self.machine = Some(machine.to_string());
        self
    }
}

/// At most so many bytes of a value: an event must fit a message whatever a program said.
const VALUE: usize = 2048;

/// A text without what is too long of it.
fn cut(mut text: String) -> String {
    if text.len() > VALUE {
        text.truncate(text.floor_char_boundary(VALUE));
        text.push('…');
    }
    text
}

/// Takes entries from everyone.
#[derive(Debug, Clone)]
pub(crate) struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Mutex<Queue>,
    more: Notify,
    /// Word that some are on disk.
    fewer: Notify,
}

#[derive(Debug)]
struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    source: [u8; 16],
    sequence: u64,
    refusals: Refusals,
}

/// How many refusals this second has had.
#[derive(Debug)]
struct Refusals {
    since: Instant,
    recorded: u32,
    summed: u64,
}

fn size(event: &Event) -> usize {
    let fields = event.fields.iter().map(|(name, value)| name.len() + value.len() + 16);
    let machine = event.machine.as_ref().map_or(0, String::len);
    128 + event.kind.len() + event.path.len() + machine + fields.sum::<usize>()
}

impl Queue {
    fn push(&mut self, entry: Entry) {
        self.sequence += 1;
        let event = Event {
            source: self.source,
            sequence: self.sequence,
            time_ms: clock::unix_ms(),
            kind: entry.kind.to_owned(),
            path: entry.path,
            machine: entry.machine,
            fields: entry.fields,
        };
        self.bytes += size(&event);
        self.events.push_back(event);
    }

    /// Whether this second has room for one more refusal; a new second begins with the sum of
    /// what the last one had no room for.
    fn refusal_fits(&mut self) -> bool {
        if self.refusals.since.elapsed() >= Duration::from_secs(1) {
            let summed = std::mem::take(&mut self.refusals.summed);
            self.refusals = Refusals { since: Instant::now(), recorded: 0, summed: 0 };
            if summed > 0 {
                self.push(Entry::of("refused-more", "").with("count", summed));
            }
        }
        if self.refusals.recorded >= REFUSALS || self.bytes > LIMIT {
            self.refusals.summed += 1;
            return false;
        }
        self.refusals.recorded += 1;
        true
    }
}

impl Recorder {
    /// An empty log of a new run.
    pub(crate) fn new() -> Self {
        let refusals = Refusals { since: Instant::now(), recorded: 0, summed: 0 };
        let source = uuid::Uuid::new_v4().into_bytes();
        let queue = Queue { events: VecDeque::new(), bytes: 0, source, sequence: 0, refusals };
        Self(Arc::new(Inner {
            queue: Mutex::new(queue),
            more: Notify::new(),
            fewer: Notify::new(),
        }))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records something. A refusal may be summed with others.
    pub(crate) fn record(&self, entry: Entry) {
        let mut queue = self.queue();
        if entry.kind == "refused" && !queue.refusal_fits() {
            return;
        }
        tracing::info!(
            kind = entry.kind,
            path = entry.path,
            machine = entry.machine,
            fields = entry.shown(),
        );
        queue.push(entry);
        drop(queue);
        self.0.more.notify_one();
    }

    /// Whether there is room for what a request would do.
    ///
    /// # Errors
    /// When too much waits for `vmm-log`.
    pub(crate) fn check_room(&self) -> Result<(), Error> {
        if self.queue().bytes <= LIMIT {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::Unavailable,
            "nothing is changed while 64 MiB of events wait for vmm-log; the host's admin has to \
             see to it",
        ))
    }

    /// The oldest events that wait, as many as one message holds.
    async fn batch(&self) -> Vec<Event> {
        loop {
            let more = self.0.more.notified();
            {
                let queue = self.queue();
                let mut bytes = 0;
                let batch: Vec<_> = queue
                    .events
                    .iter()
                    .take_while(|event| {
                        bytes += size(event);
                        bytes <= BATCH || bytes == size(event)
                    })
                    .cloned()
                    .collect();
                if !batch.is_empty() {
                    return batch;
                }
            }
            more.await;
        }
    }

    fn durable(&self, sequence: u64) {
        let mut queue = self.queue();
        while queue.events.front().is_some_and(|event| event.sequence <= sequence) {
            if let Some(event) = queue.events.pop_front() {
                queue.bytes -= size(&event);
            }
        }
        drop(queue);
        self.0.fewer.notify_waiters();
    }

    /// Waits until everything recorded so far is on disk.
    pub(crate) async fn flushed(&self) {
        let Some(last) = self.queue().events.back().map(|event| event.sequence) else { return };
        loop {
            let mut fewer = pin!(self.0.fewer.notified());
            // From here on no word is missed.
            fewer.as_mut().enable();
            if self.queue().events.front().is_none_or(|event| event.sequence > last) {
                return;
            }
            fewer.await;
        }
    }
}

/// Keeps `vmm-log` told, for ever.
pub(crate) async fn run(socket: PathBuf, recorder: Recorder) {
    let mut backoff = Backoff::default();
    loop {
        let batch = recorder.batch().await;
        match serve(&socket, &recorder, batch, &mut backoff).await {
            Ok(()) => {}
            Err(error) => tracing::debug!("vmm-log: {error}"),
        }
        backoff.wait().await;
    }
}

async fn serve(
    socket: &Path,
    recorder: &Recorder,
    mut batch: Vec<Event>,
    backoff: &mut Backoff,
) -> Result<(), ConnectionError> {
    let (mut reader, mut writer) = super::connect::<FromLog, ToLog>(socket).await?;
    loop {
        let Some(last) = batch.last().map(|event| (event.source, event.sequence)) else {
            return Ok(());
        };
        writer.send(0, &ToLog::Append(batch)).await?;
        let all = durable(&mut reader, last);
        tokio::time::timeout(DURABLE, all).await.map_err(|_| ConnectionError::Stalled)??;
        recorder.durable(last.1);
        *backoff = Backoff::default();
        batch = recorder.batch().await;
    }
}

/// Waits until everything up to `last` is on disk.
async fn durable(
    reader: &mut Reader<OwnedReadHalf, FromLog>,
    last: ([u8; 16], u64),
) -> Result<(), ConnectionError> {
    loop {
        match reader.next().await? {
            Some((_, FromLog::Durable { source, sequence })) => {
                if source == last.0 && sequence >= last.1 {
                    return Ok(());
                }
            }
            Some((_, FromLog::Failed(why))) => {
                tracing::error!("vmm-log cannot write: {why}");
                return Err(ConnectionError::Cut);
            }
            Some(_) => {}
            None => return Err(ConnectionError::Cut),
        }
    }
}
