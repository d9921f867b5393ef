//! What an issuer takes back is gone: sessions, machines, and whatever is tried with it later.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Read;
use std::process::Child;

use vmm_tests::census::Census;
use vmm_tests::setup::Setup;
use xtask::house::{Signal, signal, wait_until};

/// `dev` with two delegations below it, each with a leaf: `alice`, `a-admin`; `bob`, `b-admin`.
fn siblings() -> Setup {
    let setup = Setup::new();
    for (label, leaf) in [("alice", "a-admin"), ("bob", "b-admin")] {
        setup.subdelegate("dev", label, &["1", "256", "--cpu", "0"]);
        setup.leaf(label, leaf, &["--permission", "all"]);
    }
    setup
}

/// Runs a ticker as `who`, which is a delegation.
fn tick(setup: &Setup, who: &str, name: &str) {
    let run = ["run", name, "ticker.spt", "--memory", "64", "--cpu", "0", "--", "--every", "10"];
    setup.client(who, &run).expect(0);
}

/// Has `label` taken back by `issuer`, which writes `ISSUER.crl`.
fn take_back(setup: &Setup, issuer: &str, label: &str) {
    let [db, bundle, key] = ["db", "bundle", "key"].map(|end| format!("{issuer}.{end}"));
    setup.ca(&["revoke", &db, &bundle, &key, label]).expect(0);
}

/// A session that shows a console, once it has shown something.
fn attached(setup: &Setup, who: &str, name: &str) -> Child {
    let mut session = setup.client_started(who, &["attach", name]);
    session.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    session
}

#[test]
fn a_revoked_delegation_loses_its_sessions_and_its_machines_and_is_refused_ever_after() {
    let mut setup = siblings();
    tick(&setup, "alice", "tick");
    tick(&setup, "bob", "tick");
    let mut hers = attached(&setup, "a-admin", "tick");
    let mut his = attached(&setup, "b-admin", "tick");
    take_back(&setup, "dev", "alice");
    let done = setup.json("admin", &["revoke", "dev.crl"]);
    assert_eq!((&done["issuer"], &done["machines"]), (&"dev".into(), &1.into()));

    let machines = setup.json("admin", &["info"]);
    assert_eq!(machines[0]["name"], "dev/alice/tick");
    assert_eq!(machines[0]["state"], "revoked");
    assert_eq!(machines[0]["pid"], serde_json::Value::Null);
    assert_eq!(machines[1]["state"], "running");
    assert_eq!(hers.wait().unwrap().code(), Some(3));
    let mut why = String::new();
    hers.stderr.take().unwrap().read_to_string(&mut why).unwrap();
    assert!(why.contains("\"alice\"") && why.contains("revoked"), "{why}");
    assert!(his.try_wait().unwrap().is_none());

    let refused = |setup: &Setup| {
        let done = setup.client("a-admin", &["info"]);
        assert!(done.expect(3).err.contains("has been revoked by its issuer"), "{}", done.err);
        let run = ["run", "again", "hello.spt", "--memory", "64", "--cpu", "0"];
        setup.client("alice", &run).expect(3);
        setup.client("b-admin", &["info"]).expect(0);
    };
    refused(&setup);
    setup.client("admin", &["start", "alice/tick"]).expect(3);
    // Also by a supervisor that was killed and comes back.
    his.kill().unwrap();
    his.wait().unwrap();
    setup.house.take("vmmd").unwrap().kill().unwrap();
    setup.house.start_with("vmmd", &[]).unwrap();
    refused(&setup);
    let again = setup.client("admin", &["revoke", "dev.crl"]);
    assert!(again.expect(3).err.contains("known already"), "{}", again.err);
}

#[test]
fn a_revoked_leaf_ends_its_machine_or_its_sessions_and_nothing_else() {
    let setup = Setup::new();
    setup.machine("dev", "own", &["ticker.spt", "64", "--cpu", "0"]);
    setup.client("own", &["deploy", "--image", "ticker.spt"]).expect(0);
    setup.leaf("dev", "maker", &["--permission", "create", "--permission", "info"]);
    let run = ["run", "made", "ticker.spt", "--memory", "64", "--cpu", "0"];
    setup.client("maker", &run).expect(0);
    take_back(&setup, "dev", "maker");
    setup.admin(&["revoke", "dev.crl"]).expect(0);
    setup.client("maker", &["info"]).expect(3);
    assert_eq!(setup.state("/dev/made").as_deref(), Some("running"));
    take_back(&setup, "dev", "own");
    setup.admin(&["revoke", "dev.crl"]).expect(0);
    assert_eq!(setup.state("/dev/own").as_deref(), Some("revoked"));
    assert_eq!(setup.state("/dev/made").as_deref(), Some("running"));
    setup.client("own", &["deploy"]).expect(3);
    setup.client("admin", &["info"]).expect(0);
}

#[test]
fn only_who_may_revoke_can_hand_in_a_list_whosever_it_is() {
    let setup = siblings();
    let before = Census::of(&setup);
    take_back(&setup, "dev", "alice");
    setup.leaf("bob", "reader", &["--permission", "info"]);
    setup.client("reader", &["revoke", "dev.crl"]).expect(3);
    setup.client("a-admin", &["info"]).expect(0);
    // A list is its issuer's word, whoever carries it.
    setup.leaf("bob", "carrier", &["--permission", "revoke"]);
    let done = setup.client("carrier", &["revoke", "dev.crl"]);
    assert!(done.expect(0).out.contains("1 certificate revoked, 0 machines below you"));
    setup.client("a-admin", &["info"]).expect(3);
    before.wait_for_again(&setup);
}

#[test]
fn an_older_list_is_refused_and_the_newer_one_stays_in_force() {
    let setup = siblings();
    take_back(&setup, "dev", "alice");
    std::fs::rename(setup.file("dev.crl"), setup.file("older.crl")).unwrap();
    take_back(&setup, "dev", "bob");
    setup.admin(&["revoke", "dev.crl"]).expect(0);
    let older = setup.admin(&["revoke", "older.crl"]);
    assert!(older.expect(3).err.contains("must be larger"), "{}", older.err);
    setup.client("a-admin", &["info"]).expect(3);
    setup.client("b-admin", &["info"]).expect(3);
    let told = || setup.admin(&["log"]).expect(0).out.contains("list");
    wait_until("that in the log", told).unwrap();
}

#[test]
fn lists_in_the_hosts_own_directory_count_from_the_start_and_on_a_hangup() {
    let mut setup = siblings();
    for who in ["alice", "bob"] {
        tick(&setup, who, "tick");
    }
    take_back(&setup, "dev", "alice");
    setup.house.take("vmmd").unwrap().stop().unwrap();
    let crls = setup.file("crls");
    std::fs::create_dir(&crls).unwrap();
    std::fs::rename(setup.file("dev.crl"), crls.join("dev.crl")).unwrap();
    std::fs::write(crls.join("broken.crl"), "not a list").unwrap();
    setup.house.start_with("vmmd", &["--crls", "crls"]).unwrap();
    setup.client("a-admin", &["info"]).expect(3);
    setup.client("b-admin", &["info"]).expect(0);
    setup.wait_for("/dev/alice/tick", "revoked");
    setup.wait_for("/dev/bob/tick", "running");
    let told = || setup.admin(&["log"]).expect(0).out.contains("broken.crl");
    wait_until("that in the log", told).unwrap();

    take_back(&setup, "dev", "bob");
    std::fs::rename(setup.file("dev.crl"), crls.join("dev.crl")).unwrap();
    signal(setup.house.daemon("vmmd").unwrap().pid(), Signal::HUP).unwrap();
    wait_until("bob is refused", || setup.client("b-admin", &["info"]).code == Some(3)).unwrap();
    setup.wait_for("/dev/bob/tick", "revoked");
}

#[test]
fn a_client_refuses_a_server_that_the_root_has_taken_back() {
    let setup = Setup::new();
    let info = |crl: &str| setup.client("admin", &["--crl", crl, "info"]);
    setup.ca(&["revoke", "ca.db", "cacert.pem", "ca.key", "dev"]).expect(0);
    info("ca.crl").expect(0);
    setup.ca(&["revoke", "ca.db", "cacert.pem", "ca.key", "server.pem"]).expect(0);
    let refused = info("ca.crl");
    assert!(refused.expect(5).err.contains("revocation list"), "{}", refused.err);
    take_back(&setup, "dev", "admin");
    assert!(info("dev.crl").expect(2).err.contains("the root's own"));
}

#[test]
fn a_smaller_share_stays_small_when_the_supervisor_comes_back() {
    let mut setup = Setup::new();
    std::fs::copy(setup.file("dev.bundle"), setup.file("large.bundle")).unwrap();
    std::fs::copy(setup.file("dev.key"), setup.file("large.key")).unwrap();
    // The same label again: `dev`, with less.
    std::fs::rename(setup.file("dev.key"), setup.file("former.key")).unwrap();
    std::fs::remove_file(setup.file("dev.req")).unwrap();
    setup.ca(&["request", "delegation", "dev", "1", "64", "--cpu", "0"]).expect(0);
    let sign = ["sign", "ca.db", "cacert.pem", "ca.key", "dev.req", "--days", "10", "--renew"];
    setup.ca(&sign).expect(0);
    let run = |memory| ["run", "hello", "hello.spt", "--memory", memory, "--cpu", "0"];
    setup.client("dev", &run("65")).expect(3);
    let outdated = |setup: &Setup| {
        let done = setup.client("large", &run("65"));
        assert!(done.expect(3).err.contains("outdated"), "{}", done.err);
    };
    outdated(&setup);
    setup.house.take("vmmd").unwrap().kill().unwrap();
    setup.house.start_with("vmmd", &[]).unwrap();
    outdated(&setup);
    setup.client("dev", &run("64")).expect(0);
}
