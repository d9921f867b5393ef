//! One at a time: the lock on the file (flock), which ends with whoever holds it.

use std::fs::{File, TryLockError};
use std::ops::Deref;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Error;

/// How often to try. A lock that is waited for without end is there (flock), one with an end is not.
const PAUSE: Duration = Duration::from_millis(50);

/// A file whose lock this process has, until it is dropped.
#[derive(Debug)]
pub(super) struct Locked(File);

impl Locked {
    /// Locks the file if nobody has the lock; otherwise gives the file back.
    pub(super) fn exclusively(file: File) -> Result<Self, (File, TryLockError)> {
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(error) => Err((file, error)),
        }
    }

    /// The same beside others who only read.
    pub(super) fn with_readers(file: File) -> Result<Self, (File, TryLockError)> {
        match file.try_lock_shared() {
            Ok(()) => Ok(Self(file)),
            Err(error) => Err((file, error)),
        }
    }
}

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Locked {
    /// Closing is not enough: a child that another thread has just forked has the file open, too, until
    /// it executes its program, and the lock with it. Taken off, it is off for the child as well.
    fn drop(&mut self) {
        // What cannot be unlocked is unlocked when the last descriptor is closed.
        let _ = self.0.unlock();
    }
}

/// Locks the file, or gives up when `patience` is at its end. `waiting` is called once, when someone
/// else has the lock.
pub(super) fn lock(
    mut file: File,
    path: &Path,
    patience: Duration,
    waiting: impl FnOnce(),
) -> Result<Locked, Error> {
    let begin = Instant::now();
    let mut waiting = Some(waiting);
    loop {
        file = match Locked::exclusively(file) {
            Ok(locked) => return Ok(locked),
            Err((file, TryLockError::WouldBlock)) => file,
            Err((_, TryLockError::Error(error))) => return Err(Error::io("lock", path)(error)),
        };
        if let Some(waiting) = waiting.take() {
            waiting();
        }
        if begin.elapsed() >= patience {
            return Err(Error::InUse { file: path.to_owned(), seconds: patience.as_secs() });
        }
        sleep(PAUSE);
    }
}
