//! Private networks of the host: what is wanted, told, kept, and made.

use std::collections::BTreeMap;

use vmm_engine::{Answer, Effect, Event, HostNetworkRefusal, NetworkState, Refusal};
use vmm_proto::resource::{BridgeName, HostNetwork};

use crate::stage::*;

fn bridge(text: &str) -> BridgeName {
    BridgeName::parse(text).unwrap()
}

/// One of 10.0.N.0/24.
fn network(name: &str, third: u8) -> HostNetwork {
    HostNetwork::new(bridge(name), [10, 0, third, 1].into(), 24, None).unwrap()
}

fn add(stage: &mut Stage, network: HostNetwork) -> Asked {
    stage.ask(|token| Event::AddNetwork { token, network })
}

fn remove(stage: &mut Stage, name: &str) -> Asked {
    let name = bridge(name);
    stage.ask(|token| Event::RemoveNetwork { token, name })
}

/// What vmm-spawn is told last.
fn told(effects: &[Effect]) -> (u64, Vec<String>) {
    let told = effects.iter().rev().find_map(|effect| match effect {
        Effect::HostNetworks { number, networks } => {
            Some((*number, networks.iter().map(|it| it.name().to_string()).collect()))
        }
        _ => None,
    });
    told.expect("vmm-spawn is told")
}

fn are(stage: &mut Stage, number: u64, states: &[(&str, Option<&str>)]) -> Vec<Effect> {
    let named = |(name, problem): &(&str, Option<&str>)| (bridge(name), problem.map(str::to_owned));
    let states: BTreeMap<_, _> = states.iter().map(named).collect();
    stage.happen(Event::NetworksAre { number, states })
}

/// Adds one that vmm-spawn makes.
fn added(stage: &mut Stage, name: &str, third: u8) {
    let asked = add(stage, network(name, third));
    let (number, all) = told(&asked.effects);
    let states: Vec<_> = all.iter().map(|name| (name.as_str(), None)).collect();
    let effects = are(stage, number, &states);
    assert_eq!(answer(&effects, asked.token), Some(Ok(Answer::NetworkDone)));
}

fn refusal(asked: &Asked) -> HostNetworkRefusal {
    match asked.refusal() {
        Refusal::HostNetwork(refusal) => *refusal,
        other => panic!("{other:?}"),
    }
}

fn states(stage: &Stage) -> Vec<(String, NetworkState)> {
    let name = |view: vmm_engine::NetworkView| (view.network.name().to_string(), view.state);
    stage.engine.host_networks().map(name).collect()
}

#[test]
fn a_network_is_kept_then_told_and_answered_when_it_is_there() {
    let mut stage = Stage::new();
    let asked = add(&mut stage, network("nat0", 0));
    assert!(matches!(asked.effects[..], [Effect::Keep(_), Effect::HostNetworks { .. }]));
    assert!(asked.effects.iter().all(Effect::is_promise));
    let (number, all) = told(&asked.effects);
    assert_eq!((all, asked.answer()), (vec!["nat0".to_owned()], None));
    // What it said before it was told does not count.
    assert_eq!(are(&mut stage, number - 1, &[]), []);
    let effects = are(&mut stage, number, &[("nat0", None)]);
    assert_eq!(answer(&effects, asked.token), Some(Ok(Answer::NetworkDone)));
    assert_eq!(records(&effects), ["network"]);
    assert_eq!(states(&stage), [("nat0".to_owned(), NetworkState::Up)]);
    // The same again is told again, and kept once.
    let again = add(&mut stage, network("nat0", 0));
    assert!(matches!(again.effects[..], [Effect::HostNetworks { .. }]));
}

#[test]
fn a_network_that_vmm_spawn_refuses_is_forgotten_with_its_reason() {
    let mut stage = Stage::new();
    let asked = add(&mut stage, network("nat0", 0));
    let (number, _) = told(&asked.effects);
    let effects = are(&mut stage, number, &[("nat0", Some("eth0 is in the way"))]);
    let Some(Err(refusal)) = answer(&effects, asked.token) else { panic!("{effects:?}") };
    assert!(refusal.to_string().contains("eth0 is in the way"), "{refusal}");
    assert_eq!(told(&effects).1, Vec::<String>::new());
    assert!(states(&stage).is_empty());
    stage.next_life();
    assert!(states(&stage).is_empty());
}

#[test]
fn asking_again_for_a_network_that_is_there_takes_nothing_away_from_it() {
    let mut stage = Stage::new();
    added(&mut stage, "nat0", 0);
    let again = add(&mut stage, network("nat0", 0));
    let (number, _) = told(&again.effects);
    let effects = are(&mut stage, number, &[("nat0", None)]);
    assert_eq!(answer(&effects, again.token), Some(Ok(Answer::NetworkDone)));
    assert!(records(&effects).is_empty(), "nothing has changed");
    let again = add(&mut stage, network("nat0", 0));
    let (number, _) = told(&again.effects);
    let effects = are(&mut stage, number, &[("nat0", Some("its uplink is gone"))]);
    let Some(Err(refusal)) = answer(&effects, again.token) else { panic!("{effects:?}") };
    assert!(refusal.to_string().contains("its uplink is gone"), "{refusal}");
    let down = NetworkState::Down("its uplink is gone".to_owned());
    assert_eq!(states(&stage), [("nat0".to_owned(), down)]);
    stage.next_life();
    assert_eq!(states(&stage).len(), 1, "it is still kept");
}

#[test]
fn changes_that_were_on_their_way_together_are_taken_back_together() {
    let mut stage = Stage::new();
    added(&mut stage, "nat0", 0);
    let removed = remove(&mut stage, "nat0");
    let added = add(&mut stage, network("nat0", 1));
    let (number, _) = told(&added.effects);
    let effects = are(&mut stage, number, &[("nat0", Some("something is on it"))]);
    for asked in [removed, added] {
        assert!(matches!(answer(&effects, asked.token), Some(Err(_))), "{effects:?}");
    }
    let again = effects.iter().find_map(|effect| match effect {
        Effect::HostNetworks { networks, .. } => Some(networks.clone()),
        _ => None,
    });
    assert_eq!(again, Some(vec![network("nat0", 0)]), "as it was before both");
}

#[test]
fn a_network_of_which_vmm_spawn_says_nothing_is_not_there() {
    let mut stage = Stage::new();
    let asked = add(&mut stage, network("nat0", 0));
    let (number, _) = told(&asked.effects);
    let effects = are(&mut stage, number, &[]);
    assert!(matches!(answer(&effects, asked.token), Some(Err(_))), "{effects:?}");
    assert!(states(&stage).is_empty() && records(&effects).is_empty());
}

#[test]
fn networks_are_told_again_after_a_restart_and_a_reboot_before_anything_is_started() {
    let mut stage = Stage::new();
    added(&mut stage, "nat0", 0);
    added(&mut stage, "nat1", 1);
    let id = stage.run("m", spec(), &[]);
    stage.next_life();
    assert_eq!(states(&stage)[0], ("nat0".to_owned(), NetworkState::Unknown));
    let effects = stage.spawn_knows(false, &[]);
    assert_eq!(told(&effects).1, ["nat0", "nat1"]);
    let place = |is: fn(&Effect) -> bool| effects.iter().position(is).unwrap();
    assert_eq!(starts(&effects), [id]);
    let networks = place(|effect| matches!(effect, Effect::HostNetworks { .. }));
    assert!(networks < place(|effect| matches!(effect, Effect::StartMachine { .. })));
}

#[test]
fn what_has_no_room_beside_others_is_refused() {
    let mut stage = Stage::new();
    added(&mut stage, "nat0", 0);
    let other = add(&mut stage, network("nat0", 1));
    assert!(matches!(refusal(&other), HostNetworkRefusal::Exists { .. }));
    let overlap = add(&mut stage, network("nat1", 0));
    assert!(matches!(refusal(&overlap), HostNetworkRefusal::Overlap { .. }));
    for third in 1..16 {
        added(&mut stage, &format!("nat{third}"), third);
    }
    assert_eq!(refusal(&add(&mut stage, network("nat16", 16))), HostNetworkRefusal::TooMany);
    let none = remove(&mut stage, "nat16");
    assert_eq!(refusal(&none), HostNetworkRefusal::NotFound(bridge("nat16")));
}

#[test]
fn a_network_is_removed_when_no_live_machine_is_on_it() {
    let mut stage = Stage::new();
    added(&mut stage, "nat0", 0);
    let devices = on_bridge("nat0");
    let id = stage.run("m", vmm_engine::Spec { devices, ..spec() }, &[]);
    let in_use = HostNetworkRefusal::InUse { name: bridge("nat0"), machines: 1 };
    assert_eq!(refusal(&remove(&mut stage, "nat0")), in_use);
    stage.exited(id, vmm_engine::Exit::Code(0));
    let asked = remove(&mut stage, "nat0");
    let (number, all) = told(&asked.effects);
    assert_eq!(all, Vec::<String>::new());
    // It is not gone: then it is as it was.
    let effects = are(&mut stage, number, &[("nat0", Some("something is on it"))]);
    assert!(matches!(answer(&effects, asked.token), Some(Err(_))));
    assert_eq!(told(&effects).1, ["nat0"]);
    let asked = remove(&mut stage, "nat0");
    let (number, _) = told(&asked.effects);
    let effects = are(&mut stage, number, &[]);
    assert_eq!(answer(&effects, asked.token), Some(Ok(Answer::NetworkDone)));
    stage.next_life();
    assert!(states(&stage).is_empty());
}

#[test]
fn without_vmm_spawn_nothing_is_changed_and_nobody_waits_for_ever() {
    let mut stage = Stage::new();
    let asked = add(&mut stage, network("nat0", 0));
    let effects = stage.happen(Event::SpawnLost);
    assert!(matches!(answer(&effects, asked.token), Some(Err(_))));
    assert_eq!(refusal(&add(&mut stage, network("nat1", 1))), HostNetworkRefusal::NoSpawn);
    assert_eq!(refusal(&remove(&mut stage, "nat0")), HostNetworkRefusal::NoSpawn);
    assert_eq!(told(&stage.spawn_knows(true, &[])).1, ["nat0"], "it was kept");
}
