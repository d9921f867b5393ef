//! Delegations that are renewed while machines have their addresses.

use vmm_engine::{Effect, Event, Exit, Record, Spec, State, Token, What};
use vmm_proto::authority::Link;
use vmm_proto::resource::{Bridges, Restart};

use super::{
    FOUR, SIX, addresses, below, bridge, dev, netted, refused, started_with, telling, with,
};
use crate::stage::{Stage, answer, starts};

/// The next generation of a delegation, which has no bridge `ext` any more.
fn without_ext(link: &Link) -> Link {
    let mut next = with(link, &[]);
    next.grant.bridges = Bridges::new(vec![bridge("int", &[])]).unwrap();
    next
}

/// Who asked for the start that is recorded to have failed.
fn who_failed(effects: &[Effect]) -> Option<Token> {
    let failed = effects.iter().find_map(|effect| match effect {
        Effect::Record(Record::Machine { what: What::StartFailed { .. }, cause, .. }) => {
            Some(*cause)
        }
        _ => None,
    });
    failed.expect("a start failed")
}

#[test]
fn a_machine_whose_range_has_moved_runs_on_and_gets_another_address_when_it_is_started() {
    let mut stage = Stage::with_machines(9);
    let first = dev(&[FOUR]);
    let one = stage.run("dev/one", netted(), &first);
    let moved = with(&first[0], &["10.0.0.100/10.0.0.101/10.0.0.254/24"]);
    stage.present(&[moved]);
    assert_eq!(addresses(&stage, "dev/one"), ["10.0.0.2/24"]);
    assert!(stage.view("dev/one").over_quota);
    stage.restart("dev/one");
    let effects = stage.exited(one, Exit::Code(0));
    let (interfaces, words) = started_with(&effects, one);
    assert_eq!(words, ["--ipv4=10.0.0.100/24", "--ipv4-gateway=10.0.0.254"]);
    assert_eq!(stage.view("dev/one").interfaces, interfaces);
    stage.started(one);
    assert!(!stage.view("dev/one").over_quota);
}

#[test]
fn an_address_that_is_in_the_new_range_too_is_kept_and_one_that_is_not_is_free_then() {
    let mut stage = Stage::with_machines(9);
    let first = dev(&[FOUR]);
    let one = stage.run("dev/one", netted(), &first);
    stage.run("dev/two", netted(), &first);
    let moved = with(&first[0], &["10.0.0.3/10.0.0.4/10.0.0.1/24"]);
    stage.present(std::slice::from_ref(&moved));
    stage.exited(one, Exit::Code(0));
    assert_eq!(stage.start("dev/one", "dev").answer(), None);
    assert_eq!(addresses(&stage, "dev/one"), ["10.0.0.4/24"]);
    assert_eq!(addresses(&stage, "dev/two"), ["10.0.0.3/24"]);
    let back = with(&moved, &[FOUR]);
    stage.run("dev/three", netted(), &[back]);
    assert_eq!(addresses(&stage, "dev/three"), ["10.0.0.2/24"]);
}

#[test]
fn a_start_and_a_restart_are_refused_when_the_new_range_has_no_free_address() {
    let mut stage = Stage::with_machines(9);
    let first = dev(&[FOUR]);
    let one = stage.run("dev/one", netted(), &first);
    stage.run("dev/two", netted(), &first);
    let small = with(&first[0], &["10.0.0.5/10.0.0.5/10.0.0.1/24"]);
    stage.run("dev/three", netted(), &[small]);
    stage.exited(one, Exit::Code(0));
    let foreseen = stage.engine.explain_start(
        stage.now,
        &crate::stage::name("dev/one"),
        &crate::stage::path("dev"),
    );
    let asked = stage.start("dev/one", "dev");
    assert_eq!(foreseen.obstacles, [asked.refusal()]);
    refused(&asked, "address");
    assert_eq!(stage.state("dev/one"), Some(State::Exited));

    // It runs on with what it has, as it would not come back.
    let asked = stage.restart("dev/two");
    refused(&asked, "address");
    assert_eq!(stage.state("dev/two"), Some(State::Running));
    assert_eq!(addresses(&stage, "dev/two"), ["10.0.0.3/24"]);
}

#[test]
fn below_a_delegation_that_has_lost_a_bridge_nothing_is_started_on_it_again() {
    let always = || Spec { restart: Restart::Always, ..netted() };
    let is_told = |stage: &Stage| stage.view("dev/one").reason.unwrap().contains("bridge \"ext\"");
    // By policy.
    let (mut stage, first) = (Stage::with_machines(9), dev(&[FOUR]));
    let one = stage.run("dev/one", always(), &first);
    stage.present(&[without_ext(&first[0])]);
    assert_eq!(stage.restart("dev/one").refusal().code(), "bridge");
    assert_eq!(stage.state("dev/one"), Some(State::Running));
    stage.exited(one, Exit::Code(0));
    assert_eq!(starts(&stage.pass(600_000)), []);
    assert!(is_told(&stage));
    assert_eq!(stage.start("dev/one", "dev").refusal().code(), "bridge");
    // After a reboot.
    let mut stage = Stage::with_machines(9);
    stage.run("dev/one", always(), &first);
    stage.present(&[without_ext(&first[0])]);
    stage.next_life();
    assert_eq!(starts(&stage.spawn_knows(false, &[])), []);
    assert!(is_told(&stage));
    // An order that was lost.
    let mut stage = Stage::with_machines(9);
    let asked = stage.deploy("dev/one", netted(), &first);
    stage.present(&[without_ext(&first[0])]);
    stage.happen(Event::SpawnLost);
    let effects = stage.spawn_knows(true, &[]);
    assert_eq!(starts(&effects), []);
    assert_eq!(answer(&effects, asked.token).unwrap().unwrap_err().code(), "bridge");
    // In the place of one that failed on probation.
    let mut stage = Stage::with_machines(9);
    stage.probation_ms = 5_000;
    let old = stage.run("dev/one", always(), &first);
    let new = stage.deploy_as("dev/one", crate::stage::spec(), &first, true);
    stage.exited(old, Exit::Code(0));
    stage.started(new.id);
    stage.present(&[without_ext(&first[0])]);
    assert_eq!(starts(&stage.exited(new.id, Exit::Code(1))), []);
    assert!(is_told(&stage));
}

#[test]
fn a_machine_without_an_address_is_over_its_quota_where_addresses_are_managed_by_now() {
    let mut stage = Stage::with_machines(9);
    let bare = dev(&[]);
    let one = stage.run("dev/one", netted(), &bare);
    assert!(!stage.view("dev/one").over_quota);
    let four = with(&bare[0], &[FOUR]);
    stage.present(std::slice::from_ref(&four));
    assert!(stage.view("dev/one").over_quota);
    stage.restart("dev/one");
    stage.exited(one, Exit::Code(0));
    stage.started(one);
    assert!(!stage.view("dev/one").over_quota, "it has one of the only family that is managed");
    stage.present(&[with(&four, &[FOUR, SIX])]);
    assert!(stage.view("dev/one").over_quota);
}

#[test]
fn a_restart_fails_for_whoever_asked_when_there_is_no_address_left_at_its_end() {
    let mut stage = Stage::with_machines(9);
    let first = dev(&[FOUR]);
    let two = stage.run("dev/two", netted(), &first);
    let asked = stage.restart("dev/two");
    assert_eq!(asked.answer(), None);
    let small = with(&first[0], &["10.0.0.5/10.0.0.5/10.0.0.1/24"]);
    stage.run("dev/three", netted(), &[small]);
    let effects = stage.exited(two, Exit::Code(0));
    assert!(starts(&effects).is_empty());
    let refusal = answer(&effects, asked.token).unwrap().unwrap_err();
    assert_eq!(refusal.code(), "address");
    assert_eq!(who_failed(&effects), Some(asked.token));
    assert_eq!(stage.state("dev/two"), Some(State::Failed));
    assert!(stage.view("dev/two").reason.unwrap().contains("no IPv4 address is free"));
}

#[test]
fn an_address_has_to_be_in_every_range_above() {
    let mut stage = Stage::with_machines(9);
    let first = dev(&[FOUR]);
    let alice = below(&first, "alice", &[FOUR]);
    stage.present(&alice);
    let smaller = vec![with(&first[0], &["10.0.0.4/10.0.0.9/10.0.0.1/24"])];
    stage.present(&smaller);
    // The chain does not fit in itself any more, so that only whoever is above it may still deploy.
    stage.run("dev/alice/one", netted(), &smaller);
    assert_eq!(addresses(&stage, "dev/alice/one"), ["10.0.0.4/24"]);
    let elsewhere = vec![with(&smaller[0], &["10.0.0.7/10.0.0.9/10.0.0.1/24"])];
    let asked = stage.deploy("dev/alice/two", netted(), &elsewhere);
    assert!(refused(&asked, "address").contains("new certificate"));
}

#[test]
fn below_a_delegation_that_manages_addresses_none_are_left_unmanaged() {
    for (now, why) in [
        (&[][..], "it has none there"),
        (&["10.0.0.2/10.0.0.5/10.0.0.9/24"][..], "another gateway"),
        (&["10.0.0.2/10.0.0.5/10.0.0.1/25"][..], "another size"),
    ] {
        let mut stage = Stage::with_machines(9);
        let first = dev(&[FOUR]);
        stage.present(&below(&first, "alice", &[FOUR]));
        let asked = stage.deploy("dev/alice/one", netted(), &[with(&first[0], now)]);
        let text = refused(&asked, "address");
        assert!(text.contains(why) && text.contains("\"dev/alice\""), "{text}");
    }
    let mut stage = Stage::with_machines(9);
    let bare = dev(&[]);
    stage.present(&below(&bare, "alice", &[]));
    let asked = stage.deploy("dev/alice/one", netted(), &[with(&bare[0], &[FOUR])]);
    assert!(refused(&asked, "address").contains("it manages them there"));
}

#[test]
fn a_successor_that_gets_no_address_any_more_gives_way_to_the_one_it_replaced() {
    let mut stage = Stage::with_machines(9);
    stage.probation_ms = 5_000;
    let first = dev(&[FOUR]);
    let old = stage.run("dev/one", telling(&["--ipv4=10.0.0.5/24"]), &first);
    let asked = stage.deploy_as("dev/one", telling(&["--ipv4=10.0.0.4/24"]), &first, true);
    stage.present(&[with(&first[0], &["10.0.0.5/10.0.0.5/10.0.0.1/24"])]);
    let effects = stage.exited(old, Exit::Code(0));
    assert_eq!(starts(&effects), [old]);
    let refusal = answer(&effects, asked.token).unwrap().unwrap_err();
    assert_eq!(refusal.code(), "address");
    stage.started(old);
    assert_eq!(addresses(&stage, "dev/one"), ["10.0.0.5/24"]);
}

#[test]
fn after_a_reboot_machines_without_an_address_do_not_keep_others_from_their_turn() {
    let mut stage = Stage::with_machines(20);
    let first = dev(&["10.0.0.2/10.0.0.20/10.0.0.1/24"]);
    for number in 0..vmm_engine::BOOT_AT_ONCE {
        stage.run(&format!("dev/m{number}"), netted(), &first);
    }
    let last = Spec { priority: 60, ..crate::stage::spec() };
    let last = stage.run("dev/last", last, &first);
    stage.present(&[with(&first[0], &["10.0.0.100/10.0.0.100/10.0.0.1/24"])]);
    stage.next_life();
    let started = starts(&stage.spawn_knows(false, &[]));
    assert_eq!(started.len(), 2, "there is one address, and one machine that needs none");
    assert!(started.contains(&last));
}
