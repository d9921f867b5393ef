//! Who follows a console, the log or statistics while their daemons are killed and stopped: all of
//! it comes, in order, once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::Value;
use vmm_tests::follower::{Console, Follower};
use vmm_tests::setup::Setup;
use xtask::house::{Signal, signal, wait_until};

/// The daemons that may be away, and the verb that needs each.
const AWAY: [(&str, &[&str]); 3] = [
    ("vmm-console", &["attach", "tick", "--no-follow"]),
    ("vmm-log", &["log", "tick"]),
    ("vmm-stats", &["statistics", "tick"]),
];

fn run(setup: &Setup, name: &str, image: &str, arguments: &[&str]) {
    let run = ["run", name, image, "--memory", "64", "--cpu", "0", "--"];
    setup.client("dev", &[&run[..], arguments].concat()).expect(0);
}

/// Something happens that the log tells.
fn happening(setup: &Setup) {
    run(setup, "hello", "hello.spt", &[]);
    setup.client("admin", &["destroy", "hello"]).expect(0);
}

#[test]
fn who_follows_notices_nothing_but_a_pause() {
    let mut setup = Setup::new();
    run(&setup, "tick", "ticker.spt", &["--every", "10"]);
    let console = Follower::start(&setup, &["attach", "tick"]);
    let log = Follower::start(&setup, &["--format", "json", "log", "--follow"]);
    let statistics = Follower::start(&setup, &["--format", "json", "statistics", "--follow"]);
    for follower in [&console, &log, &statistics] {
        follower.goes_on("the beginning");
    }
    for (name, verb) in AWAY {
        for _ in 0..2 {
            setup.house.take(name).unwrap().kill().unwrap();
            happening(&setup);
            setup.client("admin", verb).expect(1);
            setup.house.start_with(name, &[]).unwrap();
            console.goes_on("a console");
            statistics.goes_on("statistics");
            happening(&setup);
        }
        // Stopped for longer than anybody waits for an answer.
        let pid = setup.house.daemon(name).unwrap().pid();
        signal(pid, Signal::STOP).unwrap();
        for _ in 0..3 {
            happening(&setup);
            let refused = setup.client("admin", verb);
            assert!(refused.expect(1).err.contains(name), "{}", refused.err);
        }
        signal(pid, Signal::CONT).unwrap();
        happening(&setup);
        console.goes_on("a console");
        statistics.goes_on("statistics");
    }
    setup.client("admin", &["stop", "tick"]).expect(0);
    let numbers = console.rest();
    let expected: Vec<String> =
        (1..=numbers.len()).map(|number| format!("tick {number}")).collect();
    assert_eq!(numbers, expected, "all of it, in order, once");
    let all = setup.client("admin", &["attach", "tick", "--no-follow"]);
    assert_eq!(all.expect(0).out.lines().count(), numbers.len());

    setup.client("admin", &["destroy", "tick"]).expect(0);
    let is_last = |line: &String| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["kind"] == "destroyed" && line["machine"] == "dev/tick"
    };
    wait_until("the last record", || log.lines().iter().any(is_last)).unwrap();
    let followed = log.lines();
    let followed: Vec<Value> =
        followed.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let read = setup.json("admin", &["log"]);
    assert_eq!(read.as_array().unwrap()[..followed.len()], followed, "each record, in order, once");
    let destroyed = |record: &&Value| record["kind"] == "destroyed";
    assert_eq!(followed.iter().filter(destroyed).count(), 3 * (2 * 2 + 4) + 1);
}

#[test]
fn what_was_overwritten_meanwhile_is_a_gap_of_the_right_size() {
    const LINE: u64 = 64;
    /// More than is taken from a machine while a daemon is killed, on a slow host too.
    const LINES: u64 = 600_000;
    let mut setup = Setup::new();
    run(&setup, "chat", "chatter.spt", &[&format!("--lines={LINES}")]);
    let console = Follower::start(&setup, &["--format", "json", "attach", "chat"]);
    console.goes_on("the beginning");
    setup.house.take("vmm-console").unwrap().kill().unwrap();
    setup.wait_for("dev/chat", "exited");
    setup.house.start_with("vmm-console", &[]).unwrap();
    let Console { texts, missing, start, end } = Console::joined(&console.rest());
    assert_eq!((start, end), (0, LINES * LINE));
    assert!(missing > 0, "it was read as fast as it was written");
    for (position, text) in texts {
        for (index, byte) in (position..).zip(text.bytes()) {
            let line = format!("line {} ", index / LINE + 1);
            let column = usize::try_from(index % LINE).unwrap();
            let expected = match line.as_bytes().get(column) {
                Some(byte) => *byte,
                None if column + 1 == 64 => b'\n',
                None => b'.',
            };
            assert_eq!(byte, expected, "at {index}");
        }
    }
}

#[test]
fn what_was_destroyed_meanwhile_is_a_gap_up_to_its_end() {
    /// For longer than it takes to kill a daemon, on a slow host too.
    const TICKS: u64 = 5000;
    let mut setup = Setup::new();
    run(&setup, "tick", "ticker.spt", &["--every=2", &format!("--count={TICKS}")]);
    let console = Follower::start(&setup, &["--format", "json", "attach", "tick"]);
    console.goes_on("the beginning");
    setup.house.take("vmm-console").unwrap().kill().unwrap();
    setup.wait_for("dev/tick", "exited");
    setup.client("admin", &["destroy", "tick"]).expect(0);
    setup.house.start_with("vmm-console", &[]).unwrap();
    let Console { texts, missing, start, end } = Console::joined(&console.rest());
    assert_eq!(start, 0);
    let all: Vec<String> = (1..=TICKS).map(|tick| format!("tick {tick}\n")).collect();
    let all = all.concat();
    assert_eq!(end, u64::try_from(all.len()).unwrap());
    assert!(missing > 0, "it was read to the end before vmm-console was killed");
    let there: String = texts.into_iter().map(|(_, text)| text).collect();
    assert!(all.starts_with(&there), "what there is comes before the gap");
}

/// A machine that is taken over by a new supervisor is watched like one that it started.
#[test]
fn statistics_of_a_machine_that_was_taken_over_go_on() {
    let mut setup = Setup::new();
    run(&setup, "tick", "ticker.spt", &["--every", "10"]);
    for name in ["vmmd", "vmm-stats"] {
        setup.house.take(name).unwrap().kill().unwrap();
    }
    for name in ["vmm-stats", "vmmd"] {
        setup.house.start_with(name, &[]).unwrap();
    }
    // Both times together: a kernel that counts ticks may never see a short sleeper in one of them.
    let newest = || -> Option<u64> {
        let done = setup.client("admin", &["--format", "json", "statistics", "tick"]);
        let rows = (done.code == Some(0)).then(|| done.json())?;
        let last = rows[0]["samples"].as_array()?.last()?;
        Some(last["user_us"].as_u64()? + last["system_us"].as_u64()?)
    };
    wait_until("a sample", || newest().is_some()).unwrap();
    let before = newest();
    wait_until("more of them", || newest() > before).unwrap();
}
