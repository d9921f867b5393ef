//! What of the host a machine has to itself while it runs.

use std::fmt;
use std::path::PathBuf;

use super::cgroup::sets::is_set;

/// What was allotted to one run of a machine, and is given back after it. A record of a run keeps it
/// as text: a line for the user id, if it has one, one for each cgroup, and one for its taps, if it has
/// any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    /// The user and group id that nobody else has.
    pub user: Option<u32>,
    /// Its cgroups: directories, absolute.
    pub cgroups: Vec<PathBuf>,
    /// One that it shares with machines on the same CPUs ([`super::cgroup::sets`]).
    pub set: Option<PathBuf>,
    /// How many taps it has. Their names follow from the machine ([`crate::net`]).
    pub taps: u16,
}

const USER: &str = "user ";
const CGROUP: &str = "cgroup ";
const SET: &str = "cpus ";
const TAPS: &str = "taps ";

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = self.user {
            writeln!(f, "{USER}{user}")?;
        }
        if let Some(set) = &self.set {
            writeln!(f, "{SET}{}", set.display())?;
        }
        if self.taps > 0 {
            writeln!(f, "{TAPS}{}", self.taps)?;
        }
        self.cgroups.iter().try_for_each(|path| writeln!(f, "{CGROUP}{}", path.display()))
    }
}

impl Cell {
    /// What a record says; lines of other things are left alone, and so are those that make no
    /// sense.
    pub fn from_record(text: &str) -> Self {
        let value_of =
            |name: &'static str| text.lines().filter_map(move |it| it.strip_prefix(name));
        let paths = |name| value_of(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Self {
            user: value_of(USER).find_map(|number| number.parse().ok()),
            cgroups: paths(CGROUP).collect(),
            set: paths(SET).find(|set| is_set(set)),
            taps: value_of(TAPS).find_map(|number| number.parse().ok()).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_from_its_record() {
        let cgroups = vec!["/sys/fs/cgroup/memory/a b/1".into(), "/sys/fs/cgroup/pids/1".into()];
        let cell = Cell {
            user: Some(2_000_000_001),
            cgroups,
            set: Some("/sys/fs/cgroup/cpuset/cpus@0".into()),
            taps: 2,
        };
        assert_eq!(Cell::from_record(&format!("run 3\n{cell}pid 17\n")), cell);
        assert_eq!(Cell::from_record(""), Cell::default());
        assert_eq!(Cell::from_record("user x\ncgroup relative\ncpus /etc\n"), Cell::default());
    }
}
