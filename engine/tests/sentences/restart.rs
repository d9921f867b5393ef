//! Restart policies.

use vmm_engine::{Effect, Exit, HEALTHY_MS, Record, State, What};
use vmm_proto::resource::Restart;

use crate::stage::*;

#[test]
fn restarts_come_after_growing_waits_and_are_counted() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", with_restart(Restart::Always), &dev());
    for (count, wait) in [(1, 100), (2, 200), (3, 400), (4, 800)] {
        let effects = stage.exited(id, Exit::Code(0));
        assert!(!settles(&effects, id));
        assert_eq!(stage.state("dev/one"), Some(State::Restarting));
        assert_eq!(stage.used("dev"), (1, 10), "it keeps its place");
        assert_eq!(stage.engine.next_wake(), Some(stage.now.monotonic_ms + wait));
        assert!(stage.pass(wait - 1).is_empty());
        assert_eq!(starts(&stage.pass(1)), [id]);
        stage.started(id);
        assert_eq!(stage.view("dev/one").restarts, count);
    }
}

#[test]
fn after_a_healthy_run_the_waits_begin_anew_and_the_count_goes_on() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", with_restart(Restart::Always), &dev());
    for _ in 0..3 {
        stage.exited(id, Exit::Signal(11));
        stage.pass(1000);
        stage.started(id);
    }
    stage.pass(HEALTHY_MS);
    stage.exited(id, Exit::Signal(11));
    assert_eq!(starts(&stage.pass(100)), [id]);
    assert_eq!(stage.view("dev/one").restarts, 4);
}

#[test]
fn a_limit_ends_a_row_of_restarts_and_says_so() {
    let mut stage = Stage::new();
    let policy = Restart::on_failure(vec![], 2).unwrap();
    let id = stage.run("dev/one", with_restart(policy), &dev());
    for _ in 0..2 {
        stage.exited(id, Exit::Code(1));
        assert_eq!(starts(&stage.pass(60_000)), [id]);
        stage.started(id);
    }
    assert!(settles(&stage.exited(id, Exit::Code(1)), id));
    let view = stage.view("dev/one");
    assert_eq!(view.state, State::Exited);
    assert_eq!(view.reason, Some("not restarted: 2 restarts in a row are the limit"));
    assert_eq!(stage.used("dev"), (0, 0));
}

#[test]
fn a_success_is_not_restarted_on_failure() {
    let mut stage = Stage::new();
    let policy = Restart::on_failure(vec![], 0).unwrap();
    let id = stage.run("dev/one", with_restart(policy), &dev());
    stage.exited(id, Exit::Code(0));
    assert_eq!(stage.state("dev/one"), Some(State::Exited));
}

#[test]
fn what_was_asked_to_stop_is_never_restarted() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", with_restart(Restart::Always), &dev());
    stage.stop("dev/one", 500);
    stage.exited(id, Exit::Signal(15));
    assert_eq!(stage.state("dev/one"), Some(State::Stopped));
}

#[test]
fn a_first_start_that_fails_is_not_tried_again_but_a_restart_that_fails_is() {
    let mut stage = Stage::new();
    let policy = Restart::on_failure(vec![], 2).unwrap();
    let deploy = stage.deploy("dev/one", with_restart(policy), &dev());
    stage.start_failed(deploy.id);
    assert_eq!(stage.state("dev/one"), Some(State::Failed));

    stage.start("dev/one", "dev");
    stage.started(deploy.id);
    stage.exited(deploy.id, Exit::OutOfMemory);
    assert_eq!(starts(&stage.pass(100)), [deploy.id]);
    let effects = stage.start_failed(deploy.id);
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Record(Record::Machine {
            what: What::Restarting { delay_ms: 200, attempt: 2 },
            ..
        })
    )));
    assert_eq!(starts(&stage.pass(200)), [deploy.id]);
    stage.start_failed(deploy.id);
    let view = stage.view("dev/one");
    assert_eq!(view.state, State::Failed);
    assert_eq!(view.reason, Some("no luck; not restarted: 2 restarts in a row are the limit"),);
}

#[test]
fn somebody_may_start_it_before_its_time() {
    let mut stage = Stage::new();
    let id = stage.run("dev/one", with_restart(Restart::Always), &dev());
    stage.exited(id, Exit::Code(0));
    let start = stage.start("dev/one", "dev");
    assert_eq!(starts(&start.effects), [id]);
    assert!(stage.pass(60_000).is_empty(), "its own restart does not come as well");
    assert!(answer(&stage.started(id), start.token).unwrap().is_ok());
}
