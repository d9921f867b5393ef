//! Machines outlive the process that looks after them.

use vmm_engine::{
    Answer, Effect, Event, Exit, ImageId, KnownRun, OnExpiry, START_PATIENCE_MS, State,
};
use vmm_proto::authority::Serial;
use vmm_proto::id::MachineId;
use vmm_proto::resource::Restart;

use crate::stage::*;

#[test]
fn what_runs_is_adopted_with_all_that_it_is() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", with_memory(12), &dev());
    let (spec, started) =
        (stage.view("dev/one").spec.clone(), stage.view("dev/one").started_unix_ms);
    let known = stage.runs(id);
    stage.next_life();
    let effects = stage.spawn_knows(true, &[known]);
    assert_eq!(effects, [Effect::Joined], "it was recorded to run already");
    let view = stage.view("dev/one");
    assert_eq!((view.state, view.pid, view.id), (State::Running, Some(7), id));
    assert_eq!((view.spec, view.started_unix_ms), (&spec, started));
    assert_eq!(stage.used("dev"), (1, 12));
    assert_eq!(stage.deploy("dev/one", crate::stage::spec(), &dev()).refusal().code(), "name");
    assert_eq!(stage.deploy("dev/two", with_memory(19), &dev()).refusal().code(), "quota");
}

#[test]
fn a_start_that_was_not_known_to_have_succeeded_is_recorded_when_it_is_adopted() {
    let mut stage = Stage::new();
    let deploy = stage.deploy("dev/one", spec(), &dev());
    let known = stage.runs(deploy.id);
    stage.next_life();
    let effects = stage.spawn_knows(true, &[known]);
    assert_eq!(records(&effects), ["started"]);
    assert!(starts(&effects).is_empty());
    assert_eq!(stage.state("dev/one"), Some(State::Running));
}

#[test]
fn who_ran_and_ended_before_either_was_kept_has_ended_and_its_policy_decides() {
    let restart = Restart::OnFailure { codes: Vec::new(), limit: 0 };
    for (exit, state) in [(Exit::Code(1), State::Restarting), (Exit::Code(0), State::Exited)] {
        let mut stage = Stage::new();
        let deploy = stage.deploy("dev/one", with_restart(restart.clone()), &dev());
        let known = KnownRun { pid: None, ..stage.runs(deploy.id) };
        stage.next_life();
        assert_eq!(stage.spawn_knows(true, &[known]), [Effect::Joined]);
        assert_eq!(records(&stage.exited(deploy.id, exit))[..2], ["started", "exited"]);
        let view = stage.view("dev/one");
        assert_eq!((view.state, view.exit), (state, Some(exit)));
    }
}

#[test]
fn a_start_that_is_still_under_way_is_waited_for() {
    let mut stage = Stage::new();
    let deploy = stage.deploy("dev/one", spec(), &dev());
    let known = KnownRun { ready: false, ..stage.runs(deploy.id) };
    stage.next_life();
    assert_eq!(stage.spawn_knows(true, &[known]), [Effect::Joined]);
    assert_eq!(stage.state("dev/one"), Some(State::Starting));
    assert_eq!(records(&stage.started(deploy.id)), ["started"]);
}

#[test]
fn a_start_that_vmm_spawn_never_got_is_given_again_under_its_number_and_not_before() {
    let mut stage = Stage::new();
    let deploy = stage.deploy("dev/one", spec(), &dev());
    stage.next_life();
    assert!(starts(&stage.pass(1000)).is_empty());
    let effects = stage.spawn_knows(true, &[]);
    let Effect::StartMachine { id, run, .. } = &effects[1] else { panic!("{effects:?}") };
    assert_eq!((*id, *run), (deploy.id, 1));
    assert_eq!(effects.len(), 2);
}

#[test]
fn what_vmm_spawn_does_not_know_any_more_has_ended_unseen_and_its_policy_decides() {
    let mut stage = Stage::new();
    stage.run("dev/one", spec(), &dev());
    let two = stage.run("dev/two", with_restart(Restart::Always), &dev());
    stage.next_life();
    let effects = stage.spawn_knows(true, &[]);
    assert_eq!(records(&effects), ["exited", "exited", "restarting"]);
    assert_eq!(stage.view("dev/one").exit, Some(Exit::Unknown));
    assert_eq!(stage.state("dev/one"), Some(State::Failed));
    // Machines that end together do not come back together.
    assert_eq!(starts(&stage.pass(125)), [two]);
}

#[test]
fn an_end_that_was_not_acknowledged_is_reported_again_and_recorded_once() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", spec(), &dev());
    let (known, kept) = (stage.ran(id), stage.kept.clone());
    stage.exited(id, Exit::Code(3));
    // What that changed was not durable yet.
    stage.kept = kept;
    stage.next_life();
    assert_eq!(stage.spawn_knows(true, &[known]), [Effect::Joined]);
    assert_eq!(stage.state("dev/one"), Some(State::Running), "the report comes");
    assert_eq!(records(&stage.exited(id, Exit::Code(3))), ["exited"]);
    assert_eq!(stage.view("dev/one").exit, Some(Exit::Code(3)));
    // The acknowledgement was lost.
    assert!(stage.exited(id, Exit::Code(3)).is_empty());
}

#[test]
fn what_runs_and_should_not_is_ended_and_what_nobody_owns_is_swept() {
    let mut stage = Stage::new();
    let ended = stage.run("dev/one", spec(), &dev());
    stage.exited(ended, Exit::Code(0));
    let (runs, nobodys) = (stage.runs(ended), MachineId([9; 16]));
    stage.next_life();
    let effects = stage.spawn_knows(true, &[runs, KnownRun { id: nobodys, ..runs }]);
    assert_eq!(stops(&effects), [(ended, true)]);
    assert!(forgets(&effects, nobodys) && !forgets(&effects, ended));
}

#[test]
fn a_run_that_is_numbered_higher_than_any_that_is_known_is_ended_and_numbered_on() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", with_restart(Restart::Always), &dev());
    let later = KnownRun { run: 5, ..stage.runs(id) };
    stage.next_life();
    let effects = stage.spawn_knows(true, &[later]);
    assert!(effects.contains(&Effect::StopMachine { id, run: 5, force: true }));
    let effects = stage.pass(100);
    let run = |effect: &Effect| matches!(effect, Effect::StartMachine { run: 6, .. });
    assert!(effects.iter().any(run), "{effects:?}");
}

#[test]
fn what_was_stopping_goes_on_to_be_stopped_and_its_time_is_not_begun_anew() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", spec(), &dev());
    stage.stop("dev/one", 5000);
    let known = stage.runs(id);
    stage.now.unix_ms += 3000;
    stage.next_life();
    assert_eq!(stops(&stage.spawn_knows(true, &[known])), [(id, false)]);
    assert!(stops(&stage.pass(1999)).is_empty());
    assert_eq!(stops(&stage.pass(1)), [(id, true)]);
    // Also what vmm-spawn was told once is told again, as hard as before.
    stage.next_life();
    assert_eq!(stops(&stage.spawn_knows(true, &[known])), [(id, true)]);
    stage.exited(id, Exit::Signal(9));
    assert_eq!(stage.state("dev/one"), Some(State::Stopped));
}

#[test]
fn a_clock_that_was_set_back_makes_nobody_wait_longer_than_at_most() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", spec(), &dev());
    let two = stage.run("dev/two", with_restart(Restart::Always), &dev());
    stage.exited(two, Exit::Code(1));
    stage.stop("dev/one", 6000);
    let known = stage.runs(id);
    stage.now.unix_ms -= 900_000;
    stage.next_life();
    stage.spawn_knows(true, &[known]);
    assert_eq!(stops(&stage.pass(6000)), [(id, true)]);
    assert_eq!(starts(&stage.pass(69_000)), [two]);
}

#[test]
fn a_machine_that_is_being_replaced_is_replaced_exactly_once() {
    let mut stage = Stage::new();
    let old = stage.run("dev/one", spec(), &dev());
    let new = stage.deploy_as("dev/one", with_memory(15), &dev(), true);
    let known = stage.runs(old);
    for _ in 0..2 {
        stage.next_life();
        assert_eq!(stage.view("dev/one").successor, Some(new.id));
        assert_eq!(stage.used("dev"), (1, 15));
        assert_eq!(stops(&stage.spawn_knows(true, &[known])), [(old, false)]);
    }
    assert_eq!(stage.deploy_as("dev/one", spec(), &dev(), true).refusal().code(), "busy");
    let effects = stage.exited(old, Exit::Signal(15));
    assert_eq!(starts(&effects), [new.id]);
    assert!(forgets(&effects, old));
    stage.next_life();
    assert_eq!(starts(&stage.spawn_knows(true, &[])), [new.id]);
    stage.started(new.id);
    assert_eq!(stage.state("dev/one"), Some(State::Running));
}

#[test]
fn a_restart_whose_requester_has_gone_is_still_carried_out() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", spec(), &dev());
    stage.restart("dev/one");
    let known = stage.runs(id);
    stage.next_life();
    stage.spawn_knows(true, &[known]);
    assert_eq!(starts(&stage.exited(id, Exit::Signal(15))), [id]);
    assert_eq!(records(&stage.start_failed(id)), ["start-failed"]);
    assert_eq!(stage.state("dev/one"), Some(State::Failed), "as if somebody waited for it");
}

#[test]
fn waits_for_a_restart_and_their_growth_go_on() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", with_restart(Restart::Always), &dev());
    for wait in [100, 200] {
        stage.exited(id, Exit::Code(1));
        stage.pass(wait);
        stage.started(id);
    }
    stage.exited(id, Exit::Code(1));
    stage.now.unix_ms += 150;
    stage.next_life();
    let known = stage.ran(id);
    stage.spawn_knows(true, &[known]);
    assert!(starts(&stage.pass(249)).is_empty());
    assert_eq!(starts(&stage.pass(1)), [id]);
    assert_eq!(stage.view("dev/one").restarts, 3);
}

#[test]
fn a_run_was_healthy_also_if_another_process_saw_its_beginning() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", with_restart(Restart::Always), &dev());
    stage.exited(id, Exit::Code(1));
    stage.pass(100);
    stage.started(id);
    stage.pass(6000);
    let known = stage.runs(id);
    stage.next_life();
    stage.spawn_knows(true, &[known]);
    stage.pass(4000);
    stage.exited(id, Exit::Code(1));
    assert_eq!(starts(&stage.pass(100)), [id], "the first in a row again");
}

#[test]
fn ended_machines_keep_their_order() {
    let mut stage = Stage::new();
    let ids = ["dev/b", "dev/a"].map(|name| {
        let id = stage.run(name, spec(), &dev());
        stage.exited(id, Exit::Code(0));
        id
    });
    stage.next_life();
    stage.spawn_knows(true, &[]);
    let third = stage.run("dev/c", spec(), &dev());
    assert!(forgets(&stage.exited(third, Exit::Code(0)), ids[0]), "the oldest goes first");
    assert_eq!(stage.state("dev/a"), Some(State::Exited));
}

#[test]
fn images_of_kept_machines_are_there_and_dropped_with_them() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", spec(), &dev());
    let image = stage.view("dev/one").spec.image;
    let room = stage.engine.image_room(&path("dev"));
    stage.next_life();
    assert_eq!(stage.engine.images().collect::<Vec<ImageId>>(), [image]);
    assert_eq!(stage.engine.image_room(&path("dev")), room);
    stage.spawn_knows(true, &[]);
    assert_eq!(stage.state("dev/one"), Some(State::Failed));
    let offer = stage.offer("dev/one", (900, 1, 1 << 20), &dev());
    assert_eq!(offer.answer(), Some(Ok(Answer::Have(image))));
    let destroy = stage.destroy("dev/one");
    assert!(forgets(&destroy.effects, id));
    assert_eq!(drops(&stage.happen(Event::ReleaseImage { image })), [image]);
}

#[test]
fn the_end_of_authority_is_announced_once_whoever_looks() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", spec(), &dev());
    let known = stage.runs(id);
    // An hour before the end was at the beginning.
    stage.next_life();
    stage.spawn_knows(true, &[known]);
    assert_eq!(records(&stage.pass(0)), Vec::<&str>::new());
    stage.pass(3_000_000);
    // The end comes while nobody looks.
    stage.now.unix_ms += 700_000;
    stage.next_life();
    assert_eq!(stage.engine.next_wake(), Some(0));
    assert_eq!(records(&stage.pass(0)), ["expired"]);
    stage.next_life();
    assert_eq!(records(&stage.pass(0)), Vec::<&str>::new());
    // A host that wants otherwise stops it from its next life on.
    stage.on_expiry = OnExpiry::Stop;
    stage.next_life();
    stage.spawn_knows(true, &[known]);
    assert_eq!(stage.state("dev/one"), Some(State::Running), "it had expired before");
}

#[test]
fn what_was_revoked_is_killed_by_the_next_process_too() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", spec(), &dev());
    let known = stage.runs(id);
    stage.next_life();
    stage.revoke(&dev()[0]);
    assert_eq!(stage.state("dev/one"), Some(State::Stopping));
    stage.next_life();
    assert_eq!(stops(&stage.spawn_knows(true, &[known])), [(id, true)]);
    stage.exited(id, Exit::Signal(9));
    assert_eq!(stage.state("dev/one"), Some(State::Revoked));
}

#[test]
fn while_vmm_spawn_is_away_starts_wait_and_are_given_when_it_is_back() {
    let mut stage = Stage::new();
    let sent = stage.deploy("dev/one", spec(), &dev());
    stage.happen(Event::SpawnLost);
    let unsent = stage.deploy("dev/two", spec(), &dev());
    assert!(starts(&unsent.effects).is_empty());
    assert_eq!((sent.answer(), unsent.answer()), (None, None));
    let known = stage.runs(sent.id);
    let effects = stage.spawn_knows(true, &[known]);
    assert!(answer(&effects, sent.token).unwrap().is_ok());
    assert_eq!(starts(&effects), [unsent.id]);
    assert!(answer(&stage.started(unsent.id), unsent.token).unwrap().is_ok());
}

#[test]
fn nobody_waits_for_ever_for_a_start_and_what_was_given_up_does_not_run_later() {
    for reached in [false, true] {
        let mut stage = Stage::new();
        let deploy = stage.deploy("dev/one", spec(), &dev());
        stage.happen(Event::SpawnLost);
        let effects = stage.pass(START_PATIENCE_MS);
        let refusal = answer(&effects, deploy.token).unwrap().unwrap_err();
        assert!(refusal.to_string().contains("has not answered for 30 s"), "{refusal}");
        assert_eq!(stage.state("dev/one"), Some(State::Stopping), "it may run");
        assert_eq!(stage.used("dev"), (1, 10));
        let known = stage.runs(deploy.id);
        if reached {
            let effects = stage.spawn_knows(true, &[known]);
            assert_eq!(stops(&effects), [(deploy.id, false), (deploy.id, true)]);
            stage.exited(deploy.id, Exit::Signal(9));
        } else {
            assert!(starts(&stage.spawn_knows(true, &[])).is_empty());
        }
        assert_eq!(stage.state("dev/one"), Some(State::Failed));
        assert_eq!(stage.used("dev"), (0, 0));
    }
}

#[test]
fn a_request_is_durable_before_anything_is_done_about_it() {
    let mut stage = Stage::new();
    let first_after_keeps = |effects: &[Effect]| {
        let done = effects.iter().filter(|effect| !matches!(effect, Effect::Record(_)));
        done.skip(kept(effects).len()).map(Effect::is_promise).next()
    };
    let deploy = stage.deploy("dev/one", spec(), &dev());
    assert_eq!(first_after_keeps(&deploy.effects), Some(true));
    assert_eq!(first_after_keeps(&stage.started(deploy.id)), Some(false), "it is reported again");
    let stop = stage.stop("dev/one", 1000);
    assert_eq!(first_after_keeps(&stop.effects), Some(true));
    let exited = stage.exited(deploy.id, Exit::Code(0));
    assert_eq!(exited.iter().filter(|effect| effect.is_promise()).count(), 1, "{exited:?}");
    assert_eq!(first_after_keeps(&stage.destroy("dev/one").effects), Some(true));
}

#[test]
fn a_wait_that_is_over_while_both_sides_agree_starts_a_machine_once() {
    let mut stage = Stage::new();
    let mut ops = vec![link(ROOT, "ops", 1, 10)];
    ops[0].serial = Serial([5].into());
    let waits = stage.run("ops/one", with_restart(Restart::Always), &ops);
    stage.exited(waits, Exit::Code(1));
    let revoked = stage.deploy("dev/one", spec(), &dev()).id;
    stage.revoke(&dev()[0]);
    let known = [stage.ran(waits), stage.runs(revoked)];
    stage.now.unix_ms += 1000;
    stage.next_life();
    let mut effects = stage.spawn_knows(true, &known);
    assert_eq!(stops(&effects), [(revoked, false), (revoked, true)]);
    effects.extend(stage.pass(0));
    assert_eq!(starts(&effects), [waits]);
}
