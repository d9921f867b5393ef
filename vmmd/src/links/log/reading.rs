//! Reading the event log, for whoever asks for it.

use std::path::Path;

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use vmm_proto::message::client::Error;
use vmm_proto::message::log::{FromLog, ToLog};
use vmm_service::connection::{Reader, Writer};

use crate::links::{connect, unavailable};

/// A reader of the log. The writing half is kept: closing it would end the reading.
pub(crate) struct LogReader {
    reader: Reader<OwnedReadHalf, FromLog>,
    _writer: Writer<OwnedWriteHalf, ToLog>,
}

impl LogReader {
    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When `vmm-log` has gone or cannot read.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Error> {
        match self.reader.next().await {
            Ok(Some((_, FromLog::Line(line)))) => Ok(Some(line)),
            Ok(Some((_, FromLog::Failed(why)))) => Err(unavailable("vmm-log", &why)),
            Ok(Some((_, FromLog::End))) => Ok(None),
            Ok(Some((_, FromLog::Durable { .. }))) => {
                Err(unavailable("vmm-log", &"it answered something else"))
            }
            Ok(None) => Err(unavailable("vmm-log", &"it closed the connection")),
            Err(error) => Err(unavailable("vmm-log", &error)),
        }
    }
}

/// Begins to read the log.
///
/// # Errors
/// When `vmm-log` cannot be reached.
pub(crate) async fn read(socket: &Path, read: ToLog) -> Result<LogReader, Error> {
    let gone = |error: &dyn std::fmt::Display| unavailable("vmm-log", error);
    let (reader, mut writer) =
        connect::<FromLog, ToLog>(socket).await.map_err(|error| gone(&error))?;
    writer.send(0, &read).await.map_err(|error| gone(&error))?;
    Ok(LogReader { reader, _writer: writer })
}
