//! Hardware addresses, and which machines see each other.

use std::collections::{BTreeMap, BTreeSet};

use vmm_engine::{Engine, Exit, HostLimits, Spec};
use vmm_proto::authority::Link;
use vmm_proto::id::Digest;
use vmm_proto::resource::{BridgeName, Devices};

use super::{FOUR, dev, netted, network, networks, refused, with};
use crate::stage::{ROOT, Stage, cpus, link, spec};

const GIVEN: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

fn given(mac: [u8; 6], bridge: &str) -> Spec {
    let devices = Devices::new(vec![network("net", bridge, Some(mac))], vec![]).unwrap();
    Spec { devices, ..spec() }
}

fn mac(stage: &Stage, machine: &str) -> [u8; 6] {
    stage.view(machine).interfaces[0].mac
}

#[test]
fn a_derived_one_is_locally_administered_and_stays_with_the_name() {
    let mut stage = Stage::with_machines(9);
    let dev = dev(&[FOUR]);
    let one = stage.run("dev/one", netted(), &dev);
    stage.run("dev/two", netted(), &dev);
    let first = mac(&stage, "dev/one");
    assert_eq!(first[0], 0x02);
    assert_ne!(first, mac(&stage, "dev/two"));
    stage.deploy_as("dev/one", netted(), &dev, true);
    stage.exited(one, Exit::Code(0));
    assert_eq!(mac(&stage, "dev/one"), first);
    let new = stage.view("dev/one").id;
    stage.destroy("dev/one");
    stage.exited(new, Exit::Code(0));
    stage.run("dev/one", netted(), &dev);
    assert_eq!(mac(&stage, "dev/one"), first);
}

#[test]
fn a_derived_one_that_is_taken_is_another_one_and_stays_that() {
    let mut stage = Stage::with_machines(9);
    let dev = dev(&[FOUR]);
    let one = stage.run("dev/one", netted(), &dev);
    let first = mac(&stage, "dev/one");
    stage.destroy("dev/one");
    stage.exited(one, Exit::Code(0));
    let thief = stage.run("dev/thief", given(first, "ext"), &dev);
    let one = stage.run("dev/one", netted(), &dev);
    let second = mac(&stage, "dev/one");
    assert!(second != first && second[0] == 2);
    stage.destroy("dev/thief");
    stage.exited(thief, Exit::Code(0));
    stage.exited(one, Exit::Code(0));
    stage.start("dev/one", "dev");
    assert_eq!(mac(&stage, "dev/one"), second);
    stage.started(one);
    stage.deploy_as("dev/one", netted(), &dev, true);
    stage.exited(one, Exit::Code(0));
    assert_eq!(mac(&stage, "dev/one"), second);
}

#[test]
fn a_given_one_that_another_machine_has_is_refused_on_that_bridge_only() {
    let mut stage = Stage::with_machines(9);
    let dev = dev(&[FOUR]);
    let one = stage.run("dev/one", given(GIVEN, "ext"), &dev);
    assert_eq!(mac(&stage, "dev/one"), GIVEN);
    stage.exited(one, Exit::Code(0));
    assert_eq!(
        refused(&stage.deploy("dev/two", given(GIVEN, "ext"), &dev), "mac"),
        "network \"net\": \"dev/one\" on bridge \"ext\" has the hardware address \
         52:54:00:00:00:01; ask for another one, or for none to have one derived"
    );
    stage.run("dev/two", given(GIVEN, "int"), &dev);
    // What takes its place has it, too.
    stage.run("dev/one", given(GIVEN, "ext"), &dev);
}

#[test]
fn a_machine_does_not_have_one_twice_on_a_bridge() {
    let mut stage = Stage::with_machines(9);
    let twice = |bridge| {
        let networks = vec![network("a", "ext", Some(GIVEN)), network("b", bridge, Some(GIVEN))];
        Spec { devices: Devices::new(networks, vec![]).unwrap(), ..spec() }
    };
    let asked = stage.deploy("dev/one", twice("ext"), &dev(&[FOUR]));
    assert!(refused(&asked, "mac").contains("another network of this machine"));
    stage.run("dev/one", twice("int"), &dev(&[FOUR]));
}

#[test]
fn another_host_derives_others() {
    let of = |key: u8| {
        let mut stage = Stage::with_machines(9);
        let cpus = cpus(&[0]);
        let host = HostLimits { machines: 9, memory_mib: 900, storage_mib: 0, cpus };
        stage.engine = Engine::new(host, ROOT).with_host_key(Digest([key; 32]));
        stage.spawn_knows(true, &[]);
        stage.run("dev/one", netted(), &dev(&[FOUR]));
        mac(&stage, "dev/one")
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

/// The groups of a machine's interfaces.
fn groups(stage: &Stage, machine: &str) -> Vec<Option<u32>> {
    stage.view(machine).interfaces.iter().map(|interface| interface.group).collect()
}

fn top(label: &str) -> Vec<Link> {
    vec![with(&link(ROOT, label, 1, 1), &[])]
}

#[test]
fn each_top_level_delegation_has_a_group_as_long_as_it_has_machines() {
    let mut stage = Stage::with_machines(9);
    stage.run("zero", netted(), &[]);
    let a = stage.run("a/one", networks(&[("x", "ext"), ("y", "int")]), &top("a"));
    stage.run("b/one", netted(), &top("b"));
    stage.run("b/two", netted(), &top("b"));
    assert_eq!(groups(&stage, "zero"), [Some(0)]);
    assert_eq!(groups(&stage, "a/one"), [Some(1), Some(1)]);
    assert_eq!(groups(&stage, "b/one"), [Some(2)]);
    assert_eq!(groups(&stage, "b/two"), [Some(2)]);
    stage.exited(a, Exit::Code(0));
    stage.run("c/one", netted(), &top("c"));
    assert_eq!(groups(&stage, "c/one"), [Some(3)], "a/one is still listed");
    stage.destroy("a/one");
    stage.next_life();
    let known = ["zero", "b/one", "b/two", "c/one"].map(|it| stage.runs(stage.view(it).id));
    stage.spawn_knows(true, &known);
    stage.run("d/one", netted(), &top("d"));
    assert_eq!(groups(&stage, "d/one"), [Some(1)]);
    let ids: BTreeMap<_, _> =
        ["b/two", "c/one", "d/one"].map(|it| (it, groups(&stage, it)[0])).into();
    assert_eq!(ids.values().collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn on_a_bridge_for_peers_there_are_no_groups() {
    let mut stage = Stage::with_machines(9);
    let peers = BTreeSet::from([BridgeName::parse("int").unwrap()]);
    stage.engine =
        std::mem::replace(&mut stage.engine, Stage::new().engine).with_bridge_peers(peers);
    stage.run("a/one", networks(&[("x", "ext"), ("y", "int")]), &top("a"));
    assert_eq!(groups(&stage, "a/one"), [Some(0), None]);
}
