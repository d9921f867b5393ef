//! What happens to the daemons.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use vmm_tests::setup::Setup;
use xtask::house::{DAEMONS, Signal, signal, wait_until};

use crate::chance::Chance;
use crate::crew::STEADY;

/// How often something happens.
const EVERY: Duration = Duration::from_millis(200);

/// How long a daemon that is stopped stays so, at most, in milliseconds.
const STOPPED_MS: u64 = 600;

/// Kills a daemon and starts it again, or stops it for a while, again and again.
pub(crate) fn storm(setup: &Mutex<Setup>, mut chance: Chance, until: Instant) {
    let (mut kills, mut stops) = (0, 0);
    let mut next = Instant::now();
    while Instant::now() < until {
        let name = *chance.one_of(&DAEMONS);
        if chance.below(3) == 0 {
            stop_for_a_while(setup, name, Duration::from_millis(chance.below(STOPPED_MS)));
            stops += 1;
        } else {
            kill(setup, name);
            kills += 1;
        }
        next += EVERY;
        // The pace of the storm, not a wait for something.
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    eprintln!("{kills} daemons were killed, {stops} were stopped for a while");
}

/// The two who hold what machines have written and nobody has read. What a machine wrote last, and
/// ended, is only there as long as one of them is.
const HOLDERS: [&str; 2] = ["vmm-spawn", "vmm-console"];

/// The files of output of machines that a daemon holds.
fn held(setup: &Setup, name: &str) -> BTreeSet<PathBuf> {
    let pid = setup.house.daemon(name).expect("it runs").pid();
    let machines = setup.dir().join("run/spawn");
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let files = descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    files.filter(|file| file.starts_with(&machines) && file.ends_with("console")).collect()
}

/// Waits until whatever output `one` holds, `other` holds too: no machine's is lost with `one`.
fn wait_until_held(setup: &Setup, one: &str, other: &str) {
    let all = || {
        let of_other = held(setup, other);
        of_other.len() >= STEADY && held(setup, one).is_subset(&of_other)
    };
    wait_until(&format!("{other} holds the output that {one} holds"), all).unwrap();
}

fn kill(setup: &Mutex<Setup>, name: &str) {
    let mut setup = setup.lock().unwrap();
    if HOLDERS.contains(&name) {
        let others = HOLDERS.iter().filter(|other| **other != name);
        others.for_each(|other| wait_until_held(&setup, name, other));
    }
    setup.house.take(name).expect("it runs").kill().unwrap();
    setup.house.start_with(name, &[]).unwrap();
}

fn stop_for_a_while(setup: &Mutex<Setup>, name: &str, pause: Duration) {
    let pid = setup.lock().unwrap().house.daemon(name).expect("it runs").pid();
    signal(pid, Signal::STOP).unwrap();
    std::thread::sleep(pause);
    signal(pid, Signal::CONT).unwrap();
}
