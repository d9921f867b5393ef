//! Which address a machine gets, and how long it has it.

use vmm_engine::{Effect, Event, Exit, ImageId, Need, Record, Spec, State};

use super::{
    FOUR, SIX, addresses, below, dev, netted, networks, refused, started_with, telling, with,
};
use crate::stage::{Stage, chain, name, records, spec, starts};

#[test]
fn a_machine_gets_the_lowest_free_address_of_its_delegation_and_keeps_it_over_its_starts() {
    let mut stage = Stage::with_machines(9);
    let dev = dev(&[FOUR, SIX]);
    let one = stage.run("dev/one", netted(), &dev);
    let two = stage.run("dev/two", netted(), &dev);
    assert_eq!(addresses(&stage, "dev/one"), ["10.0.0.2/24 fd00::2/64"]);
    assert_eq!(addresses(&stage, "dev/two"), ["10.0.0.3/24 fd00::3/64"]);
    stage.exited(one, Exit::Code(0));
    stage.run("dev/three", netted(), &dev);
    assert_eq!(addresses(&stage, "dev/three"), ["10.0.0.4/24 fd00::4/64"]);
    let again = stage.start("dev/one", "dev");
    let (interfaces, _) = started_with(&again.effects, one);
    assert_eq!(interfaces[0].address.unwrap().0.to_string(), "10.0.0.2");
    stage.restart("dev/two");
    stage.exited(two, Exit::Code(0));
    assert_eq!(addresses(&stage, "dev/two"), ["10.0.0.3/24 fd00::3/64"]);
}

#[test]
fn an_address_returns_when_its_machine_is_destroyed_or_pushed_out() {
    let mut stage = Stage::with_machines(9);
    let dev = dev(&[FOUR]);
    let one = stage.run("dev/one", netted(), &dev);
    stage.run("dev/two", netted(), &dev);
    stage.exited(one, Exit::Code(0));
    stage.destroy("dev/one");
    stage.run("dev/three", netted(), &dev);
    assert_eq!(addresses(&stage, "dev/three"), ["10.0.0.2/24"]);

    let three = stage.view("dev/three").id;
    stage.exited(three, Exit::Code(0));
    let mut smaller = with(&dev[0], &[FOUR]);
    smaller.grant.machines = 0;
    let pushed = stage.present(std::slice::from_ref(&smaller));
    assert!(records(&pushed.effects).contains(&"pushed-out"));
    let larger = with(&smaller, &[FOUR]);
    stage.run("dev/four", netted(), &[larger]);
    assert_eq!(addresses(&stage, "dev/four"), ["10.0.0.2/24"]);
}

#[test]
fn without_a_free_address_a_machine_is_refused_and_told_why() {
    let mut stage = Stage::with_machines(9);
    let dev = dev(&["10.0.0.2/10.0.0.3/10.0.0.1/24", SIX]);
    stage.run("dev/one", netted(), &dev);
    let two = stage.run("dev/two", netted(), &dev);
    let foreseen = stage.explain("dev/three", &netted(), &dev, false).obstacles;
    let third = stage.deploy("dev/three", netted(), &dev);
    let text = refused(&third, "address");
    assert_eq!(foreseen, [third.refusal()]);
    assert_eq!(
        text,
        "no IPv4 address is free on bridge \"ext\" for delegation \"dev\", which has 10.0.0.2 to \
         10.0.0.3; destroy a machine that is not needed any more, also an ended one, or ask the \
         issuer for a larger range"
    );
    assert_eq!(stage.used("dev").0, 2, "nothing is reserved");
    // One that has ended has its address still, and is started without another.
    stage.exited(two, Exit::Code(0));
    refused(&stage.deploy("dev/three", netted(), &dev), "address");
    assert_eq!(starts(&stage.start("dev/two", "dev").effects), [two]);
}

#[test]
fn an_upload_is_refused_for_a_machine_that_would_get_no_address() {
    let mut stage = Stage::with_machines(9);
    let dev = dev(&["10.0.0.2/10.0.0.2/10.0.0.1/24"]);
    stage.run("dev/one", netted(), &dev);
    let Spec { memory_mib, cpus, devices, arguments, image_sha256, image_size, .. } = netted();
    let offer = stage.ask(|token| Event::OfferImage {
        token,
        fresh: ImageId(1),
        sha256: image_sha256,
        size: image_size,
        name: name("dev/two"),
        need: Need { memory_mib, cpus, devices, arguments },
        chain: chain(&dev),
        replace: false,
    });
    refused(&offer, "address");
}

#[test]
fn siblings_with_the_same_range_never_get_the_same_address() {
    let mut stage = Stage::with_machines(9);
    let dev = dev(&[FOUR]);
    let (alice, bob) = (below(&dev, "alice", &[FOUR]), below(&dev, "bob", &[FOUR]));
    stage.run("dev/alice/one", netted(), &alice);
    stage.run("dev/bob/one", netted(), &bob);
    stage.run("dev/alice/two", netted(), &alice);
    assert_eq!(addresses(&stage, "dev/alice/one"), ["10.0.0.2/24"]);
    assert_eq!(addresses(&stage, "dev/bob/one"), ["10.0.0.3/24"]);
    assert_eq!(addresses(&stage, "dev/alice/two"), ["10.0.0.4/24"]);
}

#[test]
fn two_bridges_may_have_the_same_addresses() {
    let mut stage = Stage::with_machines(9);
    let mut dev = dev(&[FOUR]);
    let other = super::bridge("other", &[FOUR]);
    let bridges = dev[0].grant.bridges.iter().cloned().chain([other]).collect();
    dev[0].grant.bridges = vmm_proto::resource::Bridges::new(bridges).unwrap();
    stage.run("dev/one", networks(&[("a", "ext"), ("b", "other"), ("c", "ext")]), &dev);
    assert_eq!(addresses(&stage, "dev/one"), ["10.0.0.2/24", "10.0.0.2/24", "10.0.0.3/24"]);
}

#[test]
fn below_no_delegation_and_without_a_range_addresses_are_not_managed() {
    let mut stage = Stage::with_machines(9);
    stage.run("one", netted(), &[]);
    assert_eq!(addresses(&stage, "one"), [""]);
    let asked = stage.deploy("dev/two", networks(&[("net", "int")]), &dev(&[FOUR]));
    let (interfaces, words) = started_with(&asked.effects, asked.id);
    assert_eq!((interfaces[0].address, interfaces[0].address6), (None, None));
    assert!(words.is_empty());
}

#[test]
fn a_machine_and_the_one_that_takes_its_place_have_the_same_address() {
    let mut stage = Stage::with_machines(9);
    stage.probation_ms = 5_000;
    let dev = dev(&["10.0.0.2/10.0.0.2/10.0.0.1/24", SIX]);
    let old = stage.run("dev/one", netted(), &dev);
    let asked = stage.deploy_as("dev/one", netted(), &dev, true);
    let effects = stage.exited(old, Exit::Code(0));
    let (interfaces, _) = started_with(&effects, asked.id);
    assert_eq!(interfaces[0].address.unwrap().0.to_string(), "10.0.0.2");
    refused(&stage.deploy("dev/two", netted(), &dev), "address");
    // Also when it fails, and the old one comes back.
    stage.started(asked.id);
    let effects = stage.exited(asked.id, Exit::Code(1));
    let (back, _) = started_with(&effects, old);
    assert_eq!(back, interfaces);
    stage.started(old);
    stage.destroy("dev/one");
    stage.exited(old, Exit::Code(0));
    stage.run("dev/two", netted(), &dev);
    assert_eq!(addresses(&stage, "dev/two"), ["10.0.0.2/24 fd00::2/64"]);
}

#[test]
fn a_replacement_that_is_called_off_leaves_the_address_with_its_machine() {
    let mut stage = Stage::with_machines(9);
    let dev = dev(&["10.0.0.2/10.0.0.3/10.0.0.1/24"]);
    let old = stage.run("dev/one", netted(), &dev);
    let two = networks(&[("net", "ext"), ("more", "ext")]);
    stage.deploy_as("dev/one", two, &dev, true);
    refused(&stage.deploy("dev/two", netted(), &dev), "address");
    stage.stop("dev/one", 1000);
    stage.run("dev/two", netted(), &dev);
    stage.exited(old, Exit::Code(0));
    assert_eq!(addresses(&stage, "dev/one"), ["10.0.0.2/24"]);
    assert_eq!(addresses(&stage, "dev/two"), ["10.0.0.3/24"]);
}

#[test]
fn a_replacement_keeps_the_address_under_another_name_of_the_device() {
    let mut stage = Stage::with_machines(9);
    let dev = dev(&[FOUR]);
    stage.run("dev/zero", netted(), &dev);
    let old = stage.run("dev/one", networks(&[("a", "ext"), ("b", "ext")]), &dev);
    stage.destroy("dev/zero");
    stage.exited(stage.view("dev/zero").id, Exit::Code(0));
    stage.deploy_as("dev/one", networks(&[("c", "ext"), ("b", "ext")]), &dev, true);
    stage.exited(old, Exit::Code(0));
    assert_eq!(addresses(&stage, "dev/one"), ["10.0.0.3/24", "10.0.0.4/24"]);
    let old = stage.view("dev/one").id;
    stage.started(old);
    stage.deploy_as("dev/one", networks(&[("b", "ext"), ("d", "ext")]), &dev, true);
    stage.exited(old, Exit::Code(0));
    assert_eq!(addresses(&stage, "dev/one"), ["10.0.0.4/24", "10.0.0.3/24"]);
}

#[test]
fn what_was_reserved_is_reserved_in_the_next_life() {
    let mut stage = Stage::with_machines(9);
    stage.probation_ms = 60_000;
    let dev = dev(&[FOUR]);
    let old = stage.run("dev/one", netted(), &dev);
    let new = stage.deploy_as("dev/one", spec(), &dev, true).id;
    stage.exited(old, Exit::Code(0));
    stage.started(new);
    let ended = stage.run("dev/two", netted(), &dev);
    stage.exited(ended, Exit::Code(0));
    let waits = stage.run("dev/three", netted(), &dev);
    let with_more = networks(&[("net", "ext"), ("more", "ext")]);
    stage.deploy_as("dev/three", with_more, &dev, true);
    let before = stage.view("dev/three").interfaces.to_vec();
    stage.next_life();
    stage.spawn_knows(true, &[stage.runs(new), stage.runs(waits), stage.ran(ended)]);
    assert_eq!(stage.view("dev/three").interfaces, before);
    assert_eq!(addresses(&stage, "dev/two"), ["10.0.0.3/24"]);
    // 10.0.0.2 is for the one that may come back, 10.0.0.5 for the second network of the last.
    refused(&stage.deploy("dev/four", netted(), &dev), "address");
    stage.destroy("dev/two");
    stage.run("dev/four", netted(), &dev);
    assert_eq!(addresses(&stage, "dev/four"), ["10.0.0.3/24"]);
}

#[test]
fn the_range_of_a_delegation_further_down_is_left_to_it() {
    let mut stage = Stage::with_machines(9);
    let dev = dev(&[FOUR]);
    let alice = below(&dev, "alice", &["10.0.0.3/10.0.0.4/10.0.0.1/24"]);
    stage.present(&alice);
    stage.run("dev/one", netted(), &dev);
    stage.run("dev/two", netted(), &dev);
    assert_eq!(addresses(&stage, "dev/one"), ["10.0.0.2/24"]);
    assert_eq!(addresses(&stage, "dev/two"), ["10.0.0.5/24"]);
    refused(&stage.deploy("dev/three", netted(), &dev), "address");
    let asked = telling(&["--ipv4=10.0.0.3/24"]);
    assert!(refused(&stage.deploy("dev/three", asked, &dev), "address").contains("further"));
    stage.run("dev/alice/one", netted(), &alice);
    assert_eq!(addresses(&stage, "dev/alice/one"), ["10.0.0.3/24"]);
    // When it has expired, its issuer has the addresses again.
    stage.now.unix_ms += 3_601_000;
    let mut longer = with(&dev[0], &[FOUR]);
    longer.validity.not_after = i64::MAX;
    stage.run("dev/three", netted(), &[longer]);
    assert_eq!(addresses(&stage, "dev/three"), ["10.0.0.4/24"], ".3 is still in use");
}

#[test]
fn a_revoked_delegation_leaves_its_range_to_its_issuer() {
    let mut stage = Stage::with_machines(9);
    let dev = dev(&[FOUR]);
    let alice = below(&dev, "alice", &["10.0.0.2/10.0.0.4/10.0.0.1/24"]);
    stage.present(&alice);
    stage.revoke(&alice[1]);
    // It has the same serial number as its issuer's certificate, of another key.
    stage.run("dev/one", netted(), &dev);
    assert_eq!(addresses(&stage, "dev/one"), ["10.0.0.2/24"]);
}

#[test]
fn overlapping_siblings_are_recorded_when_the_second_is_shown() {
    let mut stage = Stage::with_machines(9);
    let dev = dev(&[FOUR]);
    let all = stage.present(&below(&dev, "alice", &["10.0.0.2/10.0.0.4/10.0.0.1/24"]));
    assert!(!records(&all.effects).contains(&"overlap"));
    let next = stage.present(&below(&dev, "carol", &["10.0.0.5/10.0.0.5/10.0.0.1/24"]));
    assert!(!records(&next.effects).contains(&"overlap"));
    let bob = below(&dev, "bob", &["10.0.0.4/10.0.0.5/10.0.0.1/24"]);
    let effects = stage.present(&bob).effects;
    let found = effects.iter().find_map(|effect| match effect {
        Effect::Record(Record::Overlap(overlap)) => Some((**overlap).clone()),
        _ => None,
    });
    let found = found.expect("it is recorded");
    assert_eq!(
        (found.path.to_string(), found.sibling.to_string()),
        ("dev/bob".into(), "dev/alice".into())
    );
    assert_eq!(
        (found.first.to_string(), found.last.to_string()),
        ("10.0.0.4".into(), "10.0.0.4".into())
    );
    assert_eq!((found.bridge.as_str(), found.more), ("ext", 1), "carol, too");
    assert!(!records(&stage.present(&bob).effects).contains(&"overlap"), "once");
    let mut larger = bob.clone();
    larger[1] = with(&bob[1], &["10.0.0.3/10.0.0.5/10.0.0.1/24"]);
    assert!(records(&stage.present(&larger).effects).contains(&"overlap"), "and when it changes");
}

#[test]
fn a_restart_by_policy_goes_on_trying_while_there_is_no_address() {
    let mut stage = Stage::with_machines(9);
    let first = dev(&[FOUR]);
    let always = Spec { restart: vmm_proto::resource::Restart::Always, ..netted() };
    let one = stage.run("dev/one", always, &first);
    let moved = with(&first[0], &["10.0.0.5/10.0.0.5/10.0.0.1/24"]);
    let two = stage.run("dev/two", netted(), std::slice::from_ref(&moved));
    assert!(stage.view("dev/one").over_quota, "it runs on");
    assert_eq!(addresses(&stage, "dev/two"), ["10.0.0.5/24"]);
    stage.exited(one, Exit::Code(1));
    let effects = stage.pass(200);
    assert!(starts(&effects).is_empty() && records(&effects).contains(&"start-failed"));
    assert_eq!(stage.state("dev/one"), Some(State::Restarting));
    assert!(stage.view("dev/one").reason.unwrap().contains("no IPv4 address is free"));
    stage.exited(two, Exit::Code(0));
    stage.destroy("dev/two");
    let effects = stage.pass(10_000);
    let (interfaces, words) = started_with(&effects, one);
    assert_eq!(interfaces[0].address.unwrap().0.to_string(), "10.0.0.5");
    assert_eq!(words, ["--ipv4=10.0.0.5/24", "--ipv4-gateway=10.0.0.1"]);
}
