//! The jail of each machine: what its process has to itself, and what of the host it has not.
//!
//! ```text
//!   build ── users ─ cgroup ─ namespaces (root ─ libraries) ─ landlock ▶ missing, in words
//!   cell ▶ a user id and cgroups for one run        release: back, when it has ended
//!   enter ── clone ▶ inside: the copy of this process that gives up one thing after the other
//! ```
//!
//! What the host permits is found out once, by trying it; what it does not is said in the log and to
//! whoever asks, or with `--require-jail` nothing starts. What worked then and fails for a machine is
//! the failure of that start: no machine runs with less than is said here. The tender adds what only
//! it can (Landlock, its filter of system calls, not being traced).

pub mod cell;
pub mod cgroup;
pub mod clone;
pub mod inside;
pub mod landlock;
pub mod libraries;
pub mod limits;
pub mod namespaces;
pub mod root;
pub mod sweep;
pub mod users;

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::{getegid, geteuid};
use tracing::{info, warn};
use vmm_proto::message::Exit;
use vmm_proto::message::spawn::Start;

pub use cell::Cell;
use cgroup::{Cgroups, Controller, Limits, Made};
use clone::Cloned;
use inside::{Entry, Program};
use namespaces::Namespaces;
use root::{Contents, Root};
use sweep::Broom;
use users::{Range, Users};

/// The signal by which the kernel ends a process when memory runs out.
const KILLED: u8 = 9;

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// User ids for machines.
    pub users: Option<Range>,
    /// The cgroup that machines' are made below.
    pub cgroup: Option<PathBuf>,
    /// What machines have as their root directory instead of an empty one.
    pub root: Option<PathBuf>,
    /// Whether to start no machine unless all of the jail can be applied.
    pub whole: bool,
}

/// Why there is no jail, or no cell in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something is missing.
    #[error("--require-jail is given, and not all of the jail can be applied here: {}", .0.join("; "))]
    Missing(Vec<String>),
    /// It is not known what the tender needs.
    #[error("the tender {tender:?} cannot be run in the jail: {error}")]
    Tender {
        /// The program.
        tender: PathBuf,
        /// Why.
        error: libraries::Error,
    },
    /// No user id is left.
    #[error(transparent)]
    Users(#[from] users::Error),
    /// No cgroup could be made.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
}

/// The jail, as far as this host has one.
#[derive(Debug)]
pub struct Jail {
    users: Option<Users>,
    cgroups: Cgroups,
    namespaces: Namespaces,
    missing: Vec<String>,
    broom: Broom,
    shows_programs: bool,
    whole: bool,
}

impl Jail {
    /// Finds out what can be applied to machines that are run by `tender` for the installation in
    /// `dir`, which is absolute.
    ///
    /// # Errors
    /// The user ids that were asked for cannot be had, the tender is nothing that could be run, or
    /// something is missing and all of it is wanted.
    pub fn build(wanted: &Wanted, tender: &Path, dir: &Path) -> Result<Self, Error> {
        let mut missing = Vec::new();
        let root = root_of(wanted, tender, dir)?;
        let users = reserve(wanted.users, &mut missing)?;
        // Whatever fails once these are made has to remove them.
        let name = cgroup::name_of(dir);
        let (cgroups, lacking) = Cgroups::prepare(&name, wanted.cgroup.as_deref());
        missing.extend(lacks(lacking));
        let user = users.as_ref().map(|users| users.range().first());
        let (namespaces, lacking) = Namespaces::survey(root, user);
        missing.extend(lacking);
        if let Some(root) = &wanted.root {
            missing.push(format!("its root directory is not empty: it is {}", root.display()));
        }
        if landlock::version() == 0 {
            missing.push(
                "no Landlock: this kernel has none, or it is not switched on (lsm=landlock,... at \
                 boot)"
                    .to_owned(),
            );
        }
        if wanted.whole && !missing.is_empty() {
            cgroups.leave();
            return Err(Error::Missing(missing));
        }
        let broom = Broom::new(dir, &name, cgroups.dirs());
        let (shows_programs, whole) = (wanted.root.is_some(), wanted.whole);
        Ok(Self { users, cgroups, namespaces, missing, broom, shows_programs, whole })
    }

    /// What of the jail is not applied to machines, in words.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Whether the tender is in sight of machines, and has to be named by its path: a script has.
    pub fn shows_programs(&self) -> bool {
        self.shows_programs
    }

    /// Whether no machine may run unless all of the jail is applied to it.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Says in the log what there is and what not.
    pub fn log(&self) {
        if let Some(users) = &self.users {
            info!("each machine has a user id of its own out of {}", users.range());
        }
        for dir in self.cgroups.dirs() {
            info!("machines have cgroups in {}", dir.display());
        }
        for missing in &self.missing {
            warn!("no jail: {missing}");
        }
    }

    /// A cell for one run of a machine.
    ///
    /// # Errors
    /// There is none. Nothing has changed then.
    pub fn cell(&mut self, start: &Start) -> Result<Cell, Error> {
        let limits = Limits { memory: limits::memory(start.memory_mib), cpus: &start.cpus };
        let Made { own: cgroups, set } =
            self.cgroups.make(&format!("{}-{}", start.id, start.run), limits)?;
        let user = match self.users.as_mut().map(Users::allot).transpose() {
            Ok(user) => user,
            Err(error) => {
                self.release(Cell { cgroups, set, ..Cell::default() });
                return Err(error.into());
            }
        };
        // No more of them are given out than a machine may have.
        let taps = u16::try_from(start.networks.len()).unwrap_or(u16::MAX);
        Ok(Cell { user, cgroups, set, taps })
    }

    /// A machine that was started before this process runs in this cell.
    pub fn adopt(&mut self, cell: &Cell) {
        if let Some(set) = &cell.set {
            self.cgroups.adopt_set(set);
        }
        if let (Some(user), Some(users)) = (cell.user, &mut self.users) {
            users.adopt(user);
        }
    }

    /// Starts a process in a cell, which becomes `program` there.
    ///
    /// # Errors
    /// It cannot be started. That it cannot become the program, it says itself.
    pub fn enter(
        &self,
        cell: &Cell,
        start: &Start,
        program: &Program,
    ) -> Result<Cloned, EnterError> {
        let cgroups = self.cgroups.open(&cell.cgroups, cell.set.as_deref())?;
        let (namespaces, memory_mib) = (&self.namespaces, start.memory_mib);
        let (user, own) = (cell.user, (geteuid(), getegid()));
        let entry = Entry { cgroups: &cgroups, namespaces, user, own, memory_mib };
        let needed = program.descriptors().chain(entry.descriptors());
        let highest = needed.map(AsRawFd::as_raw_fd).max().unwrap_or_default();
        clone::clone(namespaces.flags(), cgroups.born_in(), highest, || {
            inside::run(&entry, program)
        })
        .map_err(EnterError::Clone)
    }

    /// How a process ended, if it looks like this and was in this cell: the signal by which the
    /// kernel ends one when memory runs out may have been that, and so may what nobody has seen.
    pub fn judge(cell: &Cell, exit: Exit) -> Exit {
        let may_be = matches!(exit, Exit::Signal(KILLED) | Exit::Unknown);
        if may_be && cgroup::ran_out_of_memory(&cell.cgroups) { Exit::OutOfMemory } else { exit }
    }

    /// Takes back the cell of a machine whose process has ended. What cannot be removed yet is
    /// tried again ([`Jail::on_time`]).
    pub fn release(&mut self, cell: Cell) {
        if let Some(set) = &cell.set {
            self.cgroups.give_back_set(set);
        }
        self.broom.sweep(cell);
        self.on_time(Instant::now());
    }

    /// Removes what earlier runs of this installation have left, except the cells of machines that
    /// were adopted.
    pub fn sweep<'a>(&mut self, adopted: impl Iterator<Item = &'a Cell>) {
        self.broom.find(adopted);
        self.cgroups.drop_sets();
        self.on_time(Instant::now());
    }

    /// When [`Jail::on_time`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.broom.deadline()
    }

    /// Tries again to remove what could not be removed.
    pub fn on_time(&mut self, now: Instant) {
        let users = &mut self.users;
        self.broom.work(now, |user| {
            if let Some(users) = users {
                users.give_back(user);
            }
        });
    }

    /// Whether all cells that were given back are gone.
    pub fn is_clean(&self) -> bool {
        self.broom.deadline().is_none()
    }

    /// Removes what belongs to the installation as a whole, if no machine is left.
    pub fn leave(&mut self) {
        self.cgroups.leave();
        self.broom.leave();
    }
}

/// Why a machine's process was not started.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// Its cgroups cannot be opened.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// The kernel makes no process.
    #[error("cannot start a process: {0}")]
    Clone(clone::Error),
}

fn reserve(wanted: Option<Range>, missing: &mut Vec<String>) -> Result<Option<Users>, Error> {
    if !geteuid().is_root() {
        let ids = wanted.map_or(String::new(), |range| format!(" (--uids {range} has no effect)"));
        missing.push(format!(
            "no user id of its own: vmm-spawn is not root, so machines run as its user{ids}"
        ));
        return Ok(None);
    }
    match (Users::reserve(wanted), wanted) {
        (Ok(users), _) => Ok(Some(users)),
        // What was asked for is not left out silently.
        (Err(error), Some(_)) => Err(error.into()),
        (Err(error), None) => {
            missing.push(format!("no user id of its own: {error}"));
            Ok(None)
        }
    }
}

fn root_of(wanted: &Wanted, tender: &Path, dir: &Path) -> Result<Option<Root>, Error> {
    let contents = match &wanted.root {
        Some(root) => Contents::Directory(root.clone()),
        None => Contents::Files(
            libraries::of(tender)
                .map_err(|error| Error::Tender { tender: tender.to_owned(), error })?,
        ),
    };
    Ok(Some(Root { site: dir.to_owned(), contents }))
}

/// What is missing of cgroups, in words: once for each reason.
fn lacks(lacking: cgroup::Lacking) -> Vec<String> {
    let mut reasons: Vec<(String, Vec<Controller>)> = Vec::new();
    for (controller, why) in lacking {
        match reasons.iter_mut().find(|(reason, _)| *reason == why) {
            Some((_, controllers)) => controllers.push(controller),
            None => reasons.push((why, vec![controller])),
        }
    }
    reasons
        .into_iter()
        .map(|(why, controllers)| {
            let what: Vec<&str> = controllers.iter().map(|&it| consequence(it)).collect();
            format!("no cgroup that limits it: {}: {why}", what.join(", "))
        })
        .collect()
}

fn consequence(controller: Controller) -> &'static str {
    match controller {
        Controller::Memory => {
            "its address space is limited instead of its memory, and running out of memory shows as \
             signal 9"
        }
        Controller::Cpu => "it may take more than one CPU's time if it has several",
        Controller::Cpuset => "it is on its CPUs but could leave them",
        Controller::Pids => "its processes are not counted",
    }
}
