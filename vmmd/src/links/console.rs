//! Reading consoles: a connection to `vmm-console` for each reader, so that nobody waits for the
//! slowest. It goes on over restarts of `vmm-console`, by position: nothing is given twice, and what is
//! missing is a gap.

use std::path::{Path, PathBuf};

use vmm_proto::id::MachineId;
use vmm_proto::message::client::{Error, ErrorCode};
use vmm_proto::message::console::{FromConsole, ToConsole};
use vmm_proto::message::{ConsoleStart, Output};

use super::stream::{Absence, Stream};
use super::unavailable;

type Link = Stream<FromConsole, ToConsole>;

/// A connection to `vmm-console` on which nothing was asked yet.
pub(crate) struct Connection {
    socket: PathBuf,
    link: Link,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When `vmm-console` cannot be reached.
    pub(crate) async fn open(socket: &Path) -> Result<Self, Error> {
        Ok(Self { socket: socket.to_owned(), link: Stream::open(socket, DAEMON).await? })
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
        let Self { socket, mut link } = self;
        link.say(&ToConsole::Attach { machine, start, follow }).await?;
        Ok(Attachment {
            socket,
            machine,
            follow,
            end: None,
            position: None,
            link: Some(link),
            absence: Absence::default(),
        })
    }
}

const DAEMON: &str = "vmm-console";

/// One attachment to a console.
pub(crate) struct Attachment {
    socket: PathBuf,
    machine: MachineId,
    /// Whether it goes on with what is written later, and over restarts of `vmm-console`.
    follow: bool,
    /// Where it ends, when that is known.
    end: Option<u64>,
    /// What comes next; `None` until `vmm-console` has said where it begins.
    position: Option<u64>,
    /// `None` while there is no connection.
    link: Option<Link>,
    absence: Absence,
}

/// What comes next of a console.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A piece of it.
    Output(Output),
    /// Nothing comes after what was given.
    End,
    /// `vmm-console` came back and does not know the machine: perhaps not yet, perhaps not any more.
    Unknown,
}

impl Attachment {
    /// The next piece. Waiting for it may be given up and taken up again.
    ///
    /// # Errors
    /// When `vmm-console` has gone, or has no such console; while it follows, only when that was so at
    /// its beginning or is so for long.
    pub(crate) async fn next(&mut self) -> Result<Piece, Error> {
        loop {
            let heard = match &mut self.link {
                Some(link) => link.next(&ToConsole::Where).await,
                None => match self.attach_again().await {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
            };
            match heard {
                Ok(FromConsole::At { position }) => {
                    self.absence.ends();
                    // The first says where it begins; any other, that vmm-console is there.
                    self.position.get_or_insert(position);
                }
                Ok(FromConsole::Output(output)) => {
                    self.position = Some(end_of(&output));
                    return Ok(Piece::Output(output));
                }
                Ok(FromConsole::End) => return Ok(Piece::End),
                Ok(FromConsole::Unknown) => {
                    let error = Error::new(ErrorCode::Unavailable, NO_CONSOLE);
                    self.lost(error).await?;
                    return Ok(Piece::Unknown);
                }
                Err(error) => self.lost(error).await?,
            }
        }
    }

    /// Ends the attachment after everything before `position`.
    pub(crate) async fn end_at(&mut self, position: u64) {
        self.end = Some(position);
        if let Some(link) = &mut self.link
            && let Err(error) = link.say(&ToConsole::EndAt { position }).await
        {
            // It is said again on the next connection.
            tracing::debug!("{}", error.message);
            self.link = None;
        }
    }

    /// What of it was not given and never will be, as `vmm-console` does not have it any more.
    pub(crate) fn missing(&self) -> Option<Output> {
        let (position, end) = (self.position?, self.end?);
        let bytes = end.checked_sub(position).filter(|bytes| *bytes > 0)?;
        Some(Output::Gap { position, bytes })
    }

    async fn attach_again(&mut self) -> Result<(), Error> {
        let Some(position) = self.position else {
            return Err(unavailable(DAEMON, &"it closed the connection"));
        };
        let mut link = Link::open(&self.socket, DAEMON).await?;
        let start = ConsoleStart::Position(position);
        link.say(&ToConsole::Attach { machine: self.machine, start, follow: true }).await?;
        if let Some(position) = self.end {
            link.say(&ToConsole::EndAt { position }).await?;
        }
        self.link = Some(link);
        Ok(())
    }

    /// Waits a little after the connection was lost.
    async fn lost(&mut self, error: Error) -> Result<(), Error> {
        self.link = None;
        if !self.follow || self.position.is_none() {
            return Err(error);
        }
        self.absence.goes_on(error).await
    }
}

const NO_CONSOLE: &str = "there is no console of this machine: vmm-console or vmm-spawn was not \
                          running when it was started";

/// The position after a piece.
fn end_of(output: &Output) -> u64 {
    let (position, bytes) = match output {
        Output::Bytes { position, data, .. } => {
            (*position, u64::try_from(data.len()).unwrap_or(u64::MAX))
        }
        Output::Gap { position, bytes } => (*position, *bytes),
    };
    position.saturating_add(bytes)
}
