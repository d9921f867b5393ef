//! The list of machines that have ended.

use vmm_engine::{Effect, Exit, Record, State, What};

use crate::stage::*;

#[test]
fn as_many_ended_machines_are_kept_below_a_delegation_as_it_may_run() {
    let mut stage = Stage::new();
    let ids = ["dev/one", "dev/two", "dev/three"].map(|name| {
        let id = stage.run(name, spec(), &dev());
        (id, stage.exited(id, Exit::Code(0)))
    });
    let (one, _) = ids[0];
    let (_, last) = &ids[2];
    assert!(forgets(last, one), "the oldest goes");
    let full = path("dev");
    let pushed = |effect: &Effect| {
        matches!(effect, Effect::Record(Record::Machine { what: What::PushedOut { full: at }, .. })
            if *at == full)
    };
    assert!(last.iter().any(pushed));
    assert_eq!(stage.state("dev/one"), None);
    assert_eq!(stage.state("dev/two"), Some(State::Exited));
}

#[test]
fn the_whole_subtree_and_the_host_count() {
    let mut stage = Stage::new();
    for name in ["dev/alice/one", "dev/alice/two"] {
        let id = stage.run(name, spec(), &alice());
        stage.exited(id, Exit::Code(0));
    }
    let id = stage.run("dev/bob/one", spec(), &bob());
    stage.exited(id, Exit::Code(0));
    assert_eq!(stage.state("dev/alice/one"), None, "dev may run two");
    for name in ["one", "two"] {
        let id = stage.run(name, spec(), &[]);
        stage.exited(id, Exit::Code(0));
    }
    assert_eq!(stage.state("dev/alice/two"), None, "the host may run three");
    assert_eq!(stage.state("dev/bob/one"), Some(State::Exited));
}

#[test]
fn what_ended_last_stays_however_it_ended() {
    let mut stage = Stage::new();
    let stopped = stage.run("dev/stopped", spec(), &dev());
    stage.stop("dev/stopped", 500);
    stage.exited(stopped, Exit::Code(0));
    for name in ["dev/one", "dev/two"] {
        let id = stage.run(name, spec(), &dev());
        stage.exited(id, Exit::Code(0));
    }
    assert_eq!(stage.state("dev/stopped"), None, "it was the first to end");
    for name in ["dev/one", "dev/two"] {
        assert_eq!(stage.state(name), Some(State::Exited), "{name}");
    }
}

#[test]
fn what_is_started_again_leaves_the_list() {
    let mut stage = Stage::new();
    for name in ["dev/one", "dev/two"] {
        let id = stage.run(name, spec(), &dev());
        stage.exited(id, Exit::Code(0));
    }
    stage.start("dev/one", "dev");
    let id = stage.run("dev/three", spec(), &dev());
    stage.exited(id, Exit::Code(0));
    assert_eq!(stage.state("dev/one"), Some(State::Starting));
    assert_eq!(stage.state("dev/two"), Some(State::Exited));
}

#[test]
fn a_smaller_delegation_keeps_fewer_at_once() {
    let mut stage = Stage::new();
    let one = stage.run("dev/one", spec(), &dev());
    stage.exited(one, Exit::Code(0));
    let two = stage.run("dev/two", spec(), &dev());
    stage.exited(two, Exit::Code(0));
    let shown = stage.present(&[renewed(&dev()[0], 1, 30)]);
    assert_eq!(records(&shown.effects), ["renewed", "pushed-out"]);
    assert!(forgets(&shown.effects, one));
    assert_eq!(stage.state("dev/two"), Some(State::Exited));
}
