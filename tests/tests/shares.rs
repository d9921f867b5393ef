//! Shares of a host: what runs below a delegation fits it, at every depth, and nobody sees beside
//! or above their path.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::json;
use vmm_tests::setup::Setup;

fn run<'a>(name: &'a str, memory: &'a str) -> Vec<&'a str> {
    vec!["run", name, "ticker.spt", "--memory", memory, "--cpu", "0"]
}

/// `dev` (2 machines, 1024 MiB) with `alice` (2, 1024) and `bob` (2, 512) below it.
fn family() -> Setup {
    let setup = Setup::new();
    setup.subdelegate("dev", "alice", &["2", "1024", "--cpu", "0"]);
    setup.subdelegate("dev", "bob", &["2", "512", "--cpu", "0"]);
    setup
}

#[test]
fn a_machine_counts_at_every_delegation_above_it() {
    let setup = family();
    setup.client("alice", &run("one", "100")).expect(0);
    setup.client("bob", &run("one", "100")).expect(0);
    let refused = setup.client("alice", &run("two", "100"));
    let message = &refused.expect(3).err;
    assert!(message.contains("\"dev\"") && message.contains("2 machines"), "{message}");
    let quota = setup.json("dev", &["quota"]);
    assert_eq!(quota[0]["path"], json!("dev"));
    assert_eq!(quota[0]["machines"], json!({"limit": 2, "used": 2}));
    assert_eq!(quota[0]["memory_mib"], json!({"limit": 1024, "used": 200}));
    let below: Vec<_> = quota.as_array().unwrap().iter().map(|row| &row["path"]).collect();
    assert_eq!(below, ["dev", "dev/alice", "dev/bob"]);
}

#[test]
fn a_refusal_by_an_ancestor_does_not_tell_what_others_use() {
    let setup = family();
    setup.client("alice", &run("one", "777")).expect(0);
    let refused = setup.client("bob", &run("one", "300"));
    let message = &refused.expect(3).err;
    assert!(message.contains("1024"), "the ancestor's limit: {message}");
    assert!(!message.contains("777") && !message.contains("247"), "others' use: {message}");
    assert!(!message.contains("alice"), "{message}");
}

#[test]
fn nobody_sees_or_touches_what_is_beside_or_above_them() {
    let setup = family();
    setup.client("alice", &run("tick", "64")).expect(0);
    setup.client("dev", &run("top", "64")).expect(0);
    for verb in ["info", "stop", "destroy", "attach", "start", "restart", "detach"] {
        for name in ["/dev/alice/tick", "/dev/top", "/other/tick"] {
            let done = setup.client("bob", &[verb, name]);
            assert_eq!(done.code, Some(3), "{verb} {name}: {}", done.err);
        }
    }
    for name in ["/", "/dev/", "/dev/alice/"] {
        for verb in ["info", "statistics", "log"] {
            let done = setup.client("bob", &[verb, name]);
            assert_eq!(done.code, Some(3), "{verb} {name}: {}", done.err);
        }
    }
    assert_eq!(setup.json("bob", &["info"]), json!([]));
    let seen = setup.json("dev", &["info"]);
    let names: Vec<_> = seen.as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["dev/top", "dev/alice/tick"]);
    assert_eq!(setup.state("/dev/alice/tick").as_deref(), Some("running"));
}

#[test]
fn of_two_starts_of_the_last_free_place_exactly_one_wins() {
    let setup = Setup::without_daemons();
    setup.delegate("ca.db", "cacert.pem", "ca.key", "dev", &["1", "1024", "--cpu", "0"]);
    let setup = setup.started(&[]);
    for round in 0..5 {
        let names: Vec<String> = (0..6).map(|number| format!("m{round}-{number}")).collect();
        let starts: Vec<_> =
            names.iter().map(|name| setup.client_started("dev", &run(name, "64"))).collect();
        let codes: Vec<_> = starts
            .into_iter()
            .map(|start| start.wait_with_output().unwrap().status.code())
            .collect();
        let won: Vec<_> = (0..6).filter(|index| codes[*index] == Some(0)).collect();
        assert_eq!(won.len(), 1, "{codes:?}");
        assert!(codes.iter().all(|code| matches!(code, Some(0 | 3))), "{codes:?}");
        setup.client("dev", &["destroy", &names[won[0]]]).expect(0);
    }
}

#[test]
fn a_smaller_newer_delegation_rules_from_its_first_use_on() {
    let setup = Setup::new();
    setup.client("dev", &run("one", "500")).expect(0);
    for end in ["bundle", "key"] {
        std::fs::copy(setup.file(&format!("dev.{end}")), setup.file(&format!("old.{end}")))
            .unwrap();
    }
    std::fs::remove_file(setup.file("dev.req")).unwrap();
    let smaller = ["request", "delegation", "dev", "1", "400", "--cpu", "0", "--key", "dev.key"];
    setup.ca(&smaller).expect(0);
    let sign = ["sign", "ca.db", "cacert.pem", "ca.key", "dev.req", "--days", "10", "--renew"];
    setup.ca(&sign).expect(0);
    setup.client("old", &["info"]).expect(0);
    let quota = setup.json("dev", &["quota"]);
    assert_eq!(quota[0]["memory_mib"], json!({"limit": 400, "used": 500}));
    assert_eq!(setup.json("dev", &["info"])[0]["over_quota"], json!(true));
    assert_eq!(setup.state("/dev/one").as_deref(), Some("running"), "it keeps running");
    setup.client("dev", &run("two", "1")).expect(3);
    let stale = setup.client("old", &["info"]);
    assert!(stale.expect(3).err.contains("generation"), "{}", stale.err);
}

#[test]
fn a_larger_newer_delegation_gives_more_from_its_first_use_on() {
    let setup = Setup::new();
    setup.client("dev", &run("one", "1000")).expect(0);
    setup.client("dev", &run("two", "100")).expect(3);
    std::fs::remove_file(setup.file("dev.req")).unwrap();
    let larger = ["request", "delegation", "dev", "3", "1200", "--cpu", "0", "--key", "dev.key"];
    setup.ca(&larger).expect(0);
    let sign = ["sign", "ca.db", "cacert.pem", "ca.key", "dev.req", "--days", "10", "--renew"];
    setup.ca(&sign).expect(0);
    setup.client("dev", &run("two", "100")).expect(0);
    setup.client("dev", &run("three", "100")).expect(0);
    let quota = setup.json("dev", &["quota"]);
    assert_eq!(quota[0]["memory_mib"], json!({"limit": 1200, "used": 1200}));
    setup.client("dev", &run("four", "1")).expect(3);
    // The leaf was issued below the older certificate.
    let stale = setup.client("admin", &["info"]);
    assert!(stale.expect(3).err.contains("was seen here at"), "{}", stale.err);
}

#[test]
fn the_hosts_own_limits_hold_for_everyone() {
    let setup = Setup::without_daemons();
    setup.delegate("ca.db", "cacert.pem", "ca.key", "dev", &["9", "9000", "--cpu", "0,1"]);
    let limits = ["--host-machines", "2", "--host-memory", "200", "--host-cpus", "0"];
    let setup = setup.started(&limits);
    let refused = setup.client("dev", &run("big", "201"));
    assert!(refused.expect(3).err.contains("this host"), "{}", refused.err);
    let cpu = setup.client("dev", &["run", "cpu", "ticker.spt", "--memory", "1", "--cpu", "1"]);
    assert!(cpu.expect(3).err.contains("CPU 1"), "{}", cpu.err);
    setup.client("dev", &run("one", "50")).expect(0);
    setup.admin(&run("two", "50")).expect(0);
    setup.client("dev", &run("three", "50")).expect(3);
    setup.admin(&run("three", "50")).expect(3);
}
