//! The end of a delegation's life: announced, the host's choice, and put off by a renewed one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use vmm_tests::forge::Forge;
use vmm_tests::forge::times::Time;
use vmm_tests::setup::Setup;
use xtask::house::wait_until;

/// Seconds until something is due: enough for a deploy before that.
const SOON_S: i64 = 30;

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A delegation that ends then.
fn until(label: &str, end: i64) -> Forge {
    Forge::root("ca root").delegation(label, |certificate| certificate.not_after = Time::unix(end))
}

/// Writes a leaf of a delegation that may do everything as `NAME.bundle` and `NAME.key`.
fn leaf(setup: &Setup, name: &str, delegation: Forge) {
    let leaf = delegation.permissions("admin", &[0], |_| {}).sign();
    std::fs::write(setup.file(&format!("{name}.bundle")), leaf.chain_pem()).unwrap();
    std::fs::write(setup.file(&format!("{name}.key")), leaf.key_pem()).unwrap();
}

fn tick(setup: &Setup, who: &str) {
    let run = ["run", "tick", "ticker.spt", "--memory", "8", "--cpu", "0"];
    setup.client(who, &run).expect(0);
}

/// What the log says of a machine in events of this kind.
fn events(setup: &Setup, name: &str, kind: &str) -> Vec<Value> {
    let log = setup.admin(&["--format", "json", "log", name]);
    if log.code != Some(0) {
        return Vec::new();
    }
    let events = log.json().as_array().unwrap().clone();
    events.into_iter().filter(|event| event["kind"] == kind).collect()
}

/// A machine whose delegation expires soon, and what becomes of it.
fn after_expiry(on_expiry: &str, state: &str) {
    let setup = Setup::forged_with(&["--on-expiry", on_expiry]);
    leaf(&setup, "dev", until("dev", now_s() + SOON_S));
    tick(&setup, "dev");
    let expired = || !events(&setup, "/dev/tick", "expired").is_empty();
    wait_until("the delegation has expired", expired).unwrap();
    setup.wait_for("/dev/tick", state);
    let refused = setup.client("dev", &["info"]);
    assert!(refused.expect(3).err.to_lowercase().contains("expired"), "{}", refused.err);
}

#[test]
fn what_runs_is_kept_when_its_delegation_expires() {
    after_expiry("keep", "running");
}

#[test]
fn what_runs_is_stopped_when_its_delegation_expires_and_the_host_wants_that() {
    after_expiry("stop", "stopped");
}

#[test]
fn the_end_is_in_the_log_a_day_and_an_hour_before_it_comes() {
    let setup = Setup::forged();
    let ends = [("day", 86_400), ("hour", 3600)].map(|(label, before_s)| {
        let end = now_s() + before_s + SOON_S;
        leaf(&setup, label, until(label, end));
        tick(&setup, label);
        (label, end)
    });
    for (label, end) in ends {
        let name = format!("/{label}/tick");
        let announced = || !events(&setup, &name, "expires").is_empty();
        wait_until("the announcement", announced).unwrap();
        let event = &events(&setup, &name, "expires")[0];
        assert_eq!(event["fields"]["delegation"], label, "{event}");
        let utc = Time::unix(end);
        assert_eq!(event["fields"]["not_after"], rfc3339(&utc), "{event}");
        setup.wait_for(&name, "running");
    }
}

/// A time of a certificate as the log has it.
fn rfc3339(time: &Time) -> String {
    let part = |from: usize| &time.text()[from..from + 2];
    let [month, day, hour, minute, second] = [2, 4, 6, 8, 10].map(part);
    format!("20{}-{month}-{day}T{hour}:{minute}:{second}Z", part(0))
}

#[test]
fn a_renewed_delegation_puts_the_end_off_for_what_runs() {
    let setup = Setup::forged_with(&["--on-expiry", "stop"]);
    let end = now_s() + SOON_S;
    for label in ["renewed", "forgotten"] {
        leaf(&setup, label, until(label, end));
        tick(&setup, label);
    }
    let mut longer = until("renewed", end + 86_400);
    longer.last().serial = vec![9; 16];
    leaf(&setup, "renewed", longer);
    setup.client("renewed", &["info"]).expect(0);
    setup.wait_for("/forgotten/tick", "stopped");
    assert!(now_s() > end);
    assert_eq!(setup.state("/renewed/tick").as_deref(), Some("running"));
    assert_eq!(events(&setup, "/renewed/tick", "expired"), Vec::<Value>::new());
    setup.client("renewed", &["restart", "tick"]).expect(0);
    setup.client("forgotten", &["info"]).expect(3);
}
