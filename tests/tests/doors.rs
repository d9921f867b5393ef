//! Draining a host, replacing on probation, and an end that takes the machines along.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::json;
use vmm_tests::census::children;
use vmm_tests::setup::Setup;
use xtask::house::wait_until;

const TICK: [&str; 9] =
    ["run", "tick", "ticker.spt", "--memory", "64", "--cpu", "0", "--restart", "always"];

fn kinds(setup: &Setup, name: &str) -> Vec<String> {
    let events = setup.json("admin", &["log", name]);
    let kind = |event: &serde_json::Value| event["kind"].as_str().unwrap().to_owned();
    events.as_array().unwrap().iter().map(kind).collect()
}

#[test]
fn a_drained_host_takes_nothing_new_until_it_is_opened_also_after_a_restart() {
    let mut setup = Setup::new();
    setup.client("dev", &TICK).expect(0);
    setup.client("admin", &["host", "drain"]).expect(3);
    let drained = setup.admin(&["--format", "json", "host", "drain"]);
    assert_eq!(drained.expect(0).json(), json!({"draining": true, "live": 1}));
    let other = ["run", "other", "ticker.spt", "--memory", "64", "--cpu", "0"];
    assert!(setup.client("dev", &other).expect(1).err.contains("drain"));
    setup.house.take("vmmd").unwrap().kill().unwrap();
    setup.house.start_with("vmmd", &[]).unwrap();
    setup.wait_for("/dev/tick", "running");
    setup.client("dev", &other).expect(1);

    let command = ["--socket", "run/vmmd.sock", "host", "drain", "--wait"];
    let mut command = setup.house.command("vmm-client", &command);
    let waiting = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    setup.client("admin", &["destroy", "tick"]).expect(0);
    let done = waiting.wait_with_output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success() && said.ends_with("nothing is live\n"), "{said}");

    let opened = setup.admin(&["host", "open"]);
    assert_eq!(opened.expect(0).out, "the host takes new machines; nothing is live\n");
    setup.client("dev", &other).expect(0);
}

#[test]
fn a_machine_that_fails_on_probation_gives_its_place_back() {
    let setup = Setup::new();
    setup.client("dev", &TICK).expect(0);
    let first = setup.json("admin", &["info", "tick"])[0]["id"].clone();
    let failing = |more: &[&str]| {
        let run = ["run", "tick", "crasher.spt", "--memory", "64", "--cpu", "0", "--replace"];
        setup.client("dev", &[&run[..], more, &["--", "abort"]].concat())
    };
    let done = failing(&["--probation", "60"]);
    // It may be over before the answer is written.
    assert!(done.code == Some(0) || done.err.contains("on probation"), "{}", done.err);
    let back = || {
        let machine = setup.json("admin", &["info", "tick"])[0].clone();
        machine["id"] == first && machine["state"] == "running"
    };
    wait_until("the former machine", back).unwrap();
    let logged = || kinds(&setup, "tick").contains(&"rolled-back".to_owned());
    wait_until("that in the log", logged).unwrap();
    failing(&["--probation", "0"]).expect(0);
    setup.wait_for("/dev/tick", "exited");
    assert_ne!(setup.json("admin", &["info", "tick"])[0]["id"], first);
}

#[test]
fn info_names_the_machine_whose_place_is_taken_on_probation_as_long_as_it_may_come_back() {
    let setup = Setup::new();
    setup.client("dev", &TICK).expect(0);
    let seen = || setup.json("admin", &["info", "tick"])[0].clone();
    let first = seen();
    assert_eq!(first["former"], serde_json::Value::Null);
    setup.client("dev", &[&TICK[..], &["--replace", "--probation", "60"]].concat()).expect(0);
    let second = seen();
    assert_ne!(second["id"], first["id"]);
    assert_eq!(second["former"], first["id"]);
    setup.client("dev", &[&TICK[..], &["--replace", "--probation", "0"]].concat()).expect(0);
    assert_eq!(seen()["former"], serde_json::Value::Null);
}

#[test]
fn machines_end_with_a_supervisor_that_is_told_so_and_run_again_with_the_next() {
    let mut setup = Setup::with_share(&["2", "1024", "--cpu", "0"]).started(&["--stop-machines"]);
    setup.client("dev", &TICK).expect(0);
    let other = ["run", "other", "ticker.spt", "--memory", "64", "--cpu", "0"];
    setup.client("dev", &other).expect(0);
    setup.client("admin", &["stop", "other"]).expect(0);
    let spawn = setup.house.daemon("vmm-spawn").unwrap().pid();
    assert_eq!(children(spawn).len(), 1);
    setup.house.take("vmmd").unwrap().stop().unwrap();
    assert_eq!(children(spawn).len(), 0);
    setup.house.start_with("vmmd", &[]).unwrap();
    setup.wait_for("/dev/tick", "running");
    assert_eq!(setup.state("/dev/other").as_deref(), Some("stopped"));
}
