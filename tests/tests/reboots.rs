//! A host that loses its power: what of its machines the next boot starts again, and in which order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use vmm_testkit::skipped;
use vmm_tests::forge::Forge;
use vmm_tests::forge::times::Time;
use vmm_tests::reboot;
use vmm_tests::setup::Setup;
use xtask::house::wait_until;

/// How many machines are started at a time after a reboot (`BOOT_AT_ONCE` of the engine).
const AT_ONCE: usize = 8;

/// How many machines are watched for their order: those that have to wait are as many as those that
/// have not.
const MANY: usize = 2 * AT_ONCE;

/// Seconds that the delegation `short` is valid: long enough for the deploys before the end.
const SHORT_S: i64 = 30;

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A host in its first boot, with a leaf `host` for all of it, and `short`, which speaks for a
/// delegation of that name until the returned second.
fn booted(vmmd: &[&str]) -> Option<(Setup, i64)> {
    if !rustix::process::geteuid().is_root() {
        skipped("reboots: only root can have another boot_id in a mount namespace");
        return None;
    }
    let setup = Setup::with_programs(reboot::programs).with_forged_root();
    reboot::is_boot(&setup, 1);
    let setup = setup.started(vmmd);
    let end = now_s() + SHORT_S;
    let short = Forge::root("ca root").delegation("short", |it| it.not_after = Time::unix(end));
    for (label, above) in [("host", Forge::root("ca root")), ("short", short)] {
        let leaf = above.permissions(label, &[0], |_| {}).sign();
        std::fs::write(setup.file(&format!("{label}.bundle")), leaf.chain_pem()).unwrap();
        std::fs::write(setup.file(&format!("{label}.key")), leaf.key_pem()).unwrap();
    }
    Some((setup, end))
}

fn run(setup: &Setup, who: &str, name: &str, more: &[&str]) {
    let run = ["run", name, "ticker.spt", "--memory", "8", "--cpu", "0"];
    setup.client(who, &[&run[..], more].concat()).expect(0);
}

/// All events of the host; none while the log cannot be read.
fn events(setup: &Setup) -> Vec<Value> {
    let log = setup.admin(&["--format", "json", "log"]);
    if log.code != Some(0) {
        return Vec::new();
    }
    log.json().as_array().unwrap().clone()
}

/// The machines that have an event of this kind, in its order.
fn with(events: &[Value], kind: &str) -> Vec<String> {
    let those = events.iter().filter(|event| event["kind"] == kind);
    those.map(|event| event["machine"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn after_a_reboot_what_should_run_runs_again_by_priority_and_nothing_else() {
    let Some((mut setup, _)) = booted(&[]) else { return };
    // The names are in the opposite order of the priorities.
    let names: Vec<String> = (0..MANY).rev().map(|number| format!("m{number:02}")).collect();
    for (priority, name) in names.iter().enumerate() {
        run(&setup, "host", name, &["--priority", &priority.to_string()]);
    }
    run(&setup, "host", "stopped", &["--priority", "0"]);
    setup.client("host", &["stop", "stopped"]).expect(0);
    let ended = ["run", "ended", "hello.spt", "--memory", "8", "--cpu", "0"];
    setup.client("host", &ended).expect(0);
    setup.wait_for("/ended", "exited");
    wait_until("the log", || with(&events(&setup), "exited").contains(&"ended".into())).unwrap();
    let before = events(&setup).len();
    reboot::lose_power(&mut setup);

    reboot::is_boot(&setup, 2);
    let setup = setup.started(&[]);
    for name in &names {
        setup.wait_for(&format!("/{name}"), "running");
    }
    let since = || with(events(&setup).get(before..).unwrap_or_default(), "started");
    wait_until("the log", || since().len() >= MANY).unwrap();
    let started = since();
    let mut sorted = started.clone();
    sorted.sort_unstable_by(|one, other| other.cmp(one));
    assert_eq!(sorted, names, "each once, and no other one");
    for (rank, name) in names.iter().enumerate() {
        let place = started.iter().position(|it| it == name).unwrap();
        assert!(place + AT_ONCE > rank, "{name} did not wait for its turn: {started:?}");
    }
    for row in setup.admin(&["--format", "json", "info"]).expect(0).json().as_array().unwrap() {
        let state = match row["name"].as_str().unwrap() {
            "stopped" => "stopped",
            "ended" => "exited",
            _ => "running",
        };
        assert_eq!(row["state"], state, "{row}");
        assert_eq!(row["restarts"], 0, "a reboot is no failure of its own: {row}");
    }
}

/// A machine whose delegation expires while the host is down, and its state in the next boot.
fn expired_while_down(on_expiry: &str, state: &str) -> Option<Setup> {
    let (mut setup, end) = booted(&["--on-expiry", on_expiry])?;
    run(&setup, "short", "tick", &[]);
    run(&setup, "host", "other", &[]);
    reboot::lose_power(&mut setup);
    wait_until("the delegation has expired", || now_s() > end).unwrap();
    reboot::is_boot(&setup, 2);
    let setup = setup.started(&["--on-expiry", on_expiry]);
    setup.wait_for("/other", "running");
    setup.wait_for("/short/tick", state);
    // By whoever comes, nothing new is deployed there.
    let run = |name| ["run", name, "hello.spt", "--memory", "8", "--cpu", "0"];
    for (who, name) in [("short", "new"), ("host", "/short/new")] {
        let refused = setup.client(who, &run(name));
        assert!(refused.expect(3).err.to_lowercase().contains("expired"), "{}", refused.err);
    }
    Some(setup)
}

#[test]
fn what_ran_is_started_after_a_reboot_though_its_delegation_has_expired_but_nothing_new() {
    let Some(setup) = expired_while_down("keep", "running") else { return };
    setup.client("host", &["stop", "/short/tick"]).expect(0);
    let refused = setup.client("host", &["start", "/short/tick"]);
    assert!(refused.expect(3).err.contains("expired"), "{}", refused.err);
}

#[test]
fn a_host_that_wants_that_starts_nothing_whose_delegation_has_expired() {
    let Some(setup) = expired_while_down("stop", "stopped") else { return };
    let row = setup.admin(&["--format", "json", "info", "/short/tick"]).expect(0).json();
    assert_eq!(row[0]["pid"], Value::Null);
    let all = events(&setup);
    let started = with(&all, "started");
    assert_eq!(started.iter().filter(|name| *name == "short/tick").count(), 1, "{all:?}");
}
