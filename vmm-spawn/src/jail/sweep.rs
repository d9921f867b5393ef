//! Taking back what machines had, and finding what crashes have left.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::cell::Cell;
use super::cgroup::sets::is_set;
use super::cgroup::{children, remove};

/// The file in the directory of an installation that names the cgroups that its machines are in: a
/// vmm-spawn that is started from elsewhere looks there too.
const RECORD: &str = "cgroups";

/// How long until something is tried again that is still in use.
const PAUSE: Duration = Duration::from_millis(20);

/// The same for what cannot be removed at all.
const LONG_PAUSE: Duration = Duration::from_secs(30);

/// What is to be removed.
#[derive(Debug)]
pub struct Broom {
    record: PathBuf,
    /// Where machines' cgroups are, or were.
    dirs: BTreeSet<PathBuf>,
    /// Where they are now.
    current: BTreeSet<PathBuf>,
    left: Vec<Left>,
}

#[derive(Debug)]
struct Left {
    cell: Cell,
    again: Instant,
}

impl Broom {
    /// For the installation in `dir` whose cgroups have this name and are made in `dirs`.
    pub fn new<'a>(dir: &Path, name: &str, dirs: impl Iterator<Item = &'a Path>) -> Self {
        let record = dir.join(RECORD);
        let current: BTreeSet<PathBuf> = dirs.map(Path::to_owned).collect();
        let before = fs::read_to_string(&record).unwrap_or_default();
        let before = before.lines().map(PathBuf::from).filter(|path| is_ours(path, name));
        let dirs: BTreeSet<PathBuf> = current.iter().cloned().chain(before).collect();
        let this = Self { record, dirs, current, left: Vec::new() };
        this.write();
        this
    }

    fn write(&self) {
        if self.dirs.is_empty() {
            return;
        }
        let dirs = self.dirs.iter().map(|dir| dir.display().to_string() + "\n");
        let list: String = dirs.collect();
        if let Err(error) = fs::write(&self.record, list) {
            warn!("cannot note where cgroups are in {:?}: {error}", self.record);
        }
    }

    /// Has a cell removed.
    pub fn sweep(&mut self, cell: Cell) {
        self.left.push(Left { cell, again: Instant::now() });
    }

    /// Has everything removed that there is, except what is in use.
    pub fn find<'a>(&mut self, in_use: impl Iterator<Item = &'a Cell>) {
        let in_use: BTreeSet<&PathBuf> = in_use.flat_map(|cell| &cell.cgroups).collect();
        for dir in &self.dirs {
            let found = match children(dir) {
                Ok(found) => found,
                Err(error) => {
                    warn!("cannot look for what was left in {}: {error}", dir.display());
                    continue;
                }
            };
            for cgroup in found.into_iter().filter(|it| !in_use.contains(it) && !is_set(it)) {
                info!("removing {}, which was left behind", cgroup.display());
                let cell = Cell { cgroups: vec![cgroup], ..Cell::default() };
                self.left.push(Left { cell, again: Instant::now() });
            }
        }
    }

    /// When there is something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.left.iter().map(|left| left.again).min()
    }

    /// Removes what can be removed now, and tells the user ids that are free again.
    pub fn work(&mut self, now: Instant, mut freed: impl FnMut(u32)) {
        self.left.retain_mut(|left| {
            if left.again > now {
                return true;
            }
            let mut pause = None;
            left.cell.cgroups.retain(|dir| match remove(dir) {
                Ok(()) => false,
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    pause = pause.or(Some(PAUSE));
                    true
                }
                Err(error) => {
                    warn!("cannot remove the cgroup {}: {error}", dir.display());
                    pause = Some(LONG_PAUSE);
                    true
                }
            });
            if let Some(pause) = pause {
                left.again = now + pause;
                return true;
            }
            if let Some(user) = left.cell.user {
                freed(user);
            }
            false
        });
    }

    /// Drops the note of where cgroups are, if there are none.
    pub fn leave(&mut self) {
        self.dirs.retain(|dir| {
            // Those of today have been tried already.
            if self.current.contains(dir) {
                return true;
            }
            for set in children(dir).unwrap_or_default().iter().filter(|it| is_set(it)) {
                // One in use is what keeps the other from being removed.
                let _ = fs::remove_dir(set);
            }
            fs::remove_dir(dir).is_err()
        });
        self.dirs.retain(|dir| dir.exists());
        if self.dirs.is_empty() {
            // It says nothing that would be true.
            let _ = fs::remove_file(&self.record);
        } else {
            self.write();
        }
    }
}

/// Whether a cgroup of which the record tells is one of this installation: by its name.
fn is_ours(path: &Path, name: &str) -> bool {
    path.is_absolute() && path.file_name().is_some_and(|it| it == name) && path.exists()
}
