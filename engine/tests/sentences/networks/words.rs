//! What guests are told of their addresses, and what they may be told instead.

use vmm_engine::{Exit, Spec};
use vmm_proto::resource::Arguments;

use super::{FOUR, SIX, addresses, dev, netted, networks, refused, started_with, telling};
use crate::stage::{Stage, on_bridge};

/// The words with which a machine is started that has room on a host of its own.
fn words(spec: Spec, ranges: &[&str]) -> Vec<String> {
    let asked = Stage::with_machines(9).deploy("dev/one", spec, &dev(ranges));
    started_with(&asked.effects, asked.id).1
}

#[test]
fn the_only_network_needs_no_prefix_and_added_words_come_first() {
    assert_eq!(
        words(telling(&["--hello=world", "--"]), &[FOUR, SIX]),
        [
            "--ipv4=10.0.0.2/24",
            "--ipv4-gateway=10.0.0.1",
            "--ipv6=fd00::2/64",
            "--ipv6-gateway=fe80::1",
            "--hello=world",
            "--"
        ]
    );
    assert_eq!(words(telling(&["x"]), &[]), ["x"]);
}

#[test]
fn several_networks_have_their_devices_names_before_them() {
    let spec = networks(&[("front", "ext"), ("back", "int"), ("side", "ext")]);
    assert_eq!(
        words(spec, &[FOUR]),
        [
            "--front-ipv4=10.0.0.2/24",
            "--front-ipv4-gateway=10.0.0.1",
            "--side-ipv4=10.0.0.3/24",
            "--side-ipv4-gateway=10.0.0.1"
        ]
    );
}

#[test]
fn what_the_machine_says_itself_is_not_said_again() {
    let ranges = &[FOUR, SIX];
    let own = ["--ipv4=10.0.0.4/24", "--ipv6-gateway", "fe80::1"];
    assert_eq!(
        words(telling(&own), ranges),
        [&["--ipv4-gateway=10.0.0.1", "--ipv6=fd00::2/64"][..], &own].concat()
    );
    let own = ["--ipv4", "10.0.0.5/24", "--ipv4-gateway=10.0.0.1"];
    assert_eq!(words(telling(&own), &[FOUR]), own);
    // With the device's name for a group, as the guest may have been built.
    let own = ["--net-ipv4=10.0.0.4/24"];
    assert_eq!(
        words(telling(&own), &[FOUR]),
        ["--net-ipv4-gateway=10.0.0.1", "--net-ipv4=10.0.0.4/24"]
    );
    // Behind this it is no option.
    let own = ["--", "--ipv4=10.0.0.4/24"];
    assert_eq!(
        words(telling(&own), &[FOUR]),
        ["--ipv4=10.0.0.2/24", "--ipv4-gateway=10.0.0.1", "--", "--ipv4=10.0.0.4/24"]
    );
}

#[test]
fn an_address_that_the_machine_sets_is_reserved_like_any_other() {
    let mut stage = Stage::with_machines(9);
    let dev = dev(&[FOUR]);
    stage.run("dev/one", telling(&["--ipv4=10.0.0.2/24"]), &dev);
    assert_eq!(addresses(&stage, "dev/one"), ["10.0.0.2/24"]);
    stage.run("dev/two", netted(), &dev);
    assert_eq!(addresses(&stage, "dev/two"), ["10.0.0.3/24"]);
    let asked = stage.deploy("dev/three", telling(&["--ipv4=10.0.0.3/24"]), &dev);
    assert_eq!(
        refused(&asked, "address"),
        "the argument --ipv4 sets 10.0.0.3, which \"dev/two\" on bridge \"ext\" has; leave the \
         argument out to be given a free one"
    );
    let below = super::below(&dev, "alice", &[FOUR]);
    let asked = stage.deploy("dev/alice/one", telling(&["--ipv4=10.0.0.3/24"]), &below);
    assert!(refused(&asked, "address").contains("another machine"), "it is not alice's to know");
    assert!(refused_without_names(&asked).contains("another machine"));
}

fn refused_without_names(asked: &crate::stage::Asked) -> String {
    asked.refusal().without_names().to_string()
}

#[test]
fn an_address_that_the_delegation_does_not_give_is_refused() {
    for (own, why) in [
        (&["--ipv4=10.0.0.6/24"][..], "it is outside of that"),
        (&["--ipv4=10.0.0.1/24"], "it is outside of that"),
        (&["--ipv4=10.0.0.2/16"], "its subnet has 24 bits"),
        (&["--ipv4-gateway=10.0.0.2"], "the gateway is 10.0.0.1"),
        (&["--ipv6", "fd01::2/64"], "it is outside of that"),
        (&["--ipv6-gateway=fd00::1"], "the gateway is fe80::1"),
    ] {
        let mut stage = Stage::with_machines(9);
        let asked = stage.deploy("dev/one", telling(own), &dev(&[FOUR, SIX]));
        let text = refused(&asked, "address");
        assert!(text.contains(why) && text.contains("delegation \"dev\""), "{text}");
        assert_eq!(stage.used("dev"), (0, 0));
    }
}

#[test]
fn an_argument_that_is_not_understood_is_refused() {
    for (own, why) in [
        (&["--ipv4=10.0.0.2"][..], "such as 10.0.0.2/24"),
        (&["--ipv4=fd00::2/64"], "takes an IPv4 address"),
        (&["--ipv4=10.0.0.2/24", "--ipv4", "10.0.0.3/24"], "is given twice"),
        (&["--ipv4"], "has no value"),
        (&["--ipv4", "--x"], "takes an IPv4 address"),
        (&["--ipv4-gateway=x"], "takes an IPv4 address"),
    ] {
        let asked = Stage::with_machines(9).deploy("dev/one", telling(own), &dev(&[FOUR]));
        let text = refused(&asked, "arguments");
        assert!(text.starts_with("the argument --ipv4") && text.contains(why), "{text}");
    }
}

#[test]
fn a_word_with_spaces_in_it_is_several_as_a_guest_gets_one_line() {
    let asked = Stage::with_machines(9).deploy(
        "dev/one",
        telling(&["--x --ipv4=6.6.6.6/24"]),
        &dev(&[FOUR]),
    );
    assert!(refused(&asked, "address").contains("--ipv4 sets 6.6.6.6"));
    let own = ["--x  --ipv4 10.0.0.4/24"];
    assert_eq!(words(telling(&own), &[FOUR]), ["--ipv4-gateway=10.0.0.1", own[0]]);
    let own = ["--ipv4", " 10.0.0.4/24 -- --ipv4=6.6.6.6/24"];
    assert_eq!(words(telling(&own), &[FOUR])[1..], own);
}

#[test]
fn an_option_that_says_of_no_network_is_refused_where_each_network_needs_its_name() {
    let several = networks(&[("a", "ext"), ("b", "ext")]).devices;
    for (devices, own, way_out) in [
        (several.clone(), &["--ipv4=10.0.0.3/24"][..], "write --a-ipv4 or --b-ipv4"),
        (several, &["--ipv4-gateway", "6.6.6.6"], "write --a-ipv4-gateway or --b-ipv4-gateway"),
        (on_bridge("ext"), &["--net-ipv4=10.0.0.4/24", "--ipv4=6.6.6.6/24"], "write --net-ipv4"),
    ] {
        let spec = Spec { devices, ..telling(own) };
        let asked = Stage::with_machines(9).deploy("dev/one", spec, &dev(&[FOUR]));
        let text = refused(&asked, "arguments");
        assert!(text.contains("does not say of which network") && text.contains(way_out), "{text}");
    }
    // It may be meant for one whose addresses are the machine's own business.
    let devices = networks(&[("front", "ext"), ("back", "int")]).devices;
    let spec = |own: &[&str]| Spec { devices: devices.clone(), ..telling(own) };
    assert_eq!(words(spec(&["--ipv4=192.168.0.2/24"]), &[FOUR])[2..], ["--ipv4=192.168.0.2/24"]);
    // And where no addresses of a family are managed, nothing is said of it.
    let devices = networks(&[("a", "ext"), ("b", "ext")]).devices;
    let spec = Spec { devices, ..telling(&["--ipv6=fd00::7/64"]) };
    assert_eq!(words(spec, &[FOUR])[4..], ["--ipv6=fd00::7/64"]);
}

#[test]
fn two_networks_of_one_machine_do_not_get_the_same_address() {
    let devices = networks(&[("a", "ext"), ("b", "ext")]).devices;
    let spec = |words: &[&str]| Spec { devices: devices.clone(), ..telling(words) };
    let asked = Stage::with_machines(9).deploy(
        "dev/one",
        spec(&["--a-ipv4=10.0.0.3/24", "--b-ipv4=10.0.0.3/24"]),
        &dev(&[FOUR]),
    );
    assert!(refused(&asked, "arguments").contains("another network of this machine"));
    // Who asks is served first.
    let mut stage = Stage::with_machines(9);
    stage.run("dev/one", spec(&["--b-ipv4=10.0.0.2/24"]), &dev(&[FOUR]));
    assert_eq!(addresses(&stage, "dev/one"), ["10.0.0.3/24", "10.0.0.2/24"]);
}

#[test]
fn nothing_is_judged_where_addresses_are_not_managed() {
    let own = ["--ipv4=1.2.3.4/5", "--ipv4-gateway=9.9.9.9", "--ipv6"];
    assert_eq!(words(telling(&own), &[]), own);
    assert_eq!(words(telling(&["--ipv6"]), &[FOUR])[2..], ["--ipv6"]);
}

#[test]
fn added_words_have_to_fit_beside_the_machines_own() {
    let many: Vec<String> = vec!["x".to_owned(); Arguments::MAX - 1];
    let long = vec!["x".repeat(Arguments::MAX_BYTES - 10)];
    for own in [many, long] {
        let arguments = Arguments::new(own).unwrap();
        let spec = Spec { arguments, ..netted() };
        let mut stage = Stage::with_machines(9);
        let text = refused(&stage.deploy("dev/one", spec.clone(), &dev(&[FOUR])), "arguments");
        assert!(text.contains("256 words") && text.contains("8191 bytes"), "{text}");
        let spec = Spec { devices: on_bridge("int"), ..spec };
        assert!(stage.deploy("dev/one", spec, &dev(&[FOUR])).answer().is_none());
    }
}

#[test]
fn a_machine_that_set_its_address_does_not_start_when_that_was_taken_from_it() {
    let mut stage = Stage::with_machines(9);
    let first = dev(&[FOUR]);
    let one = stage.run("dev/one", telling(&["--ipv4=10.0.0.2/24"]), &first);
    stage.exited(one, Exit::Code(0));
    stage.present(&[super::with(&first[0], &["10.0.0.3/10.0.0.5/10.0.0.1/24"])]);
    assert!(refused(&stage.start("dev/one", "dev"), "address").contains("outside"));
}
