//! Reading the event log, for whoever asks for it. Who follows it goes on over restarts of `vmm-log`,
//! by the place after the last record: each is given once, in order.

use std::path::{Path, PathBuf};

use vmm_proto::message::client::Error;
use vmm_proto::message::log::{FromLog, Place, ToLog};

use crate::links::stream::{Absence, Stream};
use crate::links::unavailable;

const DAEMON: &str = "vmm-log";

/// Which records are wanted: see [`ToLog::Read`].
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) path: String,
    pub(crate) machine: Option<String>,
    pub(crate) since_ms: Option<u64>,
    pub(crate) follow: bool,
}

/// A reader of the log.
pub(crate) struct LogReader {
    socket: PathBuf,
    wanted: Wanted,
    /// After what was given; `None` until `vmm-log` has said where it begins.
    place: Option<Place>,
    /// `None` while there is no connection.
    link: Option<Stream<FromLog, ToLog>>,
    absence: Absence,
}

impl LogReader {
    /// Begins to read.
    ///
    /// # Errors
    /// When `vmm-log` cannot be reached.
    pub(crate) async fn open(socket: &Path, wanted: Wanted) -> Result<Self, Error> {
        let mut reader = Self {
            socket: socket.to_owned(),
            wanted,
            place: None,
            link: None,
            absence: Absence::default(),
        };
        reader.connect().await?;
        Ok(reader)
    }

    async fn connect(&mut self) -> Result<(), Error> {
        let mut link = Stream::open(&self.socket, DAEMON).await?;
        let Wanted { path, machine, since_ms, follow } = self.wanted.clone();
        link.say(&ToLog::Read { path, machine, since_ms, after: self.place, follow }).await?;
        self.link = Some(link);
        Ok(())
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// When `vmm-log` cannot read; when it has gone, if nobody follows or that is so for long.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Error> {
        loop {
            let heard = match &mut self.link {
                Some(link) => link.next(&ToLog::Where).await,
                None => match self.connect().await {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
            };
            match heard {
                Ok(FromLog::At(place)) => {
                    self.absence.ends();
                    self.place = Some(place);
                }
                Ok(FromLog::Line { line, end }) => {
                    self.place = Some(end);
                    return Ok(Some(line));
                }
                Ok(FromLog::End) => return Ok(None),
                Ok(FromLog::Failed(why)) => return Err(unavailable(DAEMON, &why)),
                Ok(FromLog::Durable { .. }) => {
                    return Err(unavailable(DAEMON, &"it answered something else"));
                }
                Err(error) if self.wanted.follow && self.place.is_some() => {
                    self.link = None;
                    self.absence.goes_on(error).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
