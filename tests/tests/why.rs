//! `why`: the same answer as the command itself would give, all of it, and nothing about others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use rustix::thread::sched_getaffinity;
use serde_json::{Value, json};
use vmm_tests::census::Census;
use vmm_tests::setup::{Done, Setup};

fn run<'a>(name: &'a str, memory: &'a str, cpu: &'a str) -> Vec<&'a str> {
    vec!["run", name, "ticker.spt", "--memory", memory, "--cpu", cpu]
}

/// `dev` (2 machines, 1024 MiB) with `alice` (2, 1024) and `quokka` (2, 1024) below it.
fn family() -> Setup {
    let setup = Setup::new();
    setup.subdelegate("dev", "alice", &["2", "1024", "--cpu", "0"]);
    setup.subdelegate("dev", "quokka", &["2", "1024", "--cpu", "0"]);
    setup
}

/// What `why` says in JSON, whatever the verdict.
#[track_caller]
fn why(setup: &Setup, who: &str, command: &[&str]) -> (Option<i32>, Value) {
    let done = setup.client(who, &[&["--format", "json", "why"], command].concat());
    (done.code, done.json())
}

#[test]
fn what_is_beside_shows_up_in_no_answer() {
    let setup = family();
    setup.client("quokka", &run("wombat", "777", "0")).expect(0);
    let mut said: Vec<Done> = Vec::new();
    for command in [
        run("one", "64", "0"),
        run("one", "300", "0"),
        run("one", "2000", "0"),
        run("one", "300", "3"),
        vec!["start", "one"],
    ] {
        for format in ["json", "table"] {
            said.push(
                setup.client("alice", &[&["--format", format, "why"], &command[..]].concat()),
            );
            said.push(setup.client("alice", &[&["--format", format], &command[..]].concat()));
        }
    }
    // The second place is taken, too: nothing fits any more.
    said.push(setup.client("alice", &run("two", "64", "0")));
    said.push(
        setup.client("alice", &["why", "run", "two", "ticker.spt", "--memory", "1", "--cpu", "0"]),
    );
    said.push(setup.client("alice", &["log"]));
    for done in &said {
        for word in ["quokka", "wombat"] {
            assert!(!done.out.contains(word) && !done.err.contains(word), "{done:?}");
        }
    }
    let (code, told) = why(&setup, "alice", &run("two", "300", "0"));
    assert_eq!(code, Some(3));
    let dev = &told["limits"][1];
    assert_eq!(dev["path"], "dev");
    let untold = |limit, asked, fits| json!({"limit": limit, "asked": asked, "used": null, "left": null, "fits": fits});
    assert_eq!(dev["machines"], untold(2, 1, false));
    assert_eq!(dev["memory_mib"], untold(1024, 300, false));
    assert_eq!(told["limits"][0]["machines"]["used"], Value::Null);
    let own = json!({"limit": 1024, "asked": 300, "used": 64, "left": 960, "fits": true});
    assert_eq!(told["limits"][2]["memory_mib"], own);
    let users: Vec<_> =
        told["users"].as_array().unwrap().iter().map(|user| &user["name"]).collect();
    assert_eq!(users, ["dev/alice/one"]);
    // Whoever speaks for dev is told.
    let (_, told) = why(&setup, "dev", &run("two", "300", "0"));
    let users: Vec<_> =
        told["users"].as_array().unwrap().iter().map(|user| &user["name"]).collect();
    assert_eq!(users, ["dev/quokka/wombat", "dev/alice/one"]);
    assert_eq!(told["limits"][1]["memory_mib"]["used"], 841);
}

#[test]
fn asking_gives_the_exit_code_and_the_words_of_the_command_itself() {
    let setup = Setup::new();
    setup.machine("dev", "own", &["ticker.spt", "64", "--cpu", "0"]);
    setup.leaf("dev", "looker", &["--permission", "info"]);
    setup.client("dev", &run("one", "64", "0")).expect(0);
    let too_small = ["run", "x", "ticker.spt", "--memory", "0", "--cpu", "0"];
    let network = [&run("net", "64", "0")[..], &["--network", "net=ext"]].concat();
    let volume = [&run("vol", "64", "0")[..], &["--volume", "disk=data"]].concat();
    let own = ["deploy", "--image", "ticker.spt"];
    for (who, command, code) in [
        ("admin", &run("two", "2000", "0")[..], 3),
        ("admin", &run("two", "64", "7"), 3),
        ("admin", &run("one", "64", "0"), 3),
        ("admin", &too_small, 2),
        ("admin", &network, 3),
        ("admin", &volume, 1),
        ("admin", &run("/other/x", "64", "0"), 3),
        ("admin", &run("below/x", "64", "0"), 3),
        ("looker", &run("two", "64", "0"), 3),
        ("admin", &["start", "one"], 3),
        ("admin", &["start", "nobody"], 4),
        ("admin", &["deploy"], 2),
        ("own", &run("two", "64", "0"), 3),
        ("own", &["start", "own"], 3),
        ("own", &own, 0),
    ] {
        let asked = setup.client(who, &[&["why"], command].concat());
        let done = setup.client(who, command);
        asked.expect(code);
        done.expect(code);
        // A verb is named where it is the verb that is refused.
        let words = |done: &Done| done.err.replace("why", "VERB").replace("deploy", "VERB");
        if !matches!((who, command[0]), ("own", "start" | "run")) {
            assert_eq!(words(&asked), words(&done), "{who} {command:?}");
        }
    }
}

/// Asking and doing are refused with the same words and this exit code.
#[track_caller]
fn assert_refused_alike(setup: &Setup, who: &str, command: &[&str], code: i32, because: &str) {
    let asked = setup.client(who, &[&["why"], command].concat());
    let done = setup.client(who, command);
    done.expect(code);
    asked.expect(code);
    assert_eq!(asked.err, done.err, "{who} {command:?}");
    assert!(done.err.contains(because), "{}", done.err);
}

#[test]
fn what_has_happened_to_a_host_refuses_who_asks_and_who_does_alike() {
    let mut setup = family();
    let refused = assert_refused_alike;
    let two_mib = std::fs::File::create(setup.file("large.spt")).unwrap();
    two_mib.set_len(2 << 20).unwrap();
    let large = ["run", "large", "large.spt", "--memory", "1", "--cpu", "0"];
    refused(&setup, "dev", &large, 3, "more than the 1 MiB of memory");

    setup.client("alice", &run("one", "64", "0")).expect(0);
    setup.client("admin", &["stop", "alice/one"]).expect(0);
    setup.ca(&["revoke", "dev.db", "dev.bundle", "dev.key", "alice"]).expect(0);
    setup.admin(&["revoke", "dev.crl"]).expect(0);
    refused(&setup, "alice", &run("two", "64", "0"), 3, "has been revoked");
    refused(&setup, "admin", &run("alice/two", "64", "0"), 3, "has been revoked");
    refused(&setup, "admin", &["start", "alice/one"], 3, "has been revoked");

    setup.client("dev", &run("one", "500", "0")).expect(0);
    for end in ["bundle", "key"] {
        let file = |name: &str| setup.file(&format!("{name}.{end}"));
        std::fs::copy(file("dev"), file("old")).unwrap();
    }
    std::fs::remove_file(setup.file("dev.req")).unwrap();
    let smaller = ["request", "delegation", "dev", "2", "400", "--cpu", "0", "--key", "dev.key"];
    setup.ca(&smaller).expect(0);
    let sign = ["sign", "ca.db", "cacert.pem", "ca.key", "dev.req", "--days", "10", "--renew"];
    setup.ca(&sign).expect(0);
    setup.leaf("dev", "keeper", &["--permission", "all"]);
    refused(&setup, "keeper", &run("two", "1", "0"), 3, "400 MiB");
    refused(&setup, "old", &run("two", "1", "0"), 3, "is outdated");
    setup.client("dev", &["destroy", "one"]).expect(0);

    setup.admin(&["host", "drain"]).expect(0);
    refused(&setup, "keeper", &run("two", "1", "0"), 1, "drained");
    setup.admin(&["host", "open"]).expect(0);
    setup.house.take("vmm-spawn").unwrap().stop().unwrap();
    refused(&setup, "keeper", &run("two", "1", "0"), 1, "vmm-spawn");
}

#[test]
fn everything_that_stands_in_the_way_is_listed_and_nothing_is_changed() {
    let setup = Setup::new();
    setup.client("dev", &run("one", "64", "0")).expect(0);
    setup.client("dev", &run("two", "64", "0")).expect(0);
    let before = (Census::of(&setup), setup.json("admin", &["quota"]));
    let command = [&run("three", "1000", "5")[..], &["--network", "net=ext"]].concat();
    let (code, told) = why(&setup, "admin", &command);
    assert_eq!((code, &told["accepted"]), (Some(3), &json!(false)));
    let codes: Vec<_> = told["obstacles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["code"].as_str().unwrap())
        .collect();
    // As vmmd counts them: a share of time is no matter.
    let host_has_cpu_5 = sched_getaffinity(None).unwrap().is_set(5);
    let mut expected = vec!["quota"; if host_has_cpu_5 { 5 } else { 6 }];
    expected.push("image");
    let what = "CPU, bridge, machines, memory; the host's CPUs, bridges; the image's devices";
    assert_eq!(codes, expected, "{what}: {told}");
    let (code, told) = why(
        &setup,
        "admin",
        &["run", "one", "ticker.spt", "--memory", "64", "--cpu", "0", "--replace"],
    );
    assert_eq!((code, &told["accepted"], &told["obstacles"]), (Some(0), &json!(true), &json!([])));
    assert_eq!(told["chain"][0]["path"], "dev");
    assert_eq!(told["chain"][0]["generation"], told["chain"][0]["newest"]);
    before.0.wait_for_again(&setup);
    assert_eq!(before.1, setup.json("admin", &["quota"]));
}

#[test]
fn a_machines_own_leaf_is_told_of_no_other_machine() {
    let setup = Setup::new();
    setup.machine("dev", "own", &["ticker.spt", "64", "--cpu", "0"]);
    setup.leaf("dev", "maker", &["--permission", "create"]);
    setup.client("dev", &run("wombat", "64", "0")).expect(0);
    setup.client("dev", &run("quokka", "64", "0")).expect(0);
    for done in [
        setup.client("own", &["why", "deploy"]),
        setup.client("own", &["--format", "json", "why", "deploy"]),
        setup.client("own", &["deploy", "--image", "ticker.spt"]),
        setup.client("maker", &run("three", "64", "0")),
    ] {
        done.expect(3);
        assert!(!done.out.contains("wombat") && !done.err.contains("wombat"), "{done:?}");
        assert!(done.err.contains("2 machines"), "{}", done.err);
    }
    let named = setup.client("admin", &run("three", "64", "0"));
    assert!(named.expect(3).err.contains("/dev/wombat (64 MiB)"), "{}", named.err);
    assert!(named.err.contains("chain: dev (2 machines, 1024 MiB)"), "{}", named.err);
    assert!(named.err.contains("vmm-client why"), "{}", named.err);
}
