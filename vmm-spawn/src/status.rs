//! The status of a start: what a tender says before its guest runs.
//!
//! It writes `ready` and a line feed just before the first instruction of the guest, or a line of
//! text if it cannot start one. It writes into a file, so that what it has said is still there for
//! another `vmm-spawn`; and it has that open only until its guest runs.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{fstat, inotify};
use rustix::io::{Errno, pread};

/// What a tender says when its guest is about to run.
const READY: &[u8] = b"ready\n";

/// Bytes of a tender's error text that are passed on.
const TEXT_MAX: usize = 1024;

/// Bytes that a tender may say: one that says more is not what it should be, and would fill memory.
const SAID_MAX: u64 = 64 << 10;

/// Changes that are looked at in one turn of the loop.
const CHANGES_PER_TURN: usize = 256;

/// How far a start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is known yet.
    Pending,
    /// The guest runs.
    Ready,
    /// The tender has said too much to be trusted.
    TooMuch,
}

/// The status file of a start.
#[derive(Debug)]
pub struct Status {
    file: OwnedFd,
    /// Its number at the watcher.
    watch: Option<i32>,
}

impl Status {
    /// The status in this file.
    pub fn new(file: OwnedFd) -> Self {
        Self { file, watch: None }
    }

    /// How far it says that the start has come.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn progress(&self) -> Result<Progress, Errno> {
        let size = u64::try_from(fstat(&self.file)?.st_size).unwrap_or(u64::MAX);
        if size > SAID_MAX {
            return Ok(Progress::TooMuch);
        }
        let ready = self.beginning()?.starts_with(READY);
        Ok(if ready { Progress::Ready } else { Progress::Pending })
    }

    /// What the tender said, if anything: one line, safe to show.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn text(&self) -> Result<Option<String>, Errno> {
        let text = self.beginning()?;
        let text = String::from_utf8_lossy(&text);
        let line = text.trim().lines().map(str::trim).collect::<Vec<_>>().join("; ");
        let shown: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        Ok((!shown.is_empty()).then_some(shown))
    }

    fn beginning(&self) -> Result<Vec<u8>, Errno> {
        let mut text = vec![0; TEXT_MAX];
        let length = pread(&self.file, &mut text, 0)?;
        text.truncate(length);
        Ok(text)
    }
}

/// Notices that tenders have said something.
#[derive(Debug)]
pub struct Watcher {
    inotify: OwnedFd,
    /// Whose status has which number here.
    numbers: HashMap<i32, u64>,
}

impl Watcher {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// No descriptors, or the user's limit of instances.
    pub fn new() -> Result<Self, Errno> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Ok(Self { inotify: inotify::init(flags)?, numbers: HashMap::new() })
    }

    /// Watches the status of a run. What was said before is not told: look after this.
    ///
    /// # Errors
    /// The user's limit of watches.
    pub fn watch(&mut self, status: &mut Status, number: u64) -> Result<(), Errno> {
        // The file itself, whatever its name is by now.
        let path = format!("/proc/self/fd/{}", status.file.as_raw_fd());
        let watch = inotify::add_watch(&self.inotify, path, inotify::WatchFlags::MODIFY)?;
        status.watch = Some(watch);
        self.numbers.insert(watch, number);
        Ok(())
    }

    /// Watches it no longer.
    pub fn forget(&mut self, status: &Status) {
        if let Some(watch) = status.watch
            && self.numbers.remove(&watch).is_some()
        {
            // A file that is gone is not watched any more in any case.
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
    }

    /// The runs whose status has changed since the last look; all if there were more changes than the
    /// kernel notes.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn changed(&mut self) -> Result<Vec<u64>, Errno> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut numbers = Vec::new();
        let mut seen = 0;
        // What is left in the buffer would be lost with it.
        while seen < CHANGES_PER_TURN || !reader.is_buffer_empty() {
            seen += 1;
            match reader.next() {
                Ok(event) if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => {
                    return Ok(self.numbers.values().copied().collect());
                }
                Ok(event) => numbers.extend(self.numbers.get(&event.wd())),
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(numbers)
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn said(pieces: &[&[u8]]) -> (Vec<Progress>, Option<String>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let status = Status::new(file.reopen().unwrap().into());
        let mut progress = Vec::new();
        for piece in pieces {
            file.write_all(piece).unwrap();
            progress.push(status.progress().unwrap());
        }
        (progress, status.text().unwrap())
    }

    #[test]
    fn ready_may_come_in_pieces_and_is_the_whole_word() {
        use Progress::{Pending, Ready};
        assert_eq!(said(&[b"rea", b"dy\n"]).0, [Pending, Ready]);
        assert_eq!(said(&[b"ready"]).0, [Pending]);
        assert_eq!(said(&[b"not ready\n"]).0, [Pending]);
    }

    #[test]
    fn error_text_becomes_one_line_without_control_characters() {
        let text = |bytes: &[u8]| said(&[bytes]).1;
        assert_eq!(text(b"bad image\n").unwrap(), "bad image");
        assert_eq!(text(b"two\r\n  lines\x1b[31m\n").unwrap(), "two; lines?[31m");
        assert_eq!(text(b" \n"), None);
        assert_eq!(text(&[b'x'; 4000]).unwrap().len(), TEXT_MAX);
    }

    #[test]
    fn one_that_says_too_much_is_noticed() {
        let much = vec![b'x'; 1 + usize::try_from(SAID_MAX).unwrap()];
        assert_eq!(said(&[&much]).0, [Progress::TooMuch]);
    }

    #[test]
    fn each_change_is_told_until_it_is_not_watched_any_more() {
        let mut watcher = Watcher::new().unwrap();
        let mut files: Vec<_> = (0..3).map(|_| tempfile::NamedTempFile::new().unwrap()).collect();
        let mut all: Vec<_> =
            files.iter().map(|file| Status::new(file.reopen().unwrap().into())).collect();
        for (number, status) in (0..).zip(&mut all) {
            watcher.watch(status, number).unwrap();
        }
        assert_eq!(watcher.changed(), Ok(vec![]));
        files[2].write_all(b"x").unwrap();
        files[0].write_all(b"x").unwrap();
        assert_eq!(watcher.changed(), Ok(vec![2, 0]));
        watcher.forget(&all[2]);
        files[2].write_all(b"x").unwrap();
        assert_eq!(watcher.changed(), Ok(vec![]));
    }
}
