//! Rule 12: one machine takes the place of another.

use vmm_engine::{Answer, Exit, State};
use vmm_proto::resource::Restart;

use crate::stage::*;

#[test]
fn a_live_name_needs_replace_and_an_ended_one_gives_way() {
    let mut stage = Stage::new();
    let first = stage.run("dev/one", spec(), &dev());
    let refusal = stage.deploy("dev/one", spec(), &dev()).refusal();
    assert_eq!(
        refusal.to_string(),
        "there is a machine \"dev/one\" already, and it is running; --replace lets the new one \
         take its place"
    );
    stage.exited(first, Exit::Code(0));
    let second = stage.deploy("dev/one", spec(), &dev());
    assert!(forgets(&second.effects, first));
    assert_eq!(starts(&second.effects), [second.id]);
    stage.started(second.id);
    stage.stop("dev/one", 1000);
    stage.exited(second.id, Exit::Code(0));
    assert_eq!(stage.state("dev/one"), Some(State::Stopped));
    assert_eq!(stage.deploy("dev/one", spec(), &dev()).refusal().code(), "name");
}

#[test]
fn the_old_one_is_stopped_first_and_the_new_one_starts_when_it_has_ended() {
    let mut stage = Stage::new();
    let old = stage.run("dev/one", spec(), &dev());
    let new = stage.deploy_as("dev/one", with_memory(15), &dev(), true);
    assert_eq!(stops(&new.effects), [(old, false)]);
    assert!(starts(&new.effects).is_empty());
    assert_eq!(stage.view("dev/one").successor, Some(new.id));

    let effects = stage.exited(old, Exit::Signal(15));
    assert!(settles(&effects, old) && forgets(&effects, old));
    assert_eq!(starts(&effects), [new.id]);
    assert_eq!(answer(&effects, new.token), None);
    let effects = stage.started(new.id);
    assert_eq!(answer(&effects, new.token), Some(Ok(Answer::Running { id: new.id, pid: 7 })));
    assert_eq!(stage.view("dev/one").id, new.id);
}

#[test]
fn while_it_lasts_the_ledger_holds_the_larger_of_the_two() {
    for (before, after) in [(20, 5), (5, 20)] {
        let mut stage = Stage::new();
        let old = stage.run("dev/one", with_memory(before), &dev());
        stage.deploy_as("dev/one", with_memory(after), &dev(), true);
        assert_eq!(stage.used("dev"), (1, 20));
        stage.exited(old, Exit::Code(0));
        assert_eq!(stage.used("dev"), (1, after.into()));
    }
}

#[test]
fn a_refused_replacement_leaves_the_old_one_alone() {
    let mut stage = Stage::new();
    stage.run("dev/one", with_memory(20), &dev());
    let new = stage.deploy_as("dev/one", with_memory(31), &dev(), true);
    assert_eq!(new.refusal().code(), "quota");
    assert!(stops(&new.effects).is_empty());
    assert_eq!(stage.state("dev/one"), Some(State::Running));
    assert_eq!(stage.used("dev"), (1, 20));
}

#[test]
fn a_full_delegation_can_replace_what_it_has() {
    let mut stage = Stage::new();
    stage.run("dev/one", with_memory(15), &dev());
    stage.run("dev/two", with_memory(15), &dev());
    let new = stage.deploy_as("dev/two", with_memory(15), &dev(), true);
    assert_eq!(new.answer(), None);
    assert_eq!(stage.used("dev"), (2, 30));
}

#[test]
fn a_second_replacement_has_to_wait() {
    let mut stage = Stage::new();
    stage.run("dev/one", spec(), &dev());
    stage.deploy_as("dev/one", spec(), &dev(), true);
    let third = stage.deploy_as("dev/one", spec(), &dev(), true);
    assert_eq!(
        third.refusal().to_string(),
        "\"dev/one\" is being replaced; try again when that is over"
    );
}

#[test]
fn a_replacement_that_does_not_start_gives_everything_back() {
    let mut stage = Stage::new();
    let old = stage.run("dev/one", with_memory(20), &dev());
    let new = stage.deploy_as("dev/one", spec(), &dev(), true);
    stage.exited(old, Exit::Code(0));
    let effects = stage.start_failed(new.id);
    assert_eq!(answer(&effects, new.token).unwrap().unwrap_err().code(), "start-failed");
    assert_eq!((stage.used("dev"), stage.used("")), ((0, 0), (0, 0)));
    assert_eq!(stage.state("dev/one"), Some(State::Failed));
}

#[test]
fn what_has_no_process_is_replaced_at_once() {
    let mut stage = Stage::new();
    let old = stage.run("dev/one", with_restart(Restart::Always), &dev());
    stage.exited(old, Exit::Code(0));
    assert_eq!(stage.state("dev/one"), Some(State::Restarting));
    let new = stage.deploy_as("dev/one", with_memory(12), &dev(), true);
    assert_eq!(starts(&new.effects), [new.id]);
    assert_eq!(stage.used("dev"), (1, 12));
    assert!(starts(&stage.pass(60_000)).is_empty(), "the old one does not come back");
}

#[test]
fn a_machine_that_is_being_started_is_replaced_as_soon_as_it_can_be_stopped() {
    let mut stage = Stage::new();
    let old = stage.deploy("dev/one", spec(), &dev());
    let new = stage.deploy_as("dev/one", spec(), &dev(), true);
    assert!(stops(&new.effects).is_empty());
    let effects = stage.started(old.id);
    assert!(answer(&effects, old.token).unwrap().is_ok());
    assert_eq!(stops(&effects), [(old.id, false)]);
    assert_eq!(starts(&stage.exited(old.id, Exit::Code(0))), [new.id]);
}

#[test]
fn a_stop_calls_the_replacement_off_and_keeps_the_old_one() {
    let mut stage = Stage::new();
    let old = stage.run("dev/one", spec(), &dev());
    let new = stage.deploy_as("dev/one", with_memory(30), &dev(), true);
    let stop = stage.stop("dev/one", 1000);
    assert_eq!(answer(&stop.effects, new.token).unwrap().unwrap_err().code(), "called-off");
    assert_eq!(stage.used("dev"), (1, 10));
    let effects = stage.exited(old, Exit::Code(0));
    assert_eq!(answer(&effects, stop.token), Some(Ok(Answer::Stopped { id: old })));
    assert!(starts(&effects).is_empty());
    assert_eq!(stage.view("dev/one").id, old);
    assert_eq!(stage.state("dev/one"), Some(State::Stopped));
}

#[test]
fn destroying_calls_the_replacement_off_too() {
    let mut stage = Stage::new();
    let old = stage.run("dev/one", spec(), &dev());
    let new = stage.deploy_as("dev/one", spec(), &dev(), true);
    let destroy = stage.destroy("dev/one");
    assert!(answer(&destroy.effects, new.token).unwrap().is_err());
    let effects = stage.exited(old, Exit::Code(0));
    assert_eq!(answer(&effects, destroy.token), Some(Ok(Answer::Destroyed { id: old })));
    assert_eq!(stage.state("dev/one"), None);
    assert_eq!(drops(&effects).len(), 1, "the image of both");
}

#[test]
fn who_waits_for_a_machine_to_be_gone_gets_that_whatever_else_is_wanted() {
    let mut stage = Stage::new();
    let old = stage.run("dev/one", spec(), &dev());
    let destroy = stage.destroy("dev/one");
    let new = stage.deploy_as("dev/one", spec(), &dev(), true);
    let stop = stage.stop("dev/one", 1000);
    assert!(answer(&stop.effects, new.token).unwrap().is_err());
    let effects = stage.exited(old, Exit::Code(0));
    assert!(answer(&effects, destroy.token).unwrap().is_ok());
    assert!(answer(&effects, stop.token).unwrap().is_ok());
    assert_eq!(stage.state("dev/one"), None);
}
