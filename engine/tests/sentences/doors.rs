//! A host that is drained, and a supervisor that takes its machines along.

use vmm_engine::{Answer, Event, Exit, Refusal, State};
use vmm_proto::resource::Restart;

use crate::stage::*;

fn drain(stage: &mut Stage, on: bool) -> Asked {
    stage.ask(|token| Event::Drain { token, on })
}

fn await_drained(stage: &mut Stage) -> Asked {
    stage.ask(|token| Event::AwaitDrained { token })
}

#[test]
fn a_drained_host_takes_no_new_machines_and_says_so() {
    let mut stage = Stage::new();
    let one = stage.run("dev/one", with_restart(Restart::Always), &dev());
    let two = stage.run("dev/two", spec(), &dev());
    stage.exited(two, Exit::Code(0));
    let asked = drain(&mut stage, true);
    assert_eq!(asked.answer(), Some(Ok(Answer::Doors { draining: true, live: 1 })));
    let refusals = [
        stage.deploy("dev/three", spec(), &dev()).refusal(),
        stage.deploy_as("dev/one", spec(), &dev(), true).refusal(),
        stage.offer("dev/three", (9, 9, 1), &dev()).refusal(),
        stage.start("dev/two", "dev").refusal(),
    ];
    assert!(refusals.iter().all(|refusal| *refusal == Refusal::Draining), "{refusals:?}");
    assert!(stage.explain("dev/x", &spec(), &dev(), false).obstacles.contains(&Refusal::Draining));
    assert!(refusals[0].to_string().contains("ask its admin"), "{}", refusals[0]);
    // What runs goes on, by its policy too.
    stage.exited(one, Exit::Code(1));
    assert_eq!(starts(&stage.pass(100)), [one]);
    stage.started(one);
    stage.restart("dev/one");
    assert_eq!(starts(&stage.exited(one, Exit::Code(0))), [one]);
}

#[test]
fn it_stays_drained_over_restarts_until_it_is_opened() {
    let mut stage = Stage::new();
    drain(&mut stage, true);
    stage.next_life();
    stage.spawn_knows(false, &[]);
    assert!(stage.engine.is_draining());
    assert_eq!(stage.deploy("dev/one", spec(), &dev()).refusal(), Refusal::Draining);
    drain(&mut stage, false);
    stage.next_life();
    stage.spawn_knows(true, &[]);
    stage.run("dev/one", spec(), &dev());
}

#[test]
fn all_who_wait_are_told_when_nothing_is_live_any_more() {
    let mut stage = Stage::new();
    let one = stage.run("dev/one", spec(), &dev());
    let two = stage.run("dev/two", spec(), &dev());
    drain(&mut stage, true);
    let waiting = [await_drained(&mut stage), await_drained(&mut stage)];
    stage.exited(one, Exit::Code(0));
    stage.destroy("dev/two");
    let effects = stage.exited(two, Exit::Code(0));
    for asked in waiting {
        assert_eq!(asked.answer(), None);
        assert_eq!(answer(&effects, asked.token), Some(Ok(Answer::Drained)));
    }
    assert_eq!(await_drained(&mut stage).answer(), Some(Ok(Answer::Drained)), "at once");
}

#[test]
fn whoever_waits_is_told_when_the_host_is_opened_instead() {
    let mut stage = Stage::new();
    stage.run("dev/one", spec(), &dev());
    assert_eq!(await_drained(&mut stage).refusal(), Refusal::NotDraining);
    drain(&mut stage, true);
    let waits = await_drained(&mut stage);
    let opened = drain(&mut stage, false);
    assert_eq!(answer(&opened.effects, waits.token), Some(Err(Refusal::NotDraining)));
    assert_eq!(records(&opened.effects), ["doors"]);
    assert_eq!(records(&drain(&mut stage, false).effects), Vec::<&str>::new());
}

#[test]
fn a_supervisor_that_stops_machines_stops_all_and_the_next_one_starts_what_should_run() {
    let mut stage = Stage::with_machines(8);
    let runs = stage.run("runs", with_restart(Restart::Always), &[]);
    let waits = stage.run("waits", with_restart(Restart::Always), &[]);
    stage.exited(waits, Exit::Code(0));
    let starting = stage.deploy("starting", spec(), &[]);
    let stopping = stage.run("stopping", spec(), &[]);
    stage.stop("stopping", 1000);
    let replaced = stage.run("replaced", spec(), &[]);
    let successor = stage.deploy_as("replaced", spec(), &[], true);

    let all = stage.ask(|token| Event::StopAll { token });
    assert_eq!(stops(&all.effects), [(runs, false)], "the others are asked, or not there yet");
    assert_eq!(stage.deploy("new", spec(), &[]).refusal(), Refusal::Ending);
    assert_eq!(stage.restart("runs").refusal(), Refusal::Ending);
    assert_eq!(stops(&stage.started(starting.id)), [(starting.id, false)]);
    assert!(starts(&stage.pass(5_000)).is_empty(), "nothing is started any more");
    for id in [runs, stopping] {
        assert_eq!(answer(&stage.exited(id, Exit::Signal(15)), all.token), None);
    }
    let effects = stage.exited(replaced, Exit::Signal(15));
    assert_eq!(answer(&effects, successor.token), Some(Err(Refusal::Ending)));
    assert!(starts(&effects).is_empty());
    let effects = stage.exited(starting.id, Exit::Signal(15));
    assert_eq!(answer(&effects, all.token), Some(Ok(Answer::AllStopped)));

    stage.next_life();
    assert_eq!(stage.state("stopping"), Some(State::Stopped));
    let mut again = starts(&stage.spawn_knows(true, &[]));
    again.extend(starts(&stage.pass(75_000)));
    again.sort_unstable();
    let mut expected = vec![runs, waits, starting.id, successor.id];
    expected.sort_unstable();
    assert_eq!(again, expected);
}

#[test]
fn with_nothing_to_stop_all_is_stopped_at_once() {
    let mut stage = Stage::new();
    let asked = stage.ask(|token| Event::StopAll { token });
    assert_eq!(asked.answer(), Some(Ok(Answer::AllStopped)));
}
