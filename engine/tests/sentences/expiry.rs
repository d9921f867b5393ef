//! Rule 11: a machine's authority ends with the first of the delegations above it.

use vmm_engine::{ANNOUNCED_S, Exit, OnExpiry, State};
use vmm_proto::authority::Link;

use crate::stage::*;

const DAY_S: i64 = 86_400;

/// `dev`, and `dev/alice` for a shorter time: three days from the beginning.
fn lasting(last_s: i64) -> Vec<Link> {
    let mut links = alice();
    links[0].validity.not_after = BEGIN_S + 100 * DAY_S;
    links[1].validity.not_after = BEGIN_S + last_s;
    links
}

/// Lets time pass as the shell does: whenever the engine wants to look, up to `until_s` seconds
/// after the beginning. Returns what was recorded and when, in seconds after the beginning.
fn records_until(stage: &mut Stage, until_s: i64) -> Vec<(i64, &'static str)> {
    let begin_ms = BEGIN_S.unsigned_abs() * 1000;
    let last_ms = begin_ms + until_s.unsigned_abs() * 1000;
    let mut seen = Vec::new();
    loop {
        let left_ms = last_ms - stage.now.unix_ms;
        if left_ms == 0 {
            return seen;
        }
        let wake_ms = stage.engine.next_wake().map_or(u64::MAX, |at| at - stage.now.monotonic_ms);
        let effects = stage.pass(left_ms.min(wake_ms));
        let now_s = ((stage.now.unix_ms - begin_ms) / 1000).cast_signed();
        seen.extend(records(&effects).into_iter().map(|record| (now_s, record)));
    }
}

#[test]
fn the_end_is_announced_a_day_and_an_hour_before_and_what_runs_is_kept() {
    let mut stage = Stage::new();
    let id = stage.run("dev/alice/one", spec(), &lasting(3 * DAY_S));
    let expected =
        [(2 * DAY_S, "expires"), (3 * DAY_S - 3600, "expires"), (3 * DAY_S + 1, "expired")];
    assert_eq!(records_until(&mut stage, 9 * DAY_S), expected);
    assert_eq!(ANNOUNCED_S, [DAY_S, 3600]);
    assert_eq!(stage.state("dev/alice/one"), Some(State::Running));

    stage.exited(id, Exit::Code(0));
    assert_eq!(stage.start("dev/alice/one", "").refusal().code(), "expired");
    assert_eq!(
        stage.deploy("dev/alice/two", spec(), &lasting(3 * DAY_S)).refusal().code(),
        "expired"
    );
}

#[test]
fn what_runs_is_stopped_if_the_host_wants_that() {
    let mut stage = Stage::new();
    stage.engine =
        std::mem::replace(&mut stage.engine, Stage::new().engine).with_on_expiry(OnExpiry::Stop);
    let id = stage.run("dev/alice/one", spec(), &lasting(10));
    let host = stage.run("host", spec(), &[]);
    let expected = [(11, "expired"), (11, "stopping")];
    assert_eq!(records_until(&mut stage, 12), expected);
    stage.exited(id, Exit::Signal(15));
    let view = stage.view("dev/alice/one");
    assert_eq!(view.state, State::Stopped);
    assert_eq!(view.reason, Some("delegation \"dev/alice\" has expired"));
    assert_eq!(stage.view("host").id, host);
    assert_eq!(stage.state("host"), Some(State::Running), "the host's own authority has no end");
}

#[test]
fn a_machine_that_waits_for_its_restart_is_stopped_too() {
    let mut stage = Stage::new();
    stage.engine =
        std::mem::replace(&mut stage.engine, Stage::new().engine).with_on_expiry(OnExpiry::Stop);
    let restart = vmm_proto::resource::Restart::Always;
    let id = stage.run("dev/alice/one", with_restart(restart), &lasting(10));
    stage.now.unix_ms += 10_950;
    stage.exited(id, Exit::Code(1));
    stage.pass(60);
    assert_eq!(stage.state("dev/alice/one"), Some(State::Stopped));
    assert_eq!(stage.used("dev"), (0, 0));
}

#[test]
fn a_machine_that_is_started_again_in_the_moment_of_its_end_is_stopped_all_the_same() {
    let mut stage = Stage::new();
    stage.on_expiry = OnExpiry::Stop;
    stage.next_life();
    stage.spawn_knows(true, &[]);
    let restart = vmm_proto::resource::Restart::Always;
    let id = stage.run("dev/alice/one", with_restart(restart), &lasting(10));
    stage.now.unix_ms += 10_950;
    stage.exited(id, Exit::Code(1));
    let effects = stage.pass(100);
    assert_eq!(starts(&effects), [id]);
    assert_eq!(records(&effects), ["expired"]);
    assert_eq!(stage.state("dev/alice/one"), Some(State::Stopping));
}

#[test]
fn a_renewed_delegation_extends_the_authority_of_what_runs() {
    let mut stage = Stage::new();
    stage.run("dev/alice/one", spec(), &lasting(3 * DAY_S));
    assert_eq!(records_until(&mut stage, 2 * DAY_S), [(2 * DAY_S, "expires")]);
    stage.present(&lasting(8 * DAY_S));
    assert_eq!(records_until(&mut stage, 6 * DAY_S), []);
    assert_eq!(records_until(&mut stage, 7 * DAY_S), [(7 * DAY_S, "expires")]);
}

#[test]
fn a_clock_that_is_set_forward_is_noticed_within_the_hour() {
    let mut stage = Stage::new();
    stage.run("dev/alice/one", spec(), &lasting(30 * DAY_S));
    stage.now.unix_ms += 40 * 86_400_000;
    let wake_ms = stage.engine.next_wake().unwrap();
    assert!(wake_ms <= 3_600_000, "{wake_ms}");
    assert_eq!(records(&stage.pass(wake_ms)), ["expired"]);
}

#[test]
fn nothing_is_looked_at_when_nothing_runs_that_could_expire() {
    let mut stage = Stage::new();
    let id = stage.run("dev/alice/one", spec(), &lasting(3 * DAY_S));
    stage.exited(id, Exit::Code(0));
    assert_eq!(stage.engine.next_wake(), None);
}
