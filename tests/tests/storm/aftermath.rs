//! What must be true after the storm.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vmm_tests::follower::Console;
use vmm_tests::setup::Setup;
use xtask::house::wait_until;

use crate::crew::{self, Crew, Life};

/// Every machine of the crew is as its life says, and has one process; nobody else has one.
pub(crate) fn everything_that_should_run_runs_once(setup: &Setup, crew: &Crew) {
    let state = |machine: &Value| {
        let name = machine["name"].as_str().unwrap().strip_prefix("dev/").unwrap().to_owned();
        (name, machine["state"].as_str().unwrap().to_owned())
    };
    let as_it_should = || {
        let info = setup.json("admin", &["info"]);
        let states: BTreeMap<String, String> = info.as_array().unwrap().iter().map(state).collect();
        let names: BTreeSet<&String> = states.keys().collect();
        names == crew.machines.keys().collect()
            && crew.machines.iter().all(|(name, life)| match life {
                Life::Steady => states[name] == "running",
                Life::Recurring(_) | Life::Failing => {
                    ["starting", "running", "restarting"].contains(&states[name].as_str())
                }
            })
    };
    let settled = wait_until("all machines as they should be", as_it_should);
    assert!(settled.is_ok(), "not as it should be: {}", setup.client("admin", &["info"]).out);
    let now = crew::pids(setup);
    for (name, life) in &crew.machines {
        if *life == Life::Steady {
            assert_eq!(now.get(name), crew.pids.get(name), "{name} is not the process it was");
        }
    }
    let once = || {
        let listed: BTreeSet<u64> = crew::pids(setup).into_values().collect();
        listed == processes(setup.dir())
    };
    if wait_until("one process for each machine", once).is_err() {
        let listed: BTreeSet<u64> = crew::pids(setup).into_values().collect();
        panic!("listed {listed:?}, there {:?}", processes(setup.dir()));
    }
}

/// The processes of machines of this installation: those whose output goes to a file below it.
fn processes(dir: &Path) -> BTreeSet<u64> {
    let machine = |pid: u64| {
        let output = std::fs::read_link(format!("/proc/{pid}/fd/1")).ok()?;
        output.starts_with(dir.join("run/spawn")).then_some(pid)
    };
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| machine(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// No process of a machine is left, no directory of one, and no cgroup.
pub(crate) fn nothing_is_left(setup: &Setup) {
    wait_until("no process left", || processes(setup.dir()).is_empty()).unwrap();
    let log = std::fs::read_to_string(setup.file("vmm-spawn.err")).unwrap();
    let of_machines = "machines have cgroups in ";
    let groups = log.lines().filter_map(|line| Some(line.split_once(of_machines)?.1.trim()));
    let groups: Vec<&str> = groups.collect();
    assert!(!groups.is_empty() || !rustix::process::geteuid().is_root(), "no cgroups in {log}");
    let groups = groups.into_iter();
    let places: BTreeSet<PathBuf> =
        groups.map(PathBuf::from).chain([setup.file("run/spawn")]).collect();
    let left = || places.iter().flat_map(|place| directories(place)).collect::<Vec<_>>();
    wait_until("nothing of a machine left", || left().is_empty())
        .unwrap_or_else(|_| panic!("{:?} are left", left()));
}

fn directories(place: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// One record.
#[derive(Debug)]
struct Entry {
    kind: String,
    machine: Option<String>,
    source: String,
    sequence: u64,
    /// All of it.
    text: String,
}

/// The log of the host.
#[derive(Debug)]
pub(crate) struct Log(Vec<Entry>);

impl Log {
    /// All of it, which must be a whole chain.
    pub(crate) fn read(setup: &Setup) -> Self {
        let verified = setup.house.run("vmm-log", &["--verify", "--dir", "run"]).unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let log = setup.admin(&["--format", "json", "log"]);
        let entry = |record: &Value| Entry {
            kind: text(&record["kind"]).unwrap(),
            machine: text(&record["machine"]),
            source: text(&record["source"]).unwrap(),
            sequence: record["sequence"].as_u64().unwrap(),
            text: record.to_string(),
        };
        Self(log.expect(0).json().as_array().unwrap().iter().map(entry).collect())
    }

    /// Of each source every number, once and in order.
    pub(crate) fn has_each_event_once(&self) {
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for entry in self.0.iter().filter(|entry| entry.source != "vmm-log") {
            let before = last.insert(&entry.source, entry.sequence).unwrap_or(0);
            assert_eq!(entry.sequence, before + 1, "{entry:?}");
        }
    }

    /// The machines whose last record of a start or an end is of a start.
    pub(crate) fn running(&self) -> BTreeSet<&str> {
        let mut runs = BTreeSet::new();
        for entry in &self.0 {
            match (entry.kind.as_str(), entry.machine.as_deref()) {
                ("started", Some(machine)) => _ = runs.insert(machine),
                ("exited", Some(machine)) => _ = runs.remove(machine),
                _ => {}
            }
        }
        runs
    }

    /// A machine starts, then it ends, then it may start again.
    pub(crate) fn has_a_record_of_every_start_and_every_end(&self) {
        let mut runs: BTreeSet<&str> = BTreeSet::new();
        for entry in &self.0 {
            let Some(machine) = entry.machine.as_deref() else { continue };
            match entry.kind.as_str() {
                "started" => assert!(runs.insert(machine), "{machine} started twice: {entry:?}"),
                "exited" => assert!(runs.remove(machine), "{machine} ended twice: {entry:?}"),
                _ => {}
            }
        }
        assert_eq!(runs, BTreeSet::new(), "started, and never ended");
    }

    /// The texts of the records of a machine.
    fn of(&self, name: &str) -> Vec<&str> {
        let full = format!("dev/{name}");
        let those = self.0.iter().filter(|entry| entry.machine.as_deref() == Some(full.as_str()));
        those.map(|entry| entry.text.as_str()).collect()
    }

    /// How often a machine was started.
    fn starts(&self, name: &str) -> usize {
        let full = format!("dev/{name}");
        let of_it = |entry: &&Entry| {
            entry.kind == "started" && entry.machine.as_deref() == Some(full.as_str())
        };
        self.0.iter().filter(of_it).count()
    }
}

/// What a life of so many lines prints; of a longer one than `end` the beginning.
fn ticks(lines: u64, end: u64) -> String {
    let end = usize::try_from(end).unwrap();
    let mut text = String::new();
    for number in 1..=lines {
        writeln!(text, "tick {number}").unwrap();
        if text.len() > end {
            break;
        }
    }
    text
}

/// Machines that have never ended still print, all of them.
pub(crate) fn whoever_is_steady_goes_on(setup: &Setup, crew: &Crew) {
    let steady = || crew.machines.iter().filter(|(_, life)| **life == Life::Steady);
    let last = |name: &String| {
        let done = setup.client("admin", &["attach", name, "--no-follow", "--count", "1"]);
        done.expect(0).out.trim().to_owned()
    };
    let before: Vec<(&String, String)> = steady().map(|(name, _)| (name, last(name))).collect();
    for (name, line) in before {
        wait_until(&format!("another line of {name} than {line:?}"), || last(name) != line)
            .unwrap();
    }
}

/// Bytes of output that are kept of each machine, at least: what follows the oldest of them is there.
const KEPT: u64 = 200 << 10;

/// What each machine printed: as many lives as the log knows of, each from its first line on, all
/// but the last of them whole. What was overwritten before anybody read it is a gap, of the right size:
/// whatever comes then stands where it was written.
pub(crate) fn every_line_is_there_in_order_once(setup: &Setup, crew: &Crew, log: &Log) {
    for (name, life) in &crew.machines {
        let Some(lines) = life.lines() else { continue };
        let all = ["--format", "json", "attach", name, "--no-follow", "--count", "1000000"];
        let done = setup.client("admin", &all);
        let printed: Vec<String> = done.expect(0).out.lines().map(str::to_owned).collect();
        let Console { texts, missing, start, end } = Console::joined(&printed);
        assert!(start == 0 || end - start > KEPT, "{name}: {start} to {end}");
        let life_text = ticks(lines, end);
        let length = u64::try_from(life_text.len()).unwrap();
        for (position, text) in texts {
            let place = usize::try_from(position % length).unwrap();
            let expected = life_text.bytes().cycle().skip(place).take(text.len());
            let right = text.bytes().eq(expected);
            assert!(right, "{name}, of {lines}, at {position}: {text:?}: {:?}", log.of(name));
        }
        if missing > 0 {
            eprintln!("{name}: {missing} of {end} bytes were overwritten");
        }
        let started = u64::try_from(log.starts(name)).unwrap();
        let runs = end.div_ceil(length);
        match life {
            Life::Steady => assert_eq!((runs, started), (1, 1), "{name}"),
            // One that was stopped before it printed anything has no line.
            _ => assert!(runs == started || runs + 1 == started, "{name}: {runs} of {started}"),
        }
    }
}
