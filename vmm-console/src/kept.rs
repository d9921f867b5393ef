//! What is kept of a history beside the sockets, so that a restarted `vmm-console` still knows when
//! what was written.
//!
//! A file for each machine, named by its id: a line `[position,time]` for a mark, at most one a second.
//! It lives as long as the ring that it tells of, until the machine is forgotten or the host is
//! booted anew, and is no more than a help: what is missing in it or cannot be read makes times
//! coarser, and nothing else.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use vmm_proto::id::MachineId;

use crate::history::{History, MARKS};

/// How long after a mark the next one is kept, in milliseconds.
const PERIOD_MS: u64 = 1000;

/// Lines after which a file is written anew, with fewer.
const LINES: usize = 2 * MARKS;

/// The longest file that is read: lines have at most 44 bytes.
const MAX_FILE: u64 = 64 * LINES as u64;

/// The directory of these files; without one, nothing is kept.
#[derive(Debug, Clone, Default)]
pub struct Directory(Option<PathBuf>);

impl Directory {
    /// Files will be in `dir`, which is made if it is missing. Without it there is only a warning.
    pub fn open(dir: PathBuf) -> Self {
        use std::os::unix::fs::DirBuilderExt;
        match fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir) {
            Ok(()) => Self(Some(dir)),
            Err(error) => {
                tracing::warn!(
                    "after a restart it will not be known when what was written: {}: {error}",
                    dir.display()
                );
                Self(None)
            }
        }
    }

    /// What was kept of a machine that has written so many bytes by `now_ms`, and where it goes on.
    pub fn find(&self, id: MachineId, written: u64, now_ms: u64) -> (History, Kept) {
        let path = self.0.as_ref().map(|dir| dir.join(id.to_string()));
        let marks = path.as_deref().map(read).unwrap_or_default();
        let lines = marks.len();
        let history = History::resumed(marks, written, now_ms);
        (history, Kept { path, lines, next_ms: 0, failed: false })
    }

    /// Removes the files of all machines but these.
    pub fn keep_only(&self, ids: impl Iterator<Item = MachineId>) {
        let Some(dir) = &self.0 else { return };
        let names: HashSet<String> = ids.map(|id| id.to_string()).collect();
        let sweep = || -> io::Result<()> {
            for entry in fs::read_dir(dir)? {
                let entry = entry?;
                if !entry.file_name().to_str().is_some_and(|name| names.contains(name)) {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        if let Err(error) = sweep() {
            tracing::warn!("histories are left over in {}: {error}", dir.display());
        }
    }
}

/// What is kept of one machine.
#[derive(Debug)]
pub struct Kept {
    path: Option<PathBuf>,
    lines: usize,
    /// When there may be another line.
    next_ms: u64,
    failed: bool,
}

impl Kept {
    /// Keeps that the bytes from `position` on were read at `time_ms`, and what `history` knows beside.
    pub fn note(&mut self, position: u64, time_ms: u64, history: &History) {
        let Some(path) = &self.path else { return };
        if time_ms < self.next_ms {
            return;
        }
        self.next_ms = time_ms.saturating_add(PERIOD_MS);
        let done = if self.failed || self.lines >= LINES {
            rewrite(path, history).map(|lines| self.lines = lines)
        } else {
            append(path, position, time_ms).map(|()| self.lines += 1)
        };
        if let Err(error) = &done
            && !self.failed
        {
            tracing::warn!("a history is not kept for now: {}: {error}", path.display());
        }
        self.failed = done.is_err();
    }

    /// The machine is forgotten.
    pub fn remove(&mut self) {
        if let Some(path) = self.path.take()
            && let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("a history is left over: {}: {error}", path.display());
        }
    }
}

fn append(path: &Path, position: u64, time_ms: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.write_all(line(position, time_ms).as_bytes())
}

/// Writes all marks that are remembered; returns how many. There is either the old file or the new
/// one.
fn rewrite(path: &Path, history: &History) -> io::Result<usize> {
    let lines: Vec<String> =
        history.marks().map(|(position, time_ms)| line(position, time_ms)).collect();
    let new = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(lines.concat().as_bytes())?;
    fs::rename(&new, path)?;
    Ok(lines.len())
}

fn line(position: u64, time_ms: u64) -> String {
    format!("[{position},{time_ms}]\n")
}

/// The marks of a file, up to the first line that is none.
fn read(path: &Path) -> Vec<(u64, u64)> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let mark = |line: io::Result<String>| {
        let line = line.ok()?;
        let (position, time) = line.strip_prefix('[')?.strip_suffix(']')?.split_once(',')?;
        Some((position.parse().ok()?, time.parse().ok()?))
    };
    BufReader::new(file.take(MAX_FILE)).lines().map_while(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MachineId = MachineId([7; 16]);

    fn directory(dir: &tempfile::TempDir) -> Directory {
        Directory::open(dir.path().join("console"))
    }

    #[test]
    fn a_restarted_daemon_knows_when_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let (mut history, mut kept) = directory(&dir).find(ID, 0, 1_000);
        for second in 1..5000 {
            history.note(second * 10, second * 1000, 0);
            kept.note(second * 10, second * 1000, &history);
        }
        let (again, _) = directory(&dir).find(ID, 50_000, 6_000_000);
        for second in 4_800..4_999 {
            assert_eq!(again.position_at(second * 1000), Some(second * 10));
        }
        for second in 1..5_000 {
            assert!(again.position_at(second * 1000).unwrap() <= second * 10);
        }
        // When the last of it was read is not known, so none of it is taken to be older than it is.
        assert_eq!(again.position_at(5_999_999), Some(49_990));
        let size = fs::metadata(dir.path().join("console").join(ID.to_string())).unwrap().len();
        assert!(size < MAX_FILE, "{size}");
    }

    #[test]
    fn marks_that_do_not_fit_the_ring_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let directory = directory(&dir);
        let file = dir.path().join("console").join(ID.to_string());
        for (text, position) in [
            ("[10,5]\n[20,6]\n[30", Some(10)),
            ("[10,5]\n[5,6]\n", Some(10)),
            ("[10,5]\n[9000,6]\n", Some(10)),
            ("nonsense\n[10,5]\n", Some(0)),
            ("[9000,5]\n", Some(0)),
        ] {
            fs::write(&file, text).unwrap();
            let (history, _) = directory.find(ID, 100, 50);
            assert_eq!(history.position_at(5), position, "{text}");
            assert!(history.position_at(50).is_some(), "{text}");
        }
    }

    #[test]
    fn files_of_machines_that_are_gone_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let directory = directory(&dir);
        let other = MachineId([8; 16]);
        let history = History::default();
        let (_, mut kept) = directory.find(ID, 0, 1);
        kept.note(0, 1, &history);
        let (_, mut gone) = directory.find(other, 0, 1);
        gone.note(0, 1, &history);
        directory.keep_only([ID].into_iter());
        let names = || fs::read_dir(dir.path().join("console")).unwrap().count();
        assert_eq!(names(), 1);
        kept.remove();
        kept.note(0, 5000, &history);
        assert_eq!(names(), 0);
    }

    #[test]
    fn without_a_directory_nothing_is_kept_and_nothing_fails() {
        let directory = Directory::open("/proc/nowhere".into());
        let (mut history, mut kept) = directory.find(ID, 0, 1);
        history.note(10, 20, 0);
        kept.note(10, 20, &history);
        kept.remove();
        directory.keep_only(std::iter::empty());
    }
}
