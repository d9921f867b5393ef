//! A replacement that fails in time gives its place back.

use vmm_engine::{Event, Exit, START_PATIENCE_MS, State};
use vmm_proto::id::MachineId;
use vmm_proto::resource::Restart;

use crate::stage::*;

/// A machine that has taken the place of one that ran, and runs on probation.
fn replaced(stage: &mut Stage) -> (MachineId, MachineId) {
    replaced_with(stage, with_memory(15))
}

fn replaced_with(stage: &mut Stage, spec: vmm_engine::Spec) -> (MachineId, MachineId) {
    let old = stage.run("dev/one", with_memory(20), &dev());
    stage.probation_ms = 10_000;
    let new = stage.deploy_as("dev/one", spec, &dev(), true);
    let effects = stage.exited(old, Exit::Signal(15));
    assert!(settles(&effects, old) && !forgets(&effects, old));
    assert!(answer(&stage.started(new.id), new.token).unwrap().is_ok(), "nobody waits for that");
    (old, new.id)
}

#[test]
fn what_fails_in_time_is_rolled_back_and_the_old_one_says_why() {
    for exit in [Exit::Code(1), Exit::Signal(11), Exit::OutOfMemory, Exit::Unknown] {
        let mut stage = Stage::new();
        let (old, new) = replaced(&mut stage);
        assert_eq!(stage.view("dev/one").former, Some(old));
        stage.pass(9_999);
        let effects = stage.exited(new, exit);
        assert_eq!(records(&effects), ["exited", "rolled-back"]);
        assert_eq!(starts(&effects), [old]);
        assert!(forgets(&effects, new) && settles(&effects, new));
        stage.started(old);
        let view = stage.view("dev/one");
        assert_eq!((view.id, view.state, view.run), (old, State::Running, 2));
        assert!(view.reason.unwrap().ends_with(&format!("failed: {exit}")), "{:?}", view.reason);
        assert_eq!(stage.used("dev"), (1, 20));
    }
}

#[test]
fn what_cannot_be_started_is_rolled_back_and_the_deploy_is_refused() {
    let mut stage = Stage::new();
    let old = stage.run("dev/one", spec(), &dev());
    stage.probation_ms = 1;
    let new = stage.deploy_as("dev/one", spec(), &dev(), true);
    stage.exited(old, Exit::Code(0));
    let effects = stage.start_failed(new.id);
    assert_eq!(answer(&effects, new.token).unwrap().unwrap_err().code(), "start-failed");
    assert_eq!(records(&effects), ["start-failed", "rolled-back"]);
    assert_eq!(starts(&effects), [old]);
}

#[test]
fn a_restart_policy_does_not_hide_the_first_failure() {
    let mut stage = Stage::new();
    let spec = with_restart(Restart::Always);
    let (old, new) = replaced_with(&mut stage, spec);
    assert_eq!(starts(&stage.exited(new, Exit::Code(1))), [old]);
    assert_eq!(starts(&stage.pass(60_000)), []);
}

#[test]
fn a_success_ends_the_probation_unless_it_is_to_run_again() {
    let mut stage = Stage::new();
    let (old, new) = replaced(&mut stage);
    let effects = stage.exited(new, Exit::Code(0));
    assert!(forgets(&effects, old) && starts(&effects).is_empty());
    assert_eq!(stage.view("dev/one").id, new);

    let mut stage = Stage::new();
    let (old, new) = replaced_with(&mut stage, with_restart(Restart::Always));
    stage.exited(new, Exit::Code(0));
    assert_eq!(starts(&stage.pass(100)), [new]);
    assert_eq!(starts(&stage.start_failed(new)), [old], "still on probation");
}

#[test]
fn both_have_room_until_it_is_over_and_then_the_old_one_is_forgotten() {
    let mut stage = Stage::new();
    let (old, new) = replaced(&mut stage);
    assert_eq!(stage.used("dev"), (1, 20), "the larger of the two");
    assert_eq!(stage.deploy("dev/two", with_memory(11), &dev()).refusal().code(), "quota");
    assert_eq!(stage.engine.next_wake(), Some(stage.now.monotonic_ms + 10_000));
    let effects = stage.pass(10_000);
    assert!(forgets(&effects, old));
    assert_eq!(stage.used("dev"), (1, 15));
    assert_eq!(stage.view("dev/one").former, None);
    let effects = stage.exited(new, Exit::Code(1));
    assert!(starts(&effects).is_empty());
    assert_eq!(stage.state("dev/one"), Some(State::Exited));
}

#[test]
fn the_images_of_both_stay_until_it_is_over() {
    let mut stage = Stage::new();
    let old = stage.run("dev/one", spec(), &dev());
    stage.probation_ms = 10_000;
    let other =
        vmm_engine::Spec { image_sha256: vmm_proto::id::Digest([2; 32]), memory_mib: 11, ..spec() };
    let new = stage.deploy_as("dev/one", other, &dev(), true);
    assert!(drops(&stage.exited(old, Exit::Code(0))).is_empty());
    stage.started(new.id);
    assert_eq!(drops(&stage.pass(10_000)).len(), 1);
}

#[test]
fn only_what_should_run_comes_back() {
    // Stopped before, failed before, or not wanted any more when it was replaced.
    let mut stage = Stage::new();
    stage.probation_ms = 10_000;
    let old = stage.run("dev/one", spec(), &dev());
    stage.stop("dev/one", 1000);
    let new = stage.deploy_as("dev/one", spec(), &dev(), true);
    assert!(forgets(&stage.exited(old, Exit::Code(0)), old));
    stage.started(new.id);
    assert!(starts(&stage.exited(new.id, Exit::Code(1))).is_empty());

    let second = stage.deploy_as("dev/one", spec(), &dev(), true);
    stage.started(second.id);
    assert_eq!(stage.view("dev/one").former, None);
}

#[test]
fn one_that_waits_for_its_restart_comes_back_too() {
    let mut stage = Stage::new();
    let old = stage.run("dev/one", with_restart(Restart::Always), &dev());
    stage.exited(old, Exit::Code(0));
    stage.probation_ms = 10_000;
    let new = stage.deploy_as("dev/one", spec(), &dev(), true);
    assert_eq!(starts(&new.effects), [new.id]);
    assert!(!forgets(&new.effects, old));
    assert_eq!(starts(&stage.start_failed(new.id)), [old]);
}

#[test]
fn whoever_looks_after_the_new_one_ends_its_probation() {
    type Verb = fn(&mut Stage) -> Asked;
    let verbs: [Verb; 4] = [
        |stage| stage.stop("dev/one", 1000),
        |stage| stage.restart("dev/one"),
        |stage| stage.destroy("dev/one"),
        |stage| stage.deploy_as("dev/one", spec(), &dev(), true),
    ];
    for verb in verbs {
        let mut stage = Stage::new();
        let (old, new) = replaced(&mut stage);
        let asked = verb(&mut stage);
        assert!(forgets(&asked.effects, old), "{:?}", asked.effects);
        assert!(!starts(&stage.exited(new, Exit::Signal(9))).contains(&old));
    }
}

#[test]
fn the_old_one_does_not_come_back_without_authority() {
    let mut stage = Stage::new();
    let (old, _) = replaced(&mut stage);
    let effects = stage.revoke(&dev()[0]).effects;
    assert!(forgets(&effects, old));
    assert_eq!(stage.view("dev/one").former, None);
}

#[test]
fn a_probation_outlives_the_supervisor_and_ends_in_its_time() {
    for ends in [false, true] {
        let mut stage = Stage::new();
        let (old, new) = replaced(&mut stage);
        stage.pass(4_000);
        let known = [stage.ran(old), stage.runs(new)];
        let known = [vmm_engine::KnownRun { id: old, run: 1, ..known[0] }, known[1]];
        stage.now.unix_ms += 1_000;
        stage.next_life();
        assert_eq!(stage.view("dev/one").former, Some(old));
        assert_eq!(stage.used("dev"), (1, 20));
        assert_eq!(stage.engine.images().count(), 1);
        let effects = stage.spawn_knows(true, &known);
        assert!(!forgets(&effects, old), "what it wrote is kept");
        if ends {
            assert!(forgets(&stage.pass(5_000), old));
        } else {
            stage.pass(4_999);
            assert_eq!(starts(&stage.exited(new, Exit::Code(1))), [old]);
        }
    }
}

#[test]
fn a_reboot_is_no_failure_and_the_probation_goes_on() {
    let mut stage = Stage::new();
    let (old, new) = replaced(&mut stage);
    stage.next_life();
    assert_eq!(starts(&stage.spawn_knows(false, &[])), [new]);
    assert_eq!(starts(&stage.start_failed(new)), [old]);
}

#[test]
fn a_rollback_that_was_lost_is_made_up_for() {
    let mut stage = Stage::new();
    let (old, new) = replaced(&mut stage);
    let (known, kept) = (stage.ran(new), stage.kept.clone());
    stage.exited(new, Exit::Code(1));
    stage.kept = kept;
    stage.next_life();
    stage.spawn_knows(true, &[known]);
    assert_eq!(starts(&stage.exited(new, Exit::Code(1))), [old]);
}

#[test]
fn what_was_given_up_while_vmm_spawn_was_away_is_rolled_back_when_it_is_back() {
    let mut stage = Stage::new();
    let old = stage.run("dev/one", with_restart(Restart::Always), &dev());
    stage.exited(old, Exit::Code(1));
    let known = stage.ran(old);
    stage.happen(Event::SpawnLost);
    stage.probation_ms = 10_000;
    let new = stage.deploy_as("dev/one", spec(), &dev(), true);
    stage.pass(START_PATIENCE_MS);
    let effects = stage.spawn_knows(true, &[known]);
    assert_eq!(starts(&effects), [old]);
    assert!(forgets(&effects, new.id) && !forgets(&effects, old));
}
