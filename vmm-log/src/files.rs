//! The files of a log: `events.jsonl`, which is written, and `events.jsonl.N`, which were.
//!
//! The file that is written has a number too: the one that it will get when it is full. So each file
//! has one number for ever, and whoever reads one knows the next.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const CURRENT: &str = "events.jsonl";

/// The next file, while it is being made.
const NEXT: &str = "events.jsonl.new";

/// The files of one log.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    /// The number of the file that is written. Held while names change, so that a name stands for
    /// the number it was looked up for.
    current: Mutex<u64>,
}

impl Files {
    /// The files in `dir`.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn new(dir: &Path) -> io::Result<Self> {
        let files = Self { dir: dir.to_owned(), current: Mutex::new(1) };
        let last = files.full()?.last().copied().unwrap_or(0);
        *files.lock() = last + 1;
        Ok(files)
    }

    /// The number of the file that is written.
    pub fn current(&self) -> u64 {
        *self.lock()
    }

    /// The numbers of the full files, ascending.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn full(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("events.jsonl."));
            // Only as they are written here: no sign, no leading zero.
            numbers.extend(number.and_then(|text| {
                text.parse::<u64>().ok().filter(|number| number.to_string() == text)
            }));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The name of a file, as it is now.
    pub fn name(&self, number: u64) -> String {
        name(number, self.current())
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// When it isn't there, or cannot be read.
    pub fn open(&self, number: u64) -> io::Result<File> {
        let current = self.lock();
        File::open(self.dir.join(name(number, *current)))
    }

    /// Opens the file that is written, for writing; makes it if it is missing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open_current(&self) -> io::Result<File> {
        writable().truncate(false).open(self.dir.join(CURRENT))
    }

    /// Gives the file that is written its number, and makes the next one. Durable only after
    /// [`Files::sync`].
    ///
    /// # Errors
    /// When that is not possible; then the file is written on.
    pub fn rotate(&self) -> io::Result<File> {
        let (current, next) = (self.dir.join(CURRENT), self.dir.join(NEXT));
        let file = writable().truncate(true).open(&next)?;
        let mut number = self.lock();
        let full = self.dir.join(format!("{CURRENT}.{}", *number));
        std::fs::rename(&current, &full)?;
        if let Err(error) = std::fs::rename(&next, &current) {
            std::fs::rename(&full, &current)?;
            return Err(error);
        }
        *number += 1;
        Ok(file)
    }

    /// Removes the oldest full files until `keep` are left.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn remove_oldest(&self, keep: usize) -> io::Result<()> {
        let full = self.full()?;
        for number in &full[..full.len().saturating_sub(keep)] {
            std::fs::remove_file(self.dir.join(format!("{CURRENT}.{number}")))?;
        }
        Ok(())
    }

    /// Makes the names of the files durable.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(number: u64, current: u64) -> String {
    if number == current { CURRENT.to_owned() } else { format!("{CURRENT}.{number}") }
}

fn writable() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}
