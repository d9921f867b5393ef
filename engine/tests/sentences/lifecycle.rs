//! Stop, start, restart, destroy, and what processes do by themselves.

use vmm_engine::{
    Answer, DEFAULT_STOP_MS, Effect, Event, Exit, KILL_AGAIN_MS, Record, Spent, State, What,
};
use vmm_proto::id::MachineId;
use vmm_proto::name::{Path, Target};
use vmm_proto::resource::Restart;

use crate::stage::*;

#[test]
fn what_a_run_has_used_is_recorded_with_its_end() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", spec(), &dev());
    let used = Spent { user_us: 1, system_us: 2, max_resident_kib: 3 };
    let effects = stage.happen(Event::Exited {
        id,
        run: 1,
        exit: Exit::Code(0),
        output_end: 0,
        spent: Some(used),
        jitter: 0,
    });
    let is_told = |effect: &Effect| {
        matches!(effect, Effect::Record(Record::Machine { what: What::Exited { spent, .. }, .. })
            if *spent == Some(used))
    };
    assert!(effects.iter().any(is_told), "{effects:?}");
}

#[test]
fn a_deploy_is_answered_when_the_machine_runs() {
    let mut stage = Stage::new();
    let deploy = stage.deploy("dev/one", spec(), &dev());
    assert_eq!(stage.state("dev/one"), Some(State::Starting));
    assert_eq!(records(&deploy.effects), ["deployed"]);
    let effects = stage.started(deploy.id);
    assert_eq!(answer(&effects, deploy.token), Some(Ok(Answer::Running { id: deploy.id, pid: 7 })));
    let view = stage.view("dev/one");
    assert_eq!((view.state, view.pid), (State::Running, Some(7)));
    assert_eq!(view.started_unix_ms, Some(stage.now.unix_ms));
}

#[test]
fn an_exit_without_a_restart_settles_the_machine() {
    for (exit, state) in [
        (Exit::Code(0), State::Exited),
        (Exit::Code(9), State::Exited),
        (Exit::Signal(11), State::Failed),
        (Exit::OutOfMemory, State::Failed),
        (Exit::Unknown, State::Failed),
    ] {
        let mut stage = Stage::new();
        let id = stage.run("dev/one", spec(), &dev());
        let effects = stage.exited(id, exit);
        assert!(effects.contains(&Effect::Settled { id, output_end: 42 }));
        assert_eq!(records(&effects), ["exited"]);
        let view = stage.view("dev/one");
        assert_eq!((view.state, view.exit, view.pid), (state, Some(exit), None));
        assert_eq!(stage.used("dev"), (0, 0));
    }
}

#[test]
fn a_stop_asks_waits_and_is_answered_at_the_exit() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", spec(), &dev());
    let stop = stage.stop("dev/one", 500);
    assert_eq!(stops(&stop.effects), [(id, false)]);
    assert_eq!(stop.answer(), None);
    assert_eq!(stage.state("dev/one"), Some(State::Stopping));
    assert_eq!(stage.used("dev"), (1, 10));
    let effects = stage.exited(id, Exit::Signal(15));
    assert_eq!(answer(&effects, stop.token), Some(Ok(Answer::Stopped { id })));
    assert!(settles(&effects, id));
    assert_eq!(stage.state("dev/one"), Some(State::Stopped));
    assert_eq!(stage.used("dev"), (0, 0));
    assert_eq!(stage.engine.next_wake(), None);
}

#[test]
fn what_does_not_stop_is_killed_and_killed_again() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", spec(), &dev());
    stage.stop("dev/one", 500);
    assert_eq!(stage.engine.next_wake(), Some(500));
    assert!(stage.pass(499).is_empty());
    let effects = stage.pass(1);
    assert_eq!(stops(&effects), [(id, true)]);
    assert_eq!(records(&effects), ["killed"]);
    let again = stage.pass(KILL_AGAIN_MS);
    assert_eq!(stops(&again), [(id, true)]);
    assert!(records(&again).is_empty());
}

#[test]
fn a_second_stop_joins_the_first_and_may_hurry_it() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", spec(), &dev());
    let first = stage.stop("dev/one", 5000);
    let second = stage.stop("dev/one", 100);
    stage.stop("dev/one", 50_000);
    assert!(stops(&second.effects).is_empty());
    assert_eq!(stops(&stage.pass(100)), [(id, true)]);
    let effects = stage.exited(id, Exit::Signal(9));
    for token in [first.token, second.token] {
        assert_eq!(answer(&effects, token), Some(Ok(Answer::Stopped { id })));
    }
}

#[test]
fn stopping_what_has_ended_is_no_fault_and_changes_nothing() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", spec(), &dev());
    stage.exited(id, Exit::Code(3));
    let stop = stage.stop("dev/one", 500);
    assert_eq!(stop.answer(), Some(Ok(Answer::Stopped { id })));
    assert_eq!(stage.state("dev/one"), Some(State::Exited));
}

#[test]
fn a_machine_that_is_being_started_is_stopped_as_soon_as_possible() {
    let mut stage = Stage::new();
    let deploy = stage.deploy("dev/one", spec(), &dev());
    let stop = stage.stop("dev/one", 500);
    assert!(stops(&stop.effects).is_empty(), "there is nothing to stop yet");
    assert_eq!(stage.state("dev/one"), Some(State::Stopping));
    let effects = stage.started(deploy.id);
    assert!(answer(&effects, deploy.token).unwrap().is_ok());
    assert_eq!(stops(&effects), [(deploy.id, false)]);
    stage.exited(deploy.id, Exit::Code(0));
    assert_eq!(stage.state("dev/one"), Some(State::Stopped));
}

#[test]
fn a_start_that_fails_while_somebody_stops_it_leaves_it_stopped() {
    let mut stage = Stage::new();
    let deploy = stage.deploy("dev/one", spec(), &dev());
    let stop = stage.stop("dev/one", 500);
    let effects = stage.start_failed(deploy.id);
    assert!(answer(&effects, deploy.token).unwrap().is_err());
    assert!(answer(&effects, stop.token).unwrap().is_ok());
    assert_eq!(stage.state("dev/one"), Some(State::Stopped));
}

#[test]
fn a_machine_that_waits_for_its_restart_is_stopped_at_once() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", with_restart(Restart::Always), &dev());
    stage.exited(id, Exit::Code(0));
    assert_eq!(stage.state("dev/one"), Some(State::Restarting));
    let stop = stage.stop("dev/one", 500);
    assert_eq!(stop.answer(), Some(Ok(Answer::Stopped { id })));
    assert!(settles(&stop.effects, id));
    assert!(stage.pass(60_000).is_empty());
    assert_eq!(stage.used("dev"), (0, 0));
}

#[test]
fn what_has_ended_is_started_again_under_its_id_if_it_fits() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", with_memory(20), &dev());
    stage.stop("dev/one", 500);
    stage.exited(id, Exit::Code(0));
    let two = stage.run("dev/two", with_memory(20), &dev());
    assert_eq!(stage.start("dev/one", "dev").refusal().code(), "quota");
    stage.exited(two, Exit::Code(0));
    let start = stage.start("dev/one", "dev");
    assert_eq!(starts(&start.effects), [id]);
    assert_eq!(stage.used("dev"), (1, 20));
    let effects = stage.started(id);
    assert_eq!(answer(&effects, start.token), Some(Ok(Answer::Running { id, pid: 7 })));
    assert_eq!(stage.view("dev/one").exit, None);
}

#[test]
fn after_the_delegation_has_expired_nothing_is_started_until_it_is_renewed() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", spec(), &dev());
    stage.exited(id, Exit::Code(0));
    stage.pass(3_601_000);
    assert_eq!(stage.start("dev/one", "dev").refusal().code(), "expired");
    let mut longer = renewed(&dev()[0], 2, 30);
    longer.validity.not_after += 3600;
    stage.present(&[longer]);
    assert_eq!(stage.start("dev/one", "dev").answer(), None);
}

#[test]
fn a_start_of_what_is_not_at_rest_says_why_not() {
    let mut stage = Stage::new();
    let deploy = stage.deploy("dev/one", spec(), &dev());
    assert!(stage.start("dev/one", "").refusal().to_string().contains("is being started"));
    stage.started(deploy.id);
    assert_eq!(stage.start("dev/one", "").refusal().code(), "running");
    stage.restart("dev/one");
    assert!(stage.start("dev/one", "").refusal().to_string().contains("is being restarted"));
    stage.stop("dev/one", 10);
    assert!(stage.restart("dev/one").refusal().to_string().contains("is being stopped"));
    stage.destroy("dev/one");
    assert!(stage.start("dev/one", "").refusal().to_string().contains("is being destroyed"));
}

#[test]
fn a_restart_keeps_the_place_and_the_id() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", with_memory(20), &dev());
    let restart = stage.restart("dev/one");
    assert_eq!(stops(&restart.effects), [(id, false)]);
    assert_eq!(stage.deploy("dev/two", with_memory(20), &dev()).refusal().code(), "quota");
    let effects = stage.exited(id, Exit::Signal(15));
    assert_eq!(starts(&effects), [id]);
    assert!(!settles(&effects, id), "its readers stay");
    let effects = stage.started(id);
    assert_eq!(answer(&effects, restart.token), Some(Ok(Answer::Running { id, pid: 7 })));
    assert_eq!(stage.view("dev/one").restarts, 0, "those of its policy are counted");
}

#[test]
fn a_restart_that_fails_is_answered_and_gives_everything_back() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", with_restart(Restart::Always), &dev());
    let restart = stage.restart("dev/one");
    stage.exited(id, Exit::Code(0));
    let effects = stage.start_failed(id);
    assert!(answer(&effects, restart.token).unwrap().is_err());
    assert!(settles(&effects, id));
    assert_eq!(stage.used("dev"), (0, 0));
}

#[test]
fn a_stop_calls_a_restart_off() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", spec(), &dev());
    let restart = stage.restart("dev/one");
    let stop = stage.stop("dev/one", 500);
    assert_eq!(answer(&stop.effects, restart.token).unwrap().unwrap_err().code(), "called-off");
    let effects = stage.exited(id, Exit::Code(0));
    assert!(starts(&effects).is_empty());
    assert_eq!(stage.state("dev/one"), Some(State::Stopped));
}

/// What brings a machine that was just deployed into some state.
type Reach = fn(&mut Stage, MachineId);

#[test]
fn destroy_works_in_every_state() {
    let always = || with_restart(Restart::Always);
    let to_state: [(State, Reach); 7] = [
        (State::Starting, |_, _| {}),
        (State::Running, |stage, id| drop(stage.started(id))),
        (State::Stopping, |stage, id| {
            stage.started(id);
            stage.stop("dev/one", 500);
        }),
        (State::Stopped, |stage, id| {
            stage.started(id);
            stage.stop("dev/one", 500);
            stage.exited(id, Exit::Code(0));
        }),
        (State::Restarting, |stage, id| {
            stage.started(id);
            stage.exited(id, Exit::Code(0));
        }),
        (State::Exited, |stage, id| {
            stage.start_failed(id);
            stage.start("dev/one", "dev");
            stage.started(id);
            stage.exited(id, Exit::Code(0));
        }),
        (State::Failed, |stage, id| drop(stage.start_failed(id))),
    ];
    for (state, reach) in to_state {
        let mut stage = Stage::new();
        let spec = if state == State::Exited { spec() } else { always() };
        let deploy = stage.deploy("dev/one", spec, &dev());
        reach(&mut stage, deploy.id);
        assert_eq!(stage.state("dev/one"), Some(state));
        let destroy = stage.destroy("dev/one");
        let mut effects = destroy.effects;
        if state == State::Starting {
            effects.extend(stage.started(deploy.id));
        }
        if matches!(state, State::Starting | State::Running | State::Stopping) {
            assert_eq!(answer(&effects, destroy.token), None, "{state}");
            effects.extend(stage.exited(deploy.id, Exit::Code(0)));
        }
        assert_eq!(
            answer(&effects, destroy.token),
            Some(Ok(Answer::Destroyed { id: deploy.id })),
            "{state}"
        );
        assert!(forgets(&effects, deploy.id), "{state}");
        assert_eq!(drops(&effects).len(), 1, "{state}");
        assert_eq!(stage.state("dev/one"), None);
        assert_eq!((stage.used(""), stage.engine.next_wake()), ((0, 0), None), "{state}");
    }
}

#[test]
fn a_machine_that_will_not_be_destroyed_is_killed() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", spec(), &dev());
    stage.destroy("dev/one");
    assert_eq!(stops(&stage.pass(DEFAULT_STOP_MS)), [(id, true)]);
}

#[test]
fn requests_about_a_machine_that_is_not_there_say_so() {
    let mut stage = Stage::new();
    for asked in [
        stage.stop("dev/one", 1),
        stage.start("dev/one", "dev"),
        stage.restart("dev/one"),
        stage.destroy("dev/one"),
    ] {
        assert_eq!(asked.refusal().to_string(), "there is no machine \"dev/one\"");
        assert_eq!(records(&asked.effects), ["refused"]);
    }
}

#[test]
fn stale_reports_change_nothing_and_nobody_runs_who_is_not_accounted_for() {
    let mut stage = Stage::new();
    let stranger = MachineId([9; 16]);
    assert_eq!(stops(&stage.started(stranger)), [(stranger, true)]);
    assert!(forgets(&stage.exited(stranger, Exit::Code(0)), stranger));
    assert!(stage.start_failed(stranger).is_empty());

    let id = stage.run("dev/one", spec(), &dev());
    assert!(stage.started(id).is_empty() && stage.start_failed(id).is_empty());
    stage.exited(id, Exit::Code(1));
    assert!(stage.exited(id, Exit::Code(2)).is_empty());
    assert!(stage.start_failed(id).is_empty());
    assert_eq!(stops(&stage.started(id)), [(id, true)]);
    assert_eq!(stage.view("dev/one").exit, Some(Exit::Code(1)));
}

#[test]
fn an_exit_before_the_machine_ran_is_a_failed_start() {
    let mut stage = Stage::new();
    let deploy = stage.deploy("dev/one", spec(), &dev());
    let effects = stage.exited(deploy.id, Exit::Code(1));
    let refusal = answer(&effects, deploy.token).unwrap().unwrap_err();
    assert!(refusal.to_string().ends_with("it ended while it was being started: exit code 1"));
    assert_eq!(stage.state("dev/one"), Some(State::Failed));
}

#[test]
fn machines_are_listed_in_order_and_only_those_that_are_meant() {
    let mut stage = Stage::new();
    stage.run("dev/alice/one", spec(), &alice());
    stage.run("dev/alice", spec(), &dev());
    stage.run("zoe", spec(), &[]);
    let list = |target: &str| -> Vec<String> {
        let target = Target::parse(target, &Path::host()).unwrap();
        stage.engine.machines(&target).map(|view| view.name.to_string()).collect()
    };
    assert_eq!(list("/"), ["zoe", "dev/alice", "dev/alice/one"]);
    assert_eq!(list("dev/"), ["dev/alice", "dev/alice/one"]);
    assert_eq!(list("dev/alice/"), ["dev/alice/one"]);
    assert_eq!(list("dev/alice"), ["dev/alice"]);
    assert_eq!(list("dev/one"), [""; 0]);
}
