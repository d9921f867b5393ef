//! The status pipe: what a tender says before its guest runs.
//!
//! It writes `ready` and a line feed just before the first instruction of the guest, or a line of
//! text if it cannot start one, and closes the pipe.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, read};

/// What a tender says when its guest is about to run.
const READY: &[u8] = b"ready\n";

/// Bytes of a tender's error text that are passed on.
const TEXT_MAX: usize = 1024;

/// Bytes that are read at most in one turn: a tender that says more than it should does not keep
/// others waiting.
const TURN_MAX: usize = 4096;

/// How far a start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is known yet.
    Pending,
    /// The guest runs.
    Ready,
    /// The tender closed the pipe without having said so.
    Closed,
}

/// The read end of a status pipe.
#[derive(Debug)]
pub struct StatusPipe {
    pipe: OwnedFd,
    text: Vec<u8>,
}

impl StatusPipe {
    /// Reads from `pipe`, which must not block.
    pub fn new(pipe: OwnedFd) -> Self {
        Self { pipe, text: Vec::new() }
    }

    /// Reads what there is.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&mut self) -> Result<Progress, Errno> {
        let mut buffer = [0; TURN_MAX];
        match read(&self.pipe, &mut buffer) {
            Ok(0) => return Ok(Progress::Closed),
            Ok(count) => {
                let room = TEXT_MAX - self.text.len();
                self.text.extend_from_slice(&buffer[..count.min(room)]);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        Ok(if self.text.starts_with(READY) { Progress::Ready } else { Progress::Pending })
    }

    /// What the tender said, if anything: one line, safe to show.
    pub fn text(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.text);
        let line = text.trim().lines().map(str::trim).collect::<Vec<_>>().join("; ");
        let shown: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        (!shown.is_empty()).then_some(shown)
    }
}

impl AsFd for StatusPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::write;
    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    fn said(pieces: &[&[u8]]) -> (Vec<Progress>, Option<String>) {
        let (read_end, write_end) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let mut status = StatusPipe::new(read_end);
        let mut progress = Vec::new();
        for piece in pieces {
            write(&write_end, piece).unwrap();
            progress.push(status.read().unwrap());
        }
        drop(write_end);
        progress.push(status.read().unwrap());
        (progress, status.text())
    }

    #[test]
    fn ready_may_come_in_pieces_and_is_the_whole_word() {
        use Progress::{Closed, Pending, Ready};
        assert_eq!(said(&[b"rea", b"dy\n"]).0, [Pending, Ready, Closed]);
        assert_eq!(said(&[b"ready"]).0, [Pending, Closed]);
        assert_eq!(said(&[b"not ready\n"]).0, [Pending, Closed]);
    }

    #[test]
    fn error_text_becomes_one_line_without_control_characters() {
        let text = |bytes: &[u8]| said(&[bytes]).1;
        assert_eq!(text(b"bad image\n").unwrap(), "bad image");
        assert_eq!(text(b"two\r\n  lines\x1b[31m\n").unwrap(), "two; lines?[31m");
        assert_eq!(text(b" \n"), None);
        assert_eq!(text(&[b'x'; 4000]).unwrap().len(), TEXT_MAX);
    }
}
