//! Connections: one for writing, one for each reader.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use vmm_proto::message::log::{FromLog, Place, ToLog};
use vmm_service::connection::{Reader, Writer, greet};
use vmm_service::notify;
use vmm_service::run::allow_descriptors;
use vmm_service::socket::Listener;

use crate::files::Files;
use crate::reading::{Chunk, Cursor, Filter, ReadError};
use crate::store::{Durable, Store};
use crate::writer::{self, Answer, Append, WAITING};

/// The most connections at a time.
const CONNECTIONS: usize = 1024;

/// How long the end of the process waits for what is just being written.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// What each connection needs.
#[derive(Debug, Clone)]
struct Log {
    files: Arc<Files>,
    durable: watch::Receiver<Durable>,
    appends: mpsc::Sender<Append>,
}

type In = Reader<OwnedReadHalf, ToLog>;
type Out = Writer<OwnedWriteHalf, FromLog>;

/// Serves every connection until `asked_to_end`, and then finishes what is just being written.
///
/// # Errors
/// When accepting fails for good, or what writes is broken.
pub async fn serve(
    listener: &Listener,
    store: Store,
    asked_to_end: impl Future<Output = std::io::Result<()>>,
) -> anyhow::Result<()> {
    // Each reader takes two descriptors.
    allow_descriptors();
    let (appends, requests) = mpsc::channel(WAITING);
    let (durable_sender, durable) = watch::channel(store.durable());
    let log = Log { files: store.files(), durable, appends };
    let (stop, stopped) = oneshot::channel();
    let mut writer = tokio::spawn(writer::write(store, requests, durable_sender, stopped));
    notify::ready("keeping the log");
    tokio::select! {
        biased;
        asked = asked_to_end => asked?,
        broken = &mut writer => {
            broken??;
            bail!("what writes the log has ended");
        }
        served = listener.serve(CONNECTIONS, |stream| connection(stream, log.clone())) => {
            return served;
        }
        never = notify::watchdog(|| writes(&log)) => match never {},
    }
    drop(stop);
    timeout(LAST_WRITE, writer).await.context("the disk did not answer in time")??
}

/// Comes to its end when what waits before it is written: when the disk answers.
async fn writes(log: &Log) {
    let (answers, mut answered) = mpsc::unbounded_channel();
    // What writes is waited for by `serve`: when it ends, so does the process.
    let _ended = log.appends.send(Append { events: Vec::new(), request: 0, answers }).await;
    answered.recv().await;
}

async fn connection(stream: UnixStream, log: Log) -> anyhow::Result<()> {
    let (mut reader, mut writer) = greet::<ToLog, FromLog>(stream, "vmm-log").await?;
    let (answers, mut answered) = mpsc::unbounded_channel();
    // How many requests were passed on and not answered: what bounds the channel above.
    let mut open = 0;
    loop {
        tokio::select! {
            message = reader.next(), if open < WAITING => match message? {
                None => return Ok(()),
                Some((request, ToLog::Append(events))) => {
                    let append = Append { events, request, answers: answers.clone() };
                    log.appends.send(append).await.context("the log is closing")?;
                    open += 1;
                }
                Some((request, ToLog::Read { path, machine, since_ms, after, follow })) => {
                    ensure!(open == 0, "a request to read among those to write");
                    let filter = Filter { path, machine, since_ms };
                    let mut reading =
                        Reading { log: &log, request, reader: &mut reader, writer: &mut writer };
                    if !reading.run(filter, after, follow).await? {
                        return Ok(());
                    }
                }
                // The reading has come to its end meanwhile.
                Some((_, ToLog::Where)) => {}
            },
            Some(answer) = answered.recv() => {
                open -= 1;
                answer_to(answer, &mut writer)?;
                while let Ok(answer) = answered.try_recv() {
                    open -= 1;
                    answer_to(answer, &mut writer)?;
                }
                writer.flush().await?;
            }
        }
    }
}

fn answer_to(answer: Answer, writer: &mut Out) -> anyhow::Result<()> {
    match answer.result {
        Err(error) => writer.push(answer.request, &FromLog::Failed(error.to_string()))?,
        Ok(acknowledged) => {
            for (source, sequence) in acknowledged {
                writer.push(answer.request, &FromLog::Durable { source, sequence })?;
            }
        }
    }
    Ok(())
}

/// One request to read.
struct Reading<'a> {
    log: &'a Log,
    request: u32,
    reader: &'a mut In,
    writer: &'a mut Out,
}

impl Reading<'_> {
    /// Sends what is wanted; returns whether the peer is still there.
    async fn run(
        &mut self,
        filter: Filter,
        after: Option<Place>,
        follow: bool,
    ) -> anyhow::Result<bool> {
        let mut durable = self.log.durable.clone();
        let files = Arc::clone(&self.log.files);
        let cursor = match after {
            None => Cursor::new(files, filter).map_err(ReadError::from),
            Some(place) => Cursor::after(files, filter, place, *durable.borrow()),
        };
        let mut cursor = match cursor {
            Ok(cursor) => cursor,
            Err(error) => return self.fail(error).await,
        };
        self.say_where(&cursor).await?;
        loop {
            let until = *durable.borrow_and_update();
            let result;
            // Disks may be slow, and others are served on this thread.
            (cursor, result) = tokio::task::spawn_blocking(move || {
                let result = cursor.read(until);
                (cursor, result)
            })
            .await?;
            let chunk = match result {
                Ok(chunk) => chunk,
                Err(error) => return self.fail(error).await,
            };
            let last = chunk.last;
            self.send(chunk).await?;
            if last && !follow {
                self.writer.send(self.request, &FromLog::End).await?;
                return Ok(true);
            }
            tokio::select! {
                biased;
                message = self.reader.next() => match message? {
                    None => return Ok(false),
                    Some((_, ToLog::Where)) => self.say_where(&cursor).await?,
                    Some(_) => bail!("a request before the answer to the one before"),
                },
                changed = durable.changed(), if last => changed.context("the log is closing")?,
                () = std::future::ready(()), if !last => {}
            }
        }
    }

    async fn say_where(&mut self, cursor: &Cursor) -> anyhow::Result<()> {
        Ok(self.writer.send(self.request, &FromLog::At(cursor.place())).await?)
    }

    async fn fail(&mut self, error: ReadError) -> anyhow::Result<bool> {
        self.writer.send(self.request, &FromLog::Failed(error.to_string())).await?;
        Err(error.into())
    }

    async fn send(&mut self, chunk: Chunk) -> anyhow::Result<()> {
        for (line, end) in chunk.lines {
            self.writer.push(self.request, &FromLog::Line { line, end })?;
        }
        Ok(self.writer.flush().await?)
    }
}
