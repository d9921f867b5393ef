//! One reader of one console.

use std::sync::Arc;

use anyhow::bail;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use vmm_proto::message::console::{FromConsole, ToConsole};
use vmm_proto::message::{ConsoleStart, Output};
use vmm_service::connection::{Reader, Writer, greet};
use vmm_service::socket::Backoff;

use crate::consoles::{Console, Consoles};
use crate::ring::{Piece, Ring, RingError};

/// Bytes that are read and sent at a time: half of what a message may carry. All memory of a reader
/// is a few times this.
const PIECE: u64 = 32 << 10;

/// Serves one connection: an attachment, from its request to its end.
///
/// # Errors
/// When the peer breaks the protocol or does not read for 30 seconds, or the console cannot be read.
pub async fn serve(stream: UnixStream, consoles: &Consoles) -> anyhow::Result<()> {
    let (mut reader, mut writer) = greet::<ToConsole, FromConsole>(stream, "vmm-console").await?;
    let (request, machine, start, follow) = match reader.next().await? {
        None => return Ok(()),
        Some((request, ToConsole::Attach { machine, start, follow })) => {
            (request, machine, start, follow)
        }
        Some((_, ToConsole::EndAt { .. } | ToConsole::Where)) => {
            bail!("it says something before it attaches")
        }
    };
    let Some(mut console) = consoles.find(machine).await else {
        return Ok(writer.send(request, &FromConsole::Unknown).await?);
    };
    let (position, written) = begin(&mut console, start).await?;
    let end = if follow { u64::MAX } else { written };
    let ring = Arc::clone(&console.borrow().ring);
    Attachment { console, ring, reader, writer, request, position, end }.run().await
}

/// Where an attachment begins, and how much was written then.
async fn begin(
    console: &mut watch::Receiver<Console>,
    start: ConsoleStart,
) -> Result<(u64, u64), RingError> {
    retry_torn(|| {
        let console = console.borrow_and_update();
        let (ring, written) = (&console.ring, console.written);
        let position = match start {
            ConsoleStart::Position(position) => position,
            ConsoleStart::Lines(count) => ring.last_lines(written, count)?,
            ConsoleStart::Since(time_ms) => match console.history.position_at(time_ms) {
                None => written,
                // What of a line was read before that time makes it an older line, unless it goes on
                // and no other has begun.
                Some(position) => {
                    let position = position.max(ring.oldest()?);
                    ring.next_line(position, written)?.unwrap_or(position)
                }
            },
        };
        Ok((position, written))
    })
    .await
}

/// Looks again for as long as the writer of a ring stands still in the middle of storing a counter.
async fn retry_torn<T>(mut look: impl FnMut() -> Result<T, RingError>) -> Result<T, RingError> {
    let mut backoff = Backoff::default();
    loop {
        match look() {
            Err(RingError::Torn) => backoff.wait().await,
            result => return result,
        }
    }
}

struct Attachment {
    console: watch::Receiver<Console>,
    ring: Arc<Ring>,
    reader: Reader<OwnedReadHalf, ToConsole>,
    writer: Writer<OwnedWriteHalf, FromConsole>,
    request: u32,
    /// What comes next.
    position: u64,
    /// Where it ends.
    end: u64,
}

impl Attachment {
    async fn run(mut self) -> anyhow::Result<()> {
        self.say_where().await?;
        loop {
            let written = self.look();
            self.send_until(written.min(self.end)).await?;
            if self.position >= self.end {
                return Ok(self.writer.send(self.request, &FromConsole::End).await?);
            }
            tokio::select! {
                // First, so that who writes without pause cannot keep the reader from being heard.
                biased;
                message = self.reader.next() => match message? {
                    None => return Ok(()),
                    Some((_, ToConsole::EndAt { position })) => self.end = position,
                    Some((_, ToConsole::Where)) => self.say_where().await?,
                    Some((_, ToConsole::Attach { .. })) => bail!("a second attachment"),
                },
                changed = self.console.changed() => if changed.is_err() {
                    // The machine is forgotten: nothing comes after what there is.
                    self.end = self.end.min(self.look());
                },
            }
        }
    }

    async fn say_where(&mut self) -> anyhow::Result<()> {
        let at = FromConsole::At { position: self.position };
        Ok(self.writer.send(self.request, &at).await?)
    }

    /// How much was written. Where another ring has taken the place of the one read so far and is not
    /// that far yet, reading begins anew with it.
    fn look(&mut self) -> u64 {
        let console = self.console.borrow_and_update();
        if !Arc::ptr_eq(&self.ring, &console.ring) {
            self.ring = Arc::clone(&console.ring);
            if console.written < self.position {
                self.position = 0;
            }
        }
        console.written
    }

    /// Sends everything up to `goal`.
    async fn send_until(&mut self, goal: u64) -> anyhow::Result<()> {
        while self.position < goal {
            let piece = retry_torn(|| self.ring.read(self.position, goal, PIECE)).await?;
            self.push(piece)?;
            if self.writer.waiting() >= usize::try_from(PIECE)? {
                self.writer.flush().await?;
            }
        }
        if self.writer.waiting() > 0 {
            self.writer.flush().await?;
        }
        Ok(())
    }

    /// Adds a piece to what is sent next: the gap before it, then its bytes, cut where they were read
    /// at different times.
    fn push(&mut self, piece: Piece) -> anyhow::Result<()> {
        let Piece { position, mut data } = piece;
        if position > self.position {
            let gap = Output::Gap { position: self.position, bytes: position - self.position };
            self.writer.push(self.request, &FromConsole::Output(gap))?;
            self.position = position;
        }
        while !data.is_empty() {
            let position = self.position;
            let (time_ms, until) = self.console.borrow().history.time_at(position);
            let of_that_time = usize::try_from(until - position).unwrap_or(usize::MAX);
            let rest = data.split_off(of_that_time.min(data.len()));
            self.position += u64::try_from(data.len())?;
            let bytes = Output::Bytes { position, time_ms, data };
            self.writer.push(self.request, &FromConsole::Output(bytes))?;
            data = rest;
        }
        Ok(())
    }
}
