//! After a reboot what should run is started again.

use vmm_engine::{BOOT_AT_ONCE, Exit, OnExpiry, Spec, State};
use vmm_proto::id::MachineId;
use vmm_proto::resource::Restart;

use crate::stage::*;

fn reboot(stage: &mut Stage) -> Vec<vmm_engine::Effect> {
    stage.next_life();
    stage.spawn_knows(false, &[])
}

#[test]
fn what_ran_is_started_again_and_that_is_no_failure_of_its_own() {
    let mut stage = Stage::new();
    let limited = with_restart(Restart::on_failure(vec![], 1).unwrap());
    let id = stage.run("dev/one", limited, &dev());
    let ended = stage.run("dev/two", spec(), &dev());
    stage.exited(ended, Exit::Code(0));
    let effects = reboot(&mut stage);
    assert_eq!(records(&effects), ["exited"], "the end of its run is in the log");
    assert_eq!(starts(&effects), [id]);
    stage.started(id);
    assert_eq!(stage.view("dev/one").restarts, 0);
    assert_eq!(stage.view("dev/one").run, 2);
    // Its one restart is still left.
    stage.exited(id, Exit::Code(1));
    assert_eq!(starts(&stage.pass(100)), [id]);
}

#[test]
fn they_come_by_priority_and_a_few_at_a_time() {
    let mut stage = Stage::with_machines(24);
    let mut ids: Vec<(u8, MachineId)> = Vec::new();
    for number in 0..20_u8 {
        let priority = number.wrapping_mul(37) % 100;
        let spec = Spec { priority, ..spec() };
        ids.push((priority, stage.run(&format!("m{number}"), spec, &[])));
    }
    ids.sort_unstable();
    let order: Vec<MachineId> = ids.into_iter().map(|(_, id)| id).collect();
    let mut started = starts(&reboot(&mut stage));
    assert_eq!(started, order[..BOOT_AT_ONCE]);
    assert!(starts(&stage.pass(60_000)).is_empty());
    for turn in 0..20 {
        let id = started[turn];
        let effects = if turn % 3 == 0 { stage.start_failed(id) } else { stage.started(id) };
        started.extend(starts(&effects));
        assert!(started.len() <= turn + 1 + BOOT_AT_ONCE);
    }
    assert_eq!(started, order);
}

#[test]
fn whoever_waits_for_its_turn_can_be_started_stopped_or_destroyed() {
    let mut stage = Stage::with_machines(20);
    let machines: Vec<MachineId> =
        (0..12).map(|number| stage.run(&format!("m{number:02}"), spec(), &[])).collect();
    assert_eq!(machines.len(), 12);
    let first = starts(&reboot(&mut stage));
    let waiting: Vec<String> = (0..12)
        .map(|number| format!("m{number:02}"))
        .filter(|name| stage.state(name) == Some(State::Restarting))
        .collect();
    assert_eq!(waiting.len(), 4);
    assert!(stage.stop(&waiting[0], 0).answer().unwrap().is_ok());
    assert!(stage.destroy(&waiting[1]).answer().unwrap().is_ok());
    assert_eq!(starts(&stage.start(&waiting[2], "").effects).len(), 1);
    let mut later = Vec::new();
    for id in first {
        later.extend(starts(&stage.started(id)));
    }
    assert_eq!(later, [stage.view(&waiting[3]).id]);
}

#[test]
fn what_fails_then_stays_listed_with_its_reason_and_its_policy_applies() {
    let mut stage = Stage::new();
    let one = stage.run("dev/one", spec(), &dev());
    let two = stage.run("dev/two", with_restart(Restart::Always), &dev());
    reboot(&mut stage);
    stage.start_failed(one);
    let view = stage.view("dev/one");
    assert_eq!((view.state, view.reason), (State::Failed, Some("no luck")));
    assert_eq!(records(&stage.start_failed(two)), ["start-failed", "restarting"]);
    assert_eq!(starts(&stage.pass(100)), [two]);
}

#[test]
fn what_was_to_stop_stays_stopped_and_what_was_to_go_is_gone() {
    let mut stage = Stage::new();
    stage.run("dev/one", spec(), &dev());
    stage.run("dev/two", spec(), &dev());
    stage.deploy("three", spec(), &[]);
    stage.stop("dev/one", 1000);
    stage.destroy("dev/two");
    stage.stop("three", 1000);
    assert!(starts(&reboot(&mut stage)).is_empty());
    assert_eq!(stage.state("dev/one"), Some(State::Stopped));
    assert_eq!(stage.state("dev/two"), None);
    assert_eq!(stage.state("three"), Some(State::Stopped));
}

#[test]
fn what_was_being_replaced_comes_up_replaced() {
    let mut stage = Stage::new();
    let old = stage.run("dev/one", spec(), &dev());
    let new = stage.deploy_as("dev/one", spec(), &dev(), true);
    let effects = reboot(&mut stage);
    assert_eq!(starts(&effects), [new.id]);
    assert!(forgets(&effects, old));
}

#[test]
fn expired_authority_is_no_reason_not_to_start_unless_the_host_wants_that() {
    for (on_expiry, state) in [(OnExpiry::Keep, State::Starting), (OnExpiry::Stop, State::Stopped)]
    {
        let mut stage = Stage::new();
        stage.on_expiry = on_expiry;
        stage.run("dev/one", spec(), &dev());
        stage.now.unix_ms += 4_000_000;
        let effects = reboot(&mut stage);
        assert_eq!(starts(&effects).len(), usize::from(on_expiry == OnExpiry::Keep));
        assert_eq!(stage.state("dev/one"), Some(state));
        stage.pass(0);
        assert_eq!(stage.state("dev/one"), Some(state));
    }
}

#[test]
fn what_was_revoked_meanwhile_is_not_started() {
    let mut stage = Stage::new();
    stage.run("dev/one", spec(), &dev());
    stage.next_life();
    stage.revoke(&dev()[0]);
    assert!(starts(&stage.spawn_knows(false, &[])).is_empty());
    assert_eq!(stage.state("dev/one"), Some(State::Revoked));
}

#[test]
fn a_supervisor_that_dies_in_the_middle_of_it_goes_on_with_it() {
    let mut stage = Stage::with_machines(20);
    for number in 0..12 {
        stage.run(&format!("m{number:02}"), spec(), &[]);
    }
    let first = starts(&reboot(&mut stage));
    let known: Vec<_> = first.iter().map(|id| stage.runs(*id)).take(3).collect();
    stage.next_life();
    let effects = stage.spawn_knows(true, &known);
    assert_eq!(records(&effects), ["started"; 3]);
    let again = starts(&effects);
    assert_eq!(again.len(), BOOT_AT_ONCE, "five that were lost, and three for those that run");
    assert!(again.iter().all(|id| !first[..3].contains(id)));
}
