//! Machines, from a leaf to their end, over every kind of image that this host runs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read};

use serde_json::{Value, json};
use vmm_tests::census::Census;
use vmm_tests::setup::{Setup, kinds};
use xtask::house::wait_until;

/// `--memory 64 --cpu 0` and an image.
fn small<'a>(name: &'a str, image: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["run", name, image, "--memory", "64", "--cpu", "0"], more].concat()
}

#[test]
fn a_machine_leaf_deploys_its_machine_and_sees_its_console() {
    for kind in kinds() {
        let setup = Setup::new();
        let image = format!("hello.{kind}");
        let machine = [image.as_str(), "512", "--cpu", "0", "--", "--name=you", "one", "two"];
        setup.machine("dev", "hello", &machine);
        let before = Census::of(&setup);

        let done = setup.client("hello", &["deploy", "--image", &image, "--attach"]);
        done.expect(0);
        assert!(done.out.contains("Hello from you\n"), "{kind}: {}", done.out);
        assert!(done.out.contains("one") && done.out.contains("two"), "{}", done.out);

        let info = setup.json("hello", &["info"]);
        let machine = &info[0];
        assert_eq!(info.as_array().unwrap().len(), 1);
        for (field, value) in [
            ("name", json!("dev/hello")),
            ("state", json!("exited")),
            ("pid", Value::Null),
            ("kind", json!(kind)),
            ("memory_mib", json!(512)),
            ("cpus", json!([0])),
            ("restarts", json!(0)),
            ("exit", json!({"code": 0})),
            ("reason", Value::Null),
            ("over_quota", json!(false)),
            ("networks", json!([])),
            ("volumes", json!([])),
        ] {
            assert_eq!(machine[field], value, "{field}");
        }
        // Only root can give machines user ids of their own.
        let missing = machine["jail"].as_array().unwrap();
        let user = missing.iter().any(|it| it.as_str().unwrap().starts_with("no user id"));
        assert!(user || rustix::process::geteuid().is_root(), "what is missing is named");
        let attach = ["attach", "hello", "--no-follow"];
        assert!(setup.client("hello", &attach).expect(0).out.contains("Hello from you\n"));

        setup.client("hello", &["destroy", "hello"]).expect(3);
        setup.client("admin", &["destroy", "hello"]).expect(0);
        setup.client("admin", &["info", "hello"]).expect(4);
        before.wait_for_again(&setup);
    }
}

#[test]
fn an_embedded_image_needs_no_upload() {
    let setup = Setup::new();
    setup.machine("dev", "hello", &["hello.spt", "64", "--cpu", "0", "--embed"]);
    let done = setup.client("hello", &["deploy", "--attach"]);
    assert!(done.expect(0).out.contains("Hello from hello\n"), "{}", done.out);
    // Its path has the image now, also for who names it by digest; a path below has not.
    setup.machine("dev", "again", &["hello.spt", "64", "--cpu", "0"]);
    setup.client("again", &["deploy"]).expect(0);
    setup.subdelegate("dev", "alice", &["1", "64", "--cpu", "0"]);
    setup.machine("alice", "below", &["hello.spt", "64", "--cpu", "0"]);
    let asked = setup.client("below", &["deploy"]);
    assert!(asked.expect(2).err.contains("--image FILE"), "{}", asked.err);
    setup.client("below", &["deploy", "--image", "hello.spt"]).expect(0);
}

#[test]
fn the_exit_of_a_guest_is_told_and_is_not_the_exit_of_the_client() {
    for kind in kinds() {
        let setup = Setup::new();
        let image = format!("hello.{kind}");
        let run = small("seven", &image, &["--attach", "--", "--exit=7"]);
        setup.client("dev", &run).expect(0);
        assert_eq!(setup.json("admin", &["info", "seven"])[0]["exit"], json!({"code": 7}));
    }
}

#[test]
fn a_machine_is_stopped_started_restarted_and_destroyed() {
    for kind in kinds() {
        let setup = Setup::new();
        let before = Census::of(&setup);
        let image = format!("ticker.{kind}");
        setup.client("dev", &small("tick", &image, &["--", "--every", "20"])).expect(0);
        let first = setup.json("admin", &["info", "tick"])[0].clone();
        assert_eq!(first["state"], json!("running"));

        setup.client("admin", &["stop", "tick"]).expect(0);
        assert_eq!(setup.state("/dev/tick").as_deref(), Some("stopped"));
        setup.client("admin", &["start", "tick"]).expect(0);
        let second = setup.json("admin", &["info", "tick"])[0].clone();
        assert_eq!((&second["state"], &second["id"]), (&json!("running"), &first["id"]));
        assert_ne!(second["pid"], first["pid"]);

        setup.client("admin", &["restart", "tick"]).expect(0);
        let third = setup.json("admin", &["info", "tick"])[0].clone();
        assert_ne!(third["pid"], second["pid"]);

        setup.client("admin", &["destroy", "tick"]).expect(0);
        assert_eq!(setup.state("/dev/tick"), None);
        before.wait_for_again(&setup);
    }
}

#[test]
fn a_console_has_history_and_goes_on_for_many_readers_until_they_are_detached() {
    for kind in kinds() {
        let setup = Setup::new();
        let image = format!("ticker.{kind}");
        setup.client("dev", &small("tick", &image, &["--", "--every", "10"])).expect(0);
        let attach = ["attach", "tick"];
        let mut readers: Vec<_> = (0..3).map(|_| setup.client_started("admin", &attach)).collect();
        for reader in &mut readers {
            let mut lines = BufReader::new(reader.stdout.as_mut().unwrap()).lines();
            for number in 1..=20 {
                assert_eq!(lines.next().unwrap().unwrap(), format!("tick {number}"));
            }
        }
        setup.client("admin", &["detach", "tick"]).expect(0);
        for mut reader in readers {
            reader.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
            assert!(reader.wait().unwrap().success());
        }
        let last = setup.client("admin", &["attach", "tick", "--no-follow", "--count", "3"]);
        let numbers: Vec<u32> = last.expect(0).out.lines().map(number).collect();
        assert!(numbers.len() == 3 && numbers.is_sorted(), "{}", last.out);
        assert!(numbers[0] > 17, "the last lines, not the first: {numbers:?}");
        setup.client("admin", &["attach", "tick", "--no-follow", "--since", "1h"]).expect(0);
    }
}

/// The number of a line of `ticker`.
fn number(line: &str) -> u32 {
    line.strip_prefix("tick ").unwrap_or_else(|| panic!("\"{line}\"")).parse().unwrap()
}

#[test]
fn a_guest_that_writes_without_end_holds_up_nobody() {
    for kind in kinds() {
        let setup = Setup::new();
        let image = format!("chatter.{kind}");
        setup.client("dev", &small("chatter", &image, &[])).expect(0);
        setup.client("admin", &["info"]).expect(0);
        let done = setup.client("dev", &small("hello", &format!("hello.{kind}"), &["--attach"]));
        assert!(done.expect(0).out.contains("Hello from hello"));
        setup.client("admin", &["destroy", "chatter"]).expect(0);
    }
}

#[test]
fn what_fails_is_restarted_as_often_as_it_may() {
    for kind in kinds() {
        let setup = Setup::new();
        let image = format!("hello.{kind}");
        let policy = ["--restart", "on-failure:3:2", "--", "--exit=3"];
        setup.client("dev", &small("again", &image, &policy)).expect(0);
        setup.wait_for("/dev/again", "exited");
        let machine = setup.json("admin", &["info", "again"])[0].clone();
        assert_eq!((&machine["restarts"], &machine["exit"]), (&json!(2), &json!({"code": 3})));
        let console = setup.client("admin", &["attach", "again", "--no-follow"]);
        assert_eq!(console.expect(0).out.matches("Hello from hello").count(), 3);

        let policy = ["--restart", "on-failure:4", "--", "--exit=3"];
        setup.client("dev", &small("once", &image, &policy)).expect(0);
        setup.wait_for("/dev/once", "exited");
        assert_eq!(setup.json("admin", &["info", "once"])[0]["restarts"], json!(0));
    }
}

#[test]
fn a_guest_that_crashes_is_listed_with_how() {
    for (how, kind, exit) in [
        ("abort", "spt", json!({"code": 255})),
        ("abort", "hvt", json!({"code": 255})),
        ("fault", "spt", json!({"signal": 11})),
    ] {
        if !kinds().contains(&kind) {
            continue;
        }
        let setup = Setup::new();
        let image = format!("crasher.{kind}");
        setup.client("dev", &small("crash", &image, &["--attach", "--", how])).expect(0);
        let machine = setup.json("admin", &["info", "crash"])[0].clone();
        assert_eq!(machine["exit"], exit, "{how} {kind}");
    }
}

#[test]
fn a_live_machine_gives_way_only_to_one_that_may_replace_it() {
    for kind in kinds() {
        let setup = Setup::new();
        let image = format!("ticker.{kind}");
        setup.client("dev", &small("tick", &image, &[])).expect(0);
        let first = setup.json("admin", &["info", "tick"])[0]["id"].clone();
        let refused = setup.client("dev", &small("tick", &image, &[]));
        assert!(refused.expect(3).err.contains("--replace"), "{}", refused.err);
        assert_eq!(setup.json("admin", &["info", "tick"])[0]["id"], first);
        setup.client("dev", &small("tick", &image, &["--replace"])).expect(0);
        let second = setup.json("admin", &["info", "tick"])[0].clone();
        assert_ne!(second["id"], first);
        assert_eq!(second["state"], json!("running"));
        let quota = setup.json("admin", &["quota"]);
        assert_eq!(quota[0]["machines"], json!({"limit": 2, "used": 1}));
    }
}

#[test]
fn statistics_show_what_a_machine_uses() {
    for kind in kinds() {
        let setup = Setup::new();
        let image = format!("crasher.{kind}");
        setup.client("dev", &small("busy", &image, &["--", "loop"])).expect(0);
        let used = || {
            let report = setup.json("admin", &["statistics", "busy"]);
            report[0].to_string()
        };
        let busy = |text: &str| {
            let report: Value = serde_json::from_str(text).unwrap();
            assert_eq!(report["name"], json!("dev/busy"));
            has_positive(&report, "_us")
        };
        wait_until("processor time", || busy(&used())).unwrap();
        setup.client("admin", &["destroy", "busy"]).expect(0);
    }
}

/// Whether some number under a name that ends so is above zero.
fn has_positive(value: &Value, suffix: &str) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            name.ends_with(suffix) && value.as_f64().is_some_and(|number| number > 0.0)
                || has_positive(value, suffix)
        }),
        Value::Array(values) => values.iter().any(|value| has_positive(value, suffix)),
        _ => false,
    }
}

#[test]
fn the_log_tells_what_happened_below_ones_path_and_nothing_else() {
    let setup = Setup::new();
    let other = ["1", "64", "--cpu", "0"];
    setup.delegate("ca.db", "cacert.pem", "ca.key", "other", &other);
    setup.client("other", &small("mine", "hello.spt", &["--attach"])).expect(0);
    setup.client("dev", &small("hello", "hello.spt", &["--attach"])).expect(0);
    setup.client("dev", &small("big", "hello.spt", &["--memory", "2000"])).code.unwrap();
    let mut kinds = Vec::new();
    let told = || {
        let log = setup.client("admin", &["--format", "json", "log"]);
        kinds = log.expect(0).json().as_array().unwrap().iter().map(kind_of_event).collect();
        ["login", "deployed", "started", "exited"]
            .iter()
            .all(|kind| kinds.contains(&(*kind).to_owned()))
    };
    wait_until("the log", told).unwrap();
    let log = setup.client("admin", &["--format", "json", "log"]);
    assert!(!log.out.contains("other"), "{}", log.out);
    let one = setup.client("admin", &["--format", "json", "log", "hello"]);
    let events = one.expect(0).json();
    assert!(!events.as_array().unwrap().is_empty());
    for event in events.as_array().unwrap() {
        assert_eq!(event["machine"], json!("dev/hello"));
    }
}

fn kind_of_event(event: &Value) -> String {
    event["kind"].as_str().unwrap().to_owned()
}

#[test]
fn the_local_admin_needs_no_certificate() {
    let setup = Setup::new();
    let run = small("local", "hello.spt", &["--attach"]);
    assert!(setup.admin(&run).expect(0).out.contains("Hello from hello"));
    let quota = setup.admin(&["--format", "json", "quota"]).expect(0).json();
    assert_eq!(quota[0]["path"], json!(""));
    assert!(quota[0]["machines"]["limit"].as_u64().unwrap() > 0);
}
