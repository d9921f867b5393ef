//! The machines that live through the storm.

use std::collections::BTreeMap;

use vmm_tests::setup::Setup;
use xtask::house::wait_until;

/// Machines that run from the beginning to the end.
pub(crate) const STEADY: usize = 60;

/// Who stop machines at the same time: fewer than may shake hands from one address at once.
const STOPPERS: usize = 6;

/// How a machine lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Runs from the beginning to the end, and prints all the time.
    Steady,
    /// Prints so many lines, ends, and is always started again.
    Recurring(u64),
    /// Fails at once, and is started again for that.
    Failing,
}

impl Life {
    /// How many lines it prints before it ends; `None` if it prints none that are numbered.
    pub(crate) const fn lines(self) -> Option<u64> {
        match self {
            Self::Steady => Some(u64::MAX),
            Self::Recurring(lines) => Some(lines),
            Self::Failing => None,
        }
    }
}

/// The machines, by name, and their processes of the beginning.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) machines: BTreeMap<String, Life>,
    pub(crate) pids: BTreeMap<String, u64>,
}

fn lives() -> impl Iterator<Item = Life> {
    let steady = std::iter::repeat_n(Life::Steady, STEADY);
    // From a second to half a minute.
    let recurring = (0..30).map(|index| Life::Recurring(20 + 20 * index));
    let failing = std::iter::repeat_n(Life::Failing, 10);
    steady.chain(recurring).chain(failing)
}

impl Crew {
    /// Has a hundred machines running.
    pub(crate) fn deploy(setup: &Setup) -> Self {
        let machines: BTreeMap<String, Life> =
            lives().enumerate().map(|(index, life)| (format!("crew{index}"), life)).collect();
        for (name, life) in &machines {
            let count;
            let (image, more): (_, &[&str]) = match life {
                Life::Steady => ("ticker.spt", &["--", "--every=100"]),
                Life::Recurring(lines) => {
                    count = format!("--count={lines}");
                    ("ticker.spt", &["--restart", "always", "--", "--every=50", &count])
                }
                Life::Failing => ("crasher.spt", &["--restart", "on-failure", "--", "abort"]),
            };
            let run = ["run", name, image, "--memory", "16", "--cpu", "0"];
            setup.client("dev", &[&run, more].concat()).expect(0);
        }
        let pids = pids(setup);
        Self { machines, pids }
    }

    /// Stops all of them, and waits until none runs. Several at a time: of those whose vmm-spawn
    /// was killed an end is only known when the first process of the host has seen it.
    pub(crate) fn stop(&self, setup: &Setup) {
        let names: Vec<&String> = self.machines.keys().collect();
        std::thread::scope(|scope| {
            for part in names.chunks(names.len().div_ceil(STOPPERS)) {
                scope.spawn(move || {
                    for name in part {
                        setup.client("admin", &["stop", name, "--timeout", "1"]).expect(0);
                    }
                });
            }
        });
        wait_until("all machines stopped", || pids(setup).is_empty()).unwrap();
    }

    /// Has all of them forgotten.
    pub(crate) fn destroy(&self, setup: &Setup) {
        for name in self.machines.keys() {
            setup.client("admin", &["destroy", name]).expect(0);
        }
    }
}

/// The processes of all machines that have one.
pub(crate) fn pids(setup: &Setup) -> BTreeMap<String, u64> {
    let info = setup.json("admin", &["info"]);
    let machine = |machine: &serde_json::Value| {
        let name = machine["name"].as_str()?.strip_prefix("dev/")?.to_owned();
        Some((name, machine["pid"].as_u64()?))
    };
    info.as_array().unwrap().iter().filter_map(machine).collect()
}
