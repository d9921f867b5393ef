//! Reading consoles: a connection to `vmm-console` for each reader, so that nobody waits for the
//! slowest.

use std::path::Path;

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use vmm_proto::id::MachineId;
use vmm_proto::message::ConsoleStart;
use vmm_proto::message::client::{Error, ErrorCode};
use vmm_proto::message::console::{FromConsole, ToConsole};
use vmm_service::connection::{Reader, Writer};

/// A connection to `vmm-console` on which nothing was asked yet.
pub(crate) struct Connection(Attachment);

/// One attachment to a console.
pub(crate) struct Attachment {
    reader: Reader<OwnedReadHalf, FromConsole>,
    writer: Writer<OwnedWriteHalf, ToConsole>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When `vmm-console` cannot be reached.
    pub(crate) async fn open(socket: &Path) -> Result<Self, Error> {
        let (reader, writer) = super::connect(socket).await.map_err(|error| lost(&error))?;
        Ok(Self(Attachment { reader, writer }))
    }

    /// Begins to read a machine's console.
    ///
    /// # Errors
    /// When `vmm-console` has gone.
    pub(crate) async fn attach(
        self,
        machine: MachineId,
        start: ConsoleStart,
        follow: bool,
    ) -> Result<Attachment, Error> {
        let Self(mut attachment) = self;
        let attach = ToConsole::Attach { machine, start, follow };
        attachment.writer.send(0, &attach).await.map_err(|error| lost(&error))?;
        Ok(attachment)
    }
}

fn lost(error: &dyn std::fmt::Display) -> Error {
    super::unavailable("vmm-console", error)
}

impl Attachment {
    /// The next piece. Waiting for it may be given up and taken up again.
    ///
    /// # Errors
    /// When `vmm-console` has gone, or has no such console.
    pub(crate) async fn next(&mut self) -> Result<FromConsole, Error> {
        match self.reader.next().await {
            Ok(Some((_, FromConsole::Unknown))) => Err(Error::new(
                ErrorCode::Unavailable,
                "there is no console of this machine: vmm-console or vmm-spawn was not running \
                 when it was started",
            )),
            Ok(Some((_, piece))) => Ok(piece),
            Ok(None) => Err(lost(&"it closed the connection")),
            Err(error) => Err(lost(&error)),
        }
    }

    /// Ends the attachment after everything before `position`.
    ///
    /// # Errors
    /// When `vmm-console` has gone.
    pub(crate) async fn end_at(&mut self, position: u64) -> Result<(), Error> {
        let end = ToConsole::EndAt { position };
        self.writer.send(0, &end).await.map_err(|error| lost(&error))
    }
}
