//! One at a time: the lock on the file (flock), which ends with whoever holds it.

use std::fs::{File, TryLockError};
use std::ops::Deref;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Error;

/// How often to try. A lock that is waited for without end is there (flock), one with an end is not.
const PAUSE: Duration = Duration::from_millis(50);

/// An open file, whose lock ends when this is dropped, if it has one.
#[derive(Debug)]
pub(super) struct Lockable(pub(super) File);

impl Deref for Lockable {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Lockable {
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
    file: &File,
    path: &Path,
    patience: Duration,
    waiting: impl FnOnce(),
) -> Result<(), Error> {
    if try_lock(file, path)? {
        return Ok(());
    }
    waiting();
    let begin = Instant::now();
    while begin.elapsed() < patience {
        sleep(PAUSE);
        if try_lock(file, path)? {
            return Ok(());
        }
    }
    Err(Error::InUse { file: path.to_owned(), seconds: patience.as_secs() })
}

fn try_lock(file: &File, path: &Path) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
    }
}
