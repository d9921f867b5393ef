//! Any sequence of events, against a naive model.
//!
//! [`world`] plays the tenants, [`shell`] the supervisor's shell, which dies at any moment, and
//! [`spawn`] vmm-spawn, whose processes outlive it: they keep what really runs, what is durable,
//! which files exist, and which certificates were issued. [`naive`] says what should be admitted, by adding up
//! the list of machines again each time. After every event all invariants below must hold.

// "cfg(test)" tells clippy that these are tests, too.
#[cfg(test)]
mod naive;
#[cfg(test)]
mod ops;
#[cfg(test)]
mod perform;
#[cfg(test)]
mod shell;
#[cfg(test)]
mod spawn;
#[cfg(test)]
mod wires;
#[cfg(test)]
mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use vmm_engine::{OnExpiry, State};

use ops::{Op, ops};
use wires::{NO_RANGE, NO_RANGE6};
use world::{NODES, USUAL, World};

/// How many sequences are played, of 80 steps on average: on CI a million steps. More with
/// `VMM_MODEL_CASES`.
fn cases() -> u32 {
    let more = std::env::var("VMM_MODEL_CASES").ok().and_then(|cases| cases.parse().ok());
    let on_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    more.unwrap_or(if on_ci { 12_500 } else { 250 })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn after_any_sequence_of_events_every_invariant_holds(ops in ops()) {
        play(ops);
    }
}

/// Without this, the test above could pass because nothing ever happens.
#[test]
fn the_sequences_reach_everything_that_can_happen() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..250 {
        let ops = ops().new_tree(&mut runner).unwrap().current();
        seen.extend(play(ops).seen);
    }
    for kind in [
        // records
        "deployed",
        "started",
        "start-failed",
        "exited",
        "restarting",
        "stopping",
        "killed",
        "stopped",
        "destroyed",
        "replaced",
        "pushed-out",
        "refused",
        "renewed",
        "revoked",
        "list",
        "crash",
        "reboot",
        "stop-all",
        "doors",
        "rolled-back",
        // refusals
        "stale",
        "expired",
        "quota",
        "cpu",
        "image",
        "name",
        "not-found",
        "busy",
        "running",
        "called-off",
        "draining",
        "address",
        "mac",
        "overlap",
        // states
        "unaddressed",
    ] {
        assert!(seen.contains(kind), "{kind} never happened");
    }
}

fn play(ops: Vec<Op>) -> World {
    let on_expiry = if ops.len().is_multiple_of(3) { OnExpiry::Stop } else { OnExpiry::Keep };
    let ranges = match ops.len() % 8 {
        0 => NO_RANGE,
        1 => NO_RANGE6,
        _ => USUAL,
    };
    let mut world = World::new(on_expiry, ranges);
    for op in ops {
        step(&mut world, op);
    }
    world.let_everything_finish();
    check(&world);
    invariant_every_token_is_answered_in_the_end(&world);
    invariant_every_machine_that_should_run_runs_once(&world);
    world
}

fn step(world: &mut World, op: Op) {
    let before: Vec<_> = NODES.map(|node| naive::held(world, node, None)).to_vec();
    let lives = world.shell.lives;
    world.perform(op);
    check(world);
    if world.list().iter().any(|view| view.state.is_live() && wires::lacks_an_address(world, view))
    {
        world.seen.insert("unaddressed");
    }
    // What ended shortly before a crash may count again until vmm-spawn has said so once more.
    if lives == world.shell.lives {
        invariant_what_runs_fits_every_delegation_above_it(world, &before);
    }
}

fn check(world: &World) {
    invariant_ledger_equals_the_sum_of_live_machines(world);
    invariant_states_tell_what_really_runs(world);
    invariant_every_token_is_answered_at_most_once(world);
    invariant_no_image_is_lost_or_dropped_while_used(world);
    invariant_images_fit_and_their_room_is_their_sum(world);
    invariant_ended_lists_are_bounded(world);
    invariant_over_quota_is_what_does_not_fit_any_more(world);
    invariant_names_are_unique_and_in_order(world);
    invariant_what_was_revoked_is_dead_or_dying(world);
    wires::invariant_nothing_is_given_twice(world);
    wires::invariant_groups_are_those_of_the_delegations(world);
    wires::invariant_interfaces_are_shown_as_they_are(world);
    world.invariant_nothing_runs_that_was_answered_to_have_stopped();
    // Others are checked in the shell: `invariant_no_machine_is_started_twice` at each start,
    // `invariant_every_end_of_a_run_is_recorded_exactly_once` at each record, and
    // `invariant_no_machine_is_lost_that_was_answered_for` at each crash.
}

/// Neither a delegation nor the host is exceeded; one that has become too small for what is live
/// does not get more. (What runs is never more than what is live, see below.)
fn invariant_what_runs_fits_every_delegation_above_it(
    world: &World,
    before: &[vmm_engine::Amount],
) {
    for (node, before) in NODES.into_iter().zip(before) {
        let now = naive::held(world, node, None);
        let Some((machines, memory_mib)) = naive::bounds(world, node) else { continue };
        assert!(now.machines <= machines.max(before.machines), "{node}: {now:?}");
        assert!(now.memory_mib <= memory_mib.max(before.memory_mib), "{node}: {now:?}");
    }
}

fn invariant_ledger_equals_the_sum_of_live_machines(world: &World) {
    for node in NODES {
        let used = world.engine.usage(naive::path(node));
        assert_eq!(used, naive::held(world, node, None), "at {node:?}");
        let running = naive::running_processes(world, node);
        assert!(running.machines <= used.machines && running.memory_mib <= used.memory_mib);
    }
}

fn invariant_states_tell_what_really_runs(world: &World) {
    for id in world.processes.keys() {
        let listed = world.engine.by_id(*id).map(|view| view.state);
        assert!(listed.is_some_and(State::is_live), "{id} runs and is {listed:?}");
    }
    if !world.spawn.connected {
        return;
    }
    for view in world.list() {
        let process = world.processes.get(&view.id);
        match view.state {
            State::Starting => assert!(process.is_some_and(|process| process.pid.is_none())),
            State::Running => assert!(process.is_some_and(|process| process.pid == view.pid)),
            State::Stopping => assert!(process.is_some()),
            State::Restarting | State::Stopped | State::Exited | State::Failed | State::Revoked => {
                assert!(process.is_none(), "{view:?}");
                assert_eq!(view.pid, None);
            }
        }
    }
}

/// When everything has settled: what is live has its process, the log says so, and nothing else
/// has one.
fn invariant_every_machine_that_should_run_runs_once(world: &World) {
    for view in world.list().iter().filter(|view| view.state.is_live()) {
        if view.state == State::Restarting && !wires::stays(world, view) {
            // It goes on trying to get what it needs.
            continue;
        }
        let process = world.processes.get(&view.id);
        let runs =
            process.is_some_and(|process| process.run == view.run && process.pid == view.pid);
        assert!(view.state == State::Running && runs, "{view:?}");
    }
    for (id, runs) in &world.shell.log {
        assert_eq!(*runs, world.processes.contains_key(id), "{id} in the log");
    }
}

fn invariant_every_token_is_answered_at_most_once(world: &World) {
    for (token, answers) in &world.answers {
        assert!(*answers <= 1, "{token:?} was answered {answers} times");
    }
}

fn invariant_every_token_is_answered_in_the_end(world: &World) {
    for (token, answers) in &world.answers {
        assert_eq!(*answers, 1, "{token:?}");
    }
}

/// What a machine or a session needs is there, and what nobody needs is not.
fn invariant_no_image_is_lost_or_dropped_while_used(world: &World) {
    let used = naive::images_in_use(world);
    for image in &used {
        assert!(world.files.get(image).is_some_and(|file| file.stored), "{image:?} is lost");
    }
    for (image, file) in &world.files {
        assert!(!file.parked || !file.stored && file.holds == 0, "{image:?}: {file:?}");
        let needed = !file.stored || file.holds > 0 || used.contains(image);
        assert!(needed, "{image:?} was not dropped");
    }
}

fn invariant_images_fit_and_their_room_is_their_sum(world: &World) {
    for node in NODES {
        let room = naive::image_bytes(world, node);
        assert_eq!(world.engine.image_room(naive::path(node)), room, "at {node:?}");
    }
}

fn invariant_ended_lists_are_bounded(world: &World) {
    for node in NODES {
        let Some((machines, _)) = naive::bounds(world, node) else { continue };
        let ended = naive::below(world, node).filter(|view| !view.state.is_live()).count();
        assert!(ended <= machines as usize, "{ended} ended machines below {node:?}");
    }
}

fn invariant_over_quota_is_what_does_not_fit_any_more(world: &World) {
    for view in world.list() {
        let expected = view.state.is_live() && naive::is_over_quota(world, &view);
        assert_eq!(view.over_quota, expected, "{view:?}");
    }
}

/// Nothing whose authority was taken back is left alone for a moment, and what it leaves is listed
/// as revoked.
fn invariant_what_was_revoked_is_dead_or_dying(world: &World) {
    for view in world.list() {
        let revoked = naive::is_revoked(world, &view.name.path);
        let killed = world.processes.get(&view.id).is_some_and(|p| p.killed || p.pid.is_none())
            || !world.spawn.connected;
        let fine = match view.state {
            State::Stopping => !revoked || killed,
            State::Revoked => true,
            _ => !revoked,
        };
        assert!(fine, "{view:?}");
    }
}

fn invariant_names_are_unique_and_in_order(world: &World) {
    let names: Vec<_> = world.list().iter().map(|view| view.name.clone()).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
}
