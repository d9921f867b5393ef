//! Telling whoever started the tender when its machine starts, or why it does not.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::Error;
use crate::console::write_all;
use crate::descriptors::DescriptorNumber;

/// The write end of the pipe that `--status` names, if it does. It gets `ready` just before the
/// first guest instruction, or the text of the error that came before.
pub(crate) struct StatusPipe(Option<OwnedFd>);

impl StatusPipe {
    /// Nobody is told.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    pub(crate) fn take(number: Option<DescriptorNumber>) -> Result<Self, Error> {
        number.map(DescriptorNumber::take).transpose().map(Self)
    }

    /// What a filter must let through until [`StatusPipe::ready`] has been called.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// Says `ready` and closes the pipe.
    ///
    /// # Errors
    /// Nobody can read it: then the machine shall not run unnoticed.
    pub(crate) fn ready(&mut self) -> Result<(), Error> {
        match self.0.take() {
            Some(pipe) => write_all(pipe.as_fd(), b"ready\n").map_err(Error::Status),
            None => Ok(()),
        }
    }

    /// Says why the machine does not start, and closes the pipe.
    pub(crate) fn failed(&mut self, error: &Error) {
        if let Some(pipe) = self.0.take() {
            // The same text goes to standard error; if nobody reads the pipe, that is left.
            let _ = write_all(pipe.as_fd(), format!("{error}\n").as_bytes());
        }
    }
}
