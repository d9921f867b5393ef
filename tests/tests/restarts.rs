//! Daemons that are killed, stopped and started again: what that does to everyone else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use serde_json::json;
use vmm_tests::setup::Setup;
use xtask::house::{DAEMONS, House, Signal, signal, wait_until};

fn tick(setup: &Setup) {
    tick_with(setup, &[]);
}

fn tick_with(setup: &Setup, options: &[&str]) {
    let run = ["run", "tick", "ticker.spt", "--memory", "64", "--cpu", "0"];
    setup.client("dev", &[&run[..], options, &["--", "--every", "10"]].concat()).expect(0);
}

fn pid_of(setup: &Setup, name: &str) -> serde_json::Value {
    setup.json("admin", &["info", name])[0]["pid"].clone()
}

/// The numbers of all lines of `tick`.
fn numbers(setup: &Setup) -> Vec<u64> {
    let done = setup.client("admin", &["attach", "tick", "--no-follow", "--count", "100000"]);
    let number = |line: &str| line.strip_prefix("tick ").unwrap().parse().unwrap();
    done.expect(0).out.lines().map(number).collect()
}

fn stopped(house: &House, name: &str, while_stopped: impl FnOnce()) {
    let pid = house.daemon(name).unwrap().pid();
    signal(pid, Signal::STOP).unwrap();
    while_stopped();
    signal(pid, Signal::CONT).unwrap();
}

#[test]
fn the_daemons_may_be_started_in_any_order() {
    let mut setup = Setup::with_share(&["2", "1024", "--cpu", "0"]);
    for name in DAEMONS.into_iter().rev() {
        setup.house.start_with(name, &[]).unwrap();
    }
    let run = ["run", "hello", "hello.spt", "--memory", "64", "--cpu", "0", "--attach"];
    wait_until("all daemons know each other", || {
        let done = setup.client("dev", &[&run[..], &["--replace"]].concat());
        done.code == Some(0) && done.out.contains("Hello from hello")
    })
    .unwrap();
}

#[test]
fn a_killed_console_daemon_comes_back_with_the_history() {
    let mut setup = Setup::new();
    tick(&setup);
    let before = pid_of(&setup, "tick");
    wait_until("some output", || numbers(&setup).len() > 10).unwrap();
    setup.house.take("vmm-console").unwrap().kill().unwrap();
    let refused = setup.client("admin", &["attach", "tick", "--no-follow"]);
    assert!(refused.expect(1).err.contains("vmm-console"), "{}", refused.err);
    setup.house.start_with("vmm-console", &[]).unwrap();
    let seen = numbers(&setup);
    let expected: Vec<u64> = (1..=seen.len() as u64).collect();
    assert_eq!(seen, expected, "all of it, in order, once");
    assert_eq!(pid_of(&setup, "tick"), before);
}

/// The events of a machine as the log has them; none while it cannot be read.
fn events_of(setup: &Setup, name: &str) -> Vec<serde_json::Value> {
    let log = setup.client("admin", &["--format", "json", "log", name]);
    if log.code != Some(0) {
        return Vec::new();
    }
    log.json().as_array().unwrap().clone()
}

fn kinds(events: &[serde_json::Value]) -> Vec<&str> {
    events.iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

#[test]
fn events_wait_for_a_log_daemon_that_was_killed_also_when_the_supervisor_is_killed_too() {
    let mut setup = Setup::new();
    setup.house.take("vmm-log").unwrap().kill().unwrap();
    tick(&setup);
    setup.client("admin", &["destroy", "tick"]).expect(0);
    setup.house.take("vmmd").unwrap().kill().unwrap();
    setup.house.start_with("vmmd", &[]).unwrap();
    setup.house.start_with("vmm-log", &[]).unwrap();
    let done = || kinds(&events_of(&setup, "tick")).contains(&"destroyed");
    wait_until("the events", done).unwrap();
    let events = events_of(&setup, "tick");
    assert_eq!(kinds(&events), ["deployed", "started", "stopping", "exited", "destroyed"]);
    // All of the journal's numbers are there, once: of both runs, and whoever sent them twice.
    let all = std::fs::read_to_string(setup.file("run/log/events.jsonl")).unwrap();
    let all = all.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let numbers: Vec<_> = all.map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let verified = setup.house.run("vmm-log", &["--verify", "--dir", "run"]).unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn hung_daemons_degrade_their_own_feature_and_nothing_else() {
    let setup = Setup::new();
    for name in ["vmm-stats", "vmm-log", "vmm-console"] {
        stopped(&setup.house, name, || {
            // Once in a while the host itself may pause.
            let held_up = (0..3).all(|_| {
                let begun = Instant::now();
                tick_with(&setup, &["--replace"]);
                setup.client("admin", &["info"]).expect(0);
                setup.client("admin", &["quota"]).expect(0);
                begun.elapsed() > Duration::from_secs(10)
            });
            assert!(!held_up, "{name} held up others");
            let own = match name {
                "vmm-stats" => "statistics",
                "vmm-log" => "log",
                _ => "attach",
            };
            let refused = setup.client("admin", &[own, "tick"]);
            assert!(refused.expect(1).err.contains(name), "{}", refused.err);
            setup.client("admin", &["destroy", "tick"]).expect(0);
        });
    }
}

#[test]
fn a_hung_spawn_is_treated_like_a_dead_one() {
    let setup = Setup::new();
    tick(&setup);
    // What is in the pipe stays there while vmm-spawn is stopped.
    wait_until("its first number", || !numbers(&setup).is_empty()).unwrap();
    stopped(&setup.house, "vmm-spawn", || {
        let run = ["run", "hello", "hello.spt", "--memory", "64", "--cpu", "0"];
        // The first has it found out, and each gets an answer.
        for _ in 0..2 {
            let refused = setup.client("dev", &run);
            assert_ne!(refused.code, Some(0));
            assert!(refused.err.contains("vmm-spawn"), "{}", refused.err);
        }
        for verb in ["info", "statistics", "log"] {
            setup.client("admin", &[verb, "tick"]).expect(0);
        }
        setup.client("admin", &["quota"]).expect(0);
        assert!(!numbers(&setup).is_empty());
        let stop = setup.client("admin", &["stop", "tick"]);
        assert!(stop.expect(1).err.contains("done when it is back"), "{}", stop.err);
    });
    setup.wait_for("dev/tick", "stopped");
    let run = ["run", "hello", "hello.spt", "--memory", "64", "--cpu", "0", "--replace"];
    wait_until("vmm-spawn", || setup.client("dev", &run).code == Some(0)).unwrap();
}

#[test]
fn a_hung_supervisor_holds_up_no_machine_and_learns_of_what_happened_when_it_goes_on() {
    let setup = Setup::new();
    tick(&setup);
    // It ends by itself some seconds later, when everybody has long noticed that nobody answers.
    let run = ["run", "short", "ticker.spt", "--memory", "64", "--cpu", "0", "--restart"];
    let six_seconds = ["on-failure", "--", "--every=60", "--count=100"];
    setup.client("dev", &[&run[..], &six_seconds].concat()).expect(0);
    let (pid, own) = (pid_of(&setup, "tick"), pid_of(&setup, "short"));
    let runs = |pid: &serde_json::Value| std::fs::exists(format!("/proc/{pid}")).unwrap();
    let before = numbers(&setup).len();
    stopped(&setup.house, "vmmd", || {
        wait_until("the end of the short one", || !runs(&own)).unwrap();
        assert!(runs(&pid));
    });
    setup.wait_for("dev/short", "exited");
    wait_until("its end in the log", || kinds(&events_of(&setup, "short")).contains(&"exited"))
        .unwrap();
    assert_eq!(kinds(&events_of(&setup, "short")), ["deployed", "started", "exited"]);
    assert_eq!(pid_of(&setup, "tick"), pid);
    assert_eq!(kinds(&events_of(&setup, "tick")), ["deployed", "started"]);
    let seen = numbers(&setup);
    let first = seen[0];
    assert!(seen.len() > before + 50, "its output went on: {} and {before}", seen.len());
    assert_eq!(seen, (first..first + seen.len() as u64).collect::<Vec<_>>());
    let done = setup.client("admin", &["attach", "short", "--no-follow", "--count", "1000"]);
    assert_eq!(done.expect(0).out.lines().count(), 100);
    // Everything that a start takes is there again.
    setup.client("admin", &["destroy", "tick"]).expect(0);
    tick(&setup);
}

#[test]
fn a_new_supervisor_goes_on_with_what_runs_and_ends_what_nobody_owns() {
    let mut setup = Setup::new();
    tick(&setup);
    let pid = pid_of(&setup, "tick");
    let runs = || std::path::Path::new(&format!("/proc/{pid}")).exists();
    for _ in 0..3 {
        setup.house.take("vmmd").unwrap().kill().unwrap();
        setup.house.start_with("vmmd", &[]).unwrap();
        assert_eq!(pid_of(&setup, "tick"), pid);
    }
    let started = || kinds(&events_of(&setup, "tick")).contains(&"started");
    wait_until("its start in the log", started).unwrap();
    assert_eq!(kinds(&events_of(&setup, "tick")), ["deployed", "started"]);
    setup.client("admin", &["restart", "tick"]).expect(0);
    assert!(!runs());

    let pid = pid_of(&setup, "tick");
    let runs = || std::path::Path::new(&format!("/proc/{pid}")).exists();
    setup.house.take("vmmd").unwrap().kill().unwrap();
    std::fs::remove_file(setup.file("run/vmmd/journal.redb")).unwrap();
    assert!(runs(), "machines do not end with vmmd");
    setup.house.start_with("vmmd", &[]).unwrap();
    wait_until("the sweep", || !runs()).unwrap();
    assert_eq!(setup.json("admin", &["info"]), json!([]));
    tick(&setup);
}

#[test]
fn machines_that_end_with_the_supervisor_are_started_by_the_next_if_they_should_run() {
    let mut setup = Setup::new();
    let other = ["run", "other", "ticker.spt", "--memory", "64", "--cpu", "0"];
    setup.client("dev", &other).expect(0);
    setup.client("admin", &["stop", "other"]).expect(0);
    tick(&setup);
    let before = pid_of(&setup, "tick");
    let runs = || std::path::Path::new(&format!("/proc/{before}")).exists();
    setup.house.take("vmmd").unwrap().stop().unwrap();
    assert!(runs(), "without the option they run on");
    setup.house.start_with("vmmd", &["--stop-machines"]).unwrap();
    wait_until("the machine", || setup.state("dev/tick").as_deref() == Some("running")).unwrap();
    assert_eq!(pid_of(&setup, "tick"), before);
    setup.house.take("vmmd").unwrap().stop().unwrap();
    assert!(!runs(), "it was ended before vmmd did");

    setup.house.start_with("vmmd", &[]).unwrap();
    setup.wait_for("dev/tick", "running");
    assert_ne!(pid_of(&setup, "tick"), before);
    assert_eq!(setup.state("dev/other").as_deref(), Some("stopped"));
}

#[test]
fn without_spawn_a_deploy_is_refused_and_says_why() {
    let mut setup = Setup::new();
    setup.house.take("vmm-spawn").unwrap().stop().unwrap();
    let run = ["run", "tick", "ticker.spt", "--memory", "64", "--cpu", "0"];
    let refused = setup.client("dev", &run);
    assert!(refused.expect(1).err.contains("vmm-spawn"), "{}", refused.err);
    setup.house.start_with("vmm-spawn", &[]).unwrap();
    tick(&setup);
}

#[test]
fn every_daemon_ends_when_asked_and_is_only_once_there() {
    let mut setup = Setup::new();
    for name in DAEMONS {
        let arguments = setup.house.arguments(name);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let second = setup.house.run(name, &arguments).unwrap();
        assert_eq!(second.status.code(), Some(1), "{name}");
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(said.contains("another"), "{name}: {said}");
    }
    tick(&setup);
    setup.house.stop().unwrap();
    let left: Vec<_> = std::fs::read_dir(setup.file("run"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}
