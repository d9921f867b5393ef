//! Cgroups of version 1 that limit nothing but the CPUs: one for each set, whoever is in it.
//!
//! To make one, or to change it, takes the kernel longer the more there are beside it, and each start
//! and end of a machine would do that.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::v1::{CPUS, NODES};
use super::{Error, children, make, write};

/// What the names of sets begin with. No machine's cgroup has such a name.
const PREFIX: &str = "cpus@";

/// Bytes of a list of CPUs that fit into a name.
const LIST_MAX: usize = 200;

/// Sets whose lists begin alike in so many bytes.
const ALIKE_MAX: u32 = 64;

/// Whether a cgroup is one of these, by its name.
pub fn is_set(cgroup: &Path) -> bool {
    let name = cgroup.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(PREFIX))
}

/// How many machines use each set: one that none uses is removed.
#[derive(Debug, Default)]
pub(super) struct Sets(BTreeMap<PathBuf, u32>);

impl Sets {
    /// The cgroup below `home` of these CPUs, for one machine. It stays until that
    /// [gives it back](Self::give_back).
    pub(super) fn take(
        &mut self,
        home: &Path,
        cpus: &[u16],
        nodes: &str,
    ) -> Result<PathBuf, Error> {
        let set = made(home, cpus, nodes)?;
        self.adopt(&set);
        Ok(set)
    }

    /// A machine that this process did not start is in that set.
    pub(super) fn adopt(&mut self, set: &Path) {
        *self.0.entry(set.to_owned()).or_default() += 1;
    }

    /// A machine has ended that was in that set.
    pub(super) fn give_back(&mut self, set: &Path) {
        if let Some(users) = self.0.get_mut(set) {
            *users = users.saturating_sub(1);
        }
        self.0.retain(|set, users| *users > 0 || !dropped(set));
    }

    /// Removes the sets below `home` that no machine uses.
    pub(super) fn drop_unused(&self, home: &Path) {
        let found = children(home).unwrap_or_else(|error| {
            warn!("cannot look for unused CPU sets in {}: {error}", home.display());
            Vec::new()
        });
        for set in found.iter().filter(|set| is_set(set) && !self.0.contains_key(*set)) {
            dropped(set);
        }
    }
}

/// Removes a set that nothing is in, and tells whether it is gone. One in which something is still
/// ending is tried again when the next machine has ended.
fn dropped(set: &Path) -> bool {
    match fs::remove_dir(set) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => false,
        Err(error) => {
            warn!("cannot remove the cgroup {}: {error}", set.display());
            false
        }
    }
}

fn made(home: &Path, cpus: &[u16], nodes: &str) -> Result<PathBuf, Error> {
    let list = ranges(cpus);
    let stem = &list[..list.len().min(LIST_MAX)];
    for number in 0..ALIKE_MAX {
        let tail = if number == 0 { String::new() } else { format!("+{number}") };
        let dir = home.join(format!("{PREFIX}{stem}{tail}"));
        make(&dir)?;
        // One that was just made has none, and so has one that was only half made.
        let value = |file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
        let has = value(CPUS);
        if !has.trim().is_empty() && has.trim() != list {
            continue;
        }
        for (file, wanted) in [(CPUS, &*list), (NODES, nodes)] {
            if value(file).trim() != wanted {
                write(dir.join(file), wanted)?;
            }
        }
        return Ok(dir);
    }
    let error = io::Error::other("too many sets of CPUs that begin alike are in use");
    Err(Error::Make { path: home.join(format!("{PREFIX}{stem}")), error })
}

/// An ascending list of CPUs as the kernel writes it.
fn ranges(cpus: &[u16]) -> String {
    let runs = cpus.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    let text = runs.filter_map(|run| match (run.first()?, run.last()?) {
        (first, last) if first == last => Some(first.to_string()),
        (first, last) => Some(format!("{first}-{last}")),
    });
    text.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel does it: a new set has nothing in it, and one with something is not removed.
    fn made_here(home: &Path, cpus: &[u16]) -> PathBuf {
        let dir = made(home, cpus, "0").unwrap();
        assert_eq!(fs::read_to_string(dir.join(CPUS)).unwrap(), ranges(cpus));
        dir
    }

    #[test]
    fn cpus_are_written_as_the_kernel_does() {
        for (cpus, text) in [
            (&[][..], ""),
            (&[0], "0"),
            (&[0, 1], "0-1"),
            (&[1, 2, 3, 7, 9, 10, 4095], "1-3,7,9-10,4095"),
            (&[65535], "65535"),
        ] {
            assert_eq!(ranges(cpus), text);
        }
    }

    #[test]
    fn a_set_is_the_same_for_all_and_another_for_other_cpus_however_long_the_list() {
        let home = tempfile::tempdir().unwrap();
        let one = made_here(home.path(), &[0, 1]);
        assert_eq!(one, made_here(home.path(), &[0, 1]));
        assert!(is_set(&one) && !is_set(home.path()));
        assert_ne!(one, made_here(home.path(), &[0]));
        let many: Vec<u16> = (0..300).map(|cpu| cpu * 2).collect();
        let long = made_here(home.path(), &many);
        let other = made_here(home.path(), &many[..299]);
        assert_ne!(long, other);
        assert_eq!(long, made_here(home.path(), &many));
        assert_eq!(other, made_here(home.path(), &many[..299]));
    }

    #[test]
    fn a_set_that_was_half_made_is_finished() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("cpus@3")).unwrap();
        let set = made_here(home.path(), &[3]);
        assert_eq!(set, home.path().join("cpus@3"));
    }

    #[test]
    fn a_set_is_removed_when_its_last_machine_has_ended() {
        let home = tempfile::tempdir().unwrap();
        let set = home.path().join("cpus@0");
        fs::create_dir(&set).unwrap();
        let mut sets = Sets::default();
        sets.adopt(&set);
        sets.adopt(&set);
        sets.give_back(&set);
        sets.drop_unused(home.path());
        assert!(set.exists());
        sets.give_back(&set);
        assert!(!set.exists());
        fs::create_dir(&set).unwrap();
        fs::create_dir(home.path().join("another")).unwrap();
        sets.drop_unused(home.path());
        assert!(!set.exists() && home.path().join("another").exists());
    }
}
