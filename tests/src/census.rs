//! What an installation holds of the host: counted before and after, nothing may be left over.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use xtask::house::{DAEMONS, wait_until};

use crate::setup::Setup;

/// Descriptors and children of each daemon, and files of each directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census(BTreeMap<String, usize>);

fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

/// The processes whose parent is `parent`.
pub fn children(parent: u32) -> Vec<u32> {
    let stat = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let parent_of = |stat: String| {
        let (_, rest) = stat.rsplit_once(')')?;
        rest.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| stat(*pid).and_then(parent_of) == Some(parent))
        .collect()
}

impl Census {
    /// Counts when nothing has changed for some tenths of a second: daemons open files for a moment. It
    /// is looked often meanwhile: in a pause of the whole host, nothing changes either.
    pub fn of(setup: &Setup) -> Self {
        let mut last = Self::now(setup);
        let (mut since, mut looks) = (Instant::now(), 0);
        let still = wait_until("a quiet installation", || {
            let now = Self::now(setup);
            if now != last {
                last = now;
                (since, looks) = (Instant::now(), 0);
            }
            looks += 1;
            since.elapsed() > Duration::from_millis(300) && looks > 20
        });
        still.expect("a quiet installation");
        last
    }

    fn now(setup: &Setup) -> Self {
        let mut counts = BTreeMap::new();
        for daemon in DAEMONS.iter().filter_map(|name| setup.house.daemon(name)) {
            let pid = daemon.pid();
            let descriptors = entries(Path::new(&format!("/proc/{pid}/fd")));
            counts.insert(format!("descriptors of {}", daemon.name), descriptors);
            counts.insert(format!("children of {}", daemon.name), children(pid).len());
        }
        let images = setup.dir().join("run/vmmd/images");
        counts.insert("stored images".to_owned(), entries(&images));
        counts.insert("files in run".to_owned(), entries(&setup.dir().join("run")));
        Self(counts)
    }

    /// Waits until everything is as it was counted.
    #[track_caller]
    pub fn wait_for_again(&self, setup: &Setup) {
        if wait_until("nothing left over", || Self::now(setup) == *self).is_err() {
            assert_eq!(Self::of(setup), *self, "left over");
        }
    }
}
