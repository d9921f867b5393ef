//! Machines outlive every daemon, `vmm-spawn` included: they run on, and neither a byte of their
//! output nor their end is lost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use vmm_tests::follower::Follower;
use vmm_tests::setup::Setup;
use xtask::house::{Signal, signal, wait_until};

fn tick(setup: &Setup, name: &str) -> Value {
    let run = ["run", name, "ticker.spt", "--memory", "64", "--cpu", "0", "--", "--every", "10"];
    setup.client("dev", &run).expect(0);
    pid_of(setup, name)
}

fn pid_of(setup: &Setup, name: &str) -> Value {
    setup.json("admin", &["info", name])[0]["pid"].clone()
}

/// The lines are those from the first on, each once.
fn are_all(lines: &[String]) {
    for (number, line) in (1..).zip(lines) {
        assert_eq!(*line, format!("tick {number}"));
    }
}

fn kill(setup: &mut Setup, name: &str) {
    setup.house.take(name).unwrap().kill().unwrap();
}

#[test]
fn who_follows_a_console_notices_nothing_when_vmm_spawn_is_killed() {
    let mut setup = Setup::new();
    let pid = tick(&setup, "tick");
    let console = Follower::start(&setup, &["attach", "tick"]);
    console.goes_on("the beginning");
    for _ in 0..6 {
        kill(&mut setup, "vmm-spawn");
        setup.house.start_with("vmm-spawn", &[]).unwrap();
        console.goes_on("the output");
    }
    assert_eq!(pid_of(&setup, "tick"), pid);
    are_all(&console.lines());
    let all = setup.client("admin", &["attach", "tick", "--no-follow", "--count", "100000"]);
    are_all(&all.expect(0).out.lines().map(str::to_owned).collect::<Vec<_>>());
    setup.client("admin", &["destroy", "tick"]).expect(0);
    are_all(&console.rest());
}

#[test]
fn killed_together_vmm_spawn_and_vmm_console_find_the_machines_again() {
    let mut setup = Setup::new();
    let pids = ["one", "two"].map(|name| tick(&setup, name));
    for name in ["vmm-spawn", "vmm-console"] {
        kill(&mut setup, name);
    }
    for name in ["vmm-console", "vmm-spawn"] {
        setup.house.start_with(name, &[]).unwrap();
    }
    for (name, pid) in ["one", "two"].into_iter().zip(pids) {
        setup.wait_for(&format!("/dev/{name}"), "running");
        assert_eq!(pid_of(&setup, name), pid);
        let console = Follower::start(&setup, &["attach", name]);
        console.goes_on("the output");
        console.goes_on("the output");
        are_all(&console.lines());
        drop(console);
        setup.client("admin", &["destroy", name]).expect(0);
    }
}

#[test]
fn an_end_while_no_vmm_spawn_lives_is_told_as_unknown_with_all_that_was_printed() {
    let mut setup = Setup::new();
    let pid = tick(&setup, "tick");
    let console = Follower::start(&setup, &["attach", "tick"]);
    console.goes_on("the beginning");
    kill(&mut setup, "vmm-spawn");
    let number = u32::try_from(pid.as_u64().unwrap()).unwrap();
    signal(number, Signal::TERM).unwrap();
    let gone = || signal(number, Signal::CONT).is_err();
    wait_until("it ends", gone).unwrap();
    setup.house.start_with("vmm-spawn", &[]).unwrap();
    let ended = || setup.state("/dev/tick").is_some_and(|state| state != "running");
    wait_until("its end is known", ended).unwrap();
    let info = setup.json("admin", &["info", "tick"]);
    assert_eq!(info[0]["exit"], json!({"unknown": true}), "{info}");
    let lines = console.rest();
    are_all(&lines);
    let all = setup.client("admin", &["attach", "tick", "--no-follow", "--count", "100000"]);
    assert_eq!(all.expect(0).out.lines().count(), lines.len());
}
