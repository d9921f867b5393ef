//! What a daemon sends for as long as somebody reads it, and its absence.
//!
//! A daemon that is stopped is treated like one that is dead: whoever hears nothing asks, and when no
//! answer comes either, the connection is of no use. [`Absence`] then says whether to try again: for
//! a minute, so that a daemon may be replaced without those who read noticing more than a pause.

use std::path::Path;
use std::time::Duration;

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout};
use vmm_proto::message::client::Error;
use vmm_proto::message::wire::{FromWire, ToWire};
use vmm_service::connection::{Reader, Writer};
use vmm_service::socket::Backoff;

use super::{PATIENCE, connect, silent, unavailable};

/// How long a daemon that went away in the middle of a stream is waited for.
pub(crate) const ABSENCE: Duration = Duration::from_mins(1);

/// A stream of one daemon.
pub(crate) struct Stream<In, Out> {
    daemon: &'static str,
    reader: Reader<OwnedReadHalf, In>,
    /// `None` when a message was given up in the middle: nothing can be said after that.
    writer: Option<Writer<OwnedWriteHalf, Out>>,
    /// Whether an answer is waited for.
    asked: bool,
}

impl<In: FromWire, Out: ToWire> Stream<In, Out> {
    /// Connects.
    ///
    /// # Errors
    /// When the daemon cannot be reached.
    pub(crate) async fn open(socket: &Path, daemon: &'static str) -> Result<Self, Error> {
        let (reader, writer) =
            connect(socket).await.map_err(|error| unavailable(daemon, &error))?;
        Ok(Self { daemon, reader, writer: Some(writer), asked: false })
    }

    /// Says something.
    ///
    /// # Errors
    /// When the daemon has gone, or does not read.
    pub(crate) async fn say(&mut self, message: &Out) -> Result<(), Error> {
        let gone = |error: &dyn std::fmt::Display| unavailable(self.daemon, error);
        let mut writer = self.writer.take().ok_or_else(|| gone(&"a message was given up"))?;
        timeout(PATIENCE, writer.send(0, message))
            .await
            .map_err(|_| silent(self.daemon))?
            .map_err(|error| gone(&error))?;
        self.writer = Some(writer);
        Ok(())
    }

    /// The next message. When nothing comes for a while, the daemon is asked with `ask`, to which
    /// there has to be some answer. Waiting may be given up and taken up again.
    ///
    /// # Errors
    /// When the daemon has gone, or does not answer; the stream is of no use then.
    pub(crate) async fn next(&mut self, ask: &Out) -> Result<In, Error> {
        loop {
            match timeout(PATIENCE, self.reader.next()).await {
                Ok(Ok(Some((_, message)))) => {
                    self.asked = false;
                    return Ok(message);
                }
                Ok(Ok(None)) => return Err(unavailable(self.daemon, &"it closed the connection")),
                Ok(Err(error)) => return Err(unavailable(self.daemon, &error)),
                Err(_) if self.asked => return Err(silent(self.daemon)),
                Err(_) => {
                    self.say(ask).await?;
                    self.asked = true;
                }
            }
        }
    }
}

/// How long a daemon has been away.
#[derive(Debug, Default)]
pub(crate) struct Absence {
    since: Option<Instant>,
    backoff: Backoff,
}

impl Absence {
    /// It was heard.
    pub(crate) fn ends(&mut self) {
        if self.since.is_some() {
            *self = Self::default();
        }
    }

    /// It cannot be used, for this reason; comes to an end when it is time to try again.
    ///
    /// # Errors
    /// The reason, when it has been away for too long.
    pub(crate) async fn goes_on(&mut self, reason: Error) -> Result<(), Error> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= ABSENCE {
            let message =
                format!("{}; it was waited for {} seconds", reason.message, ABSENCE.as_secs());
            return Err(Error::new(reason.code, message));
        }
        tracing::debug!("waiting: {}", reason.message);
        self.backoff.wait().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use vmm_proto::message::client::ErrorCode;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_absence_is_borne_for_a_minute_and_begins_anew_after_each_word() {
        let mut absence = Absence::default();
        let reason = || Error::new(ErrorCode::Unavailable, "gone");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(50) {
            absence.goes_on(reason()).await.unwrap();
        }
        absence.ends();
        let begun = Instant::now();
        let error = loop {
            match absence.goes_on(reason()).await {
                Ok(()) => assert!(begun.elapsed() < Duration::from_secs(62)),
                Err(error) => break error,
            }
        };
        assert!(begun.elapsed() >= ABSENCE);
        assert_eq!(error.code, ErrorCode::Unavailable);
        assert!(error.message.contains("waited for 60 seconds"), "{}", error.message);
    }
}
