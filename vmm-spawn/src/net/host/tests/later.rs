//! What comes in the way of a network that is there.

use std::time::Instant;

use super::rig::{Machine, census, flags, ip, network, networks, offered, problem, uplinked};

#[test]
fn a_network_in_use_goes_on_when_a_route_comes_in_its_way_also_for_the_next_one_of_this_program() {
    let Some(outside) = uplinked() else { return };
    let wanted = [network("nat0", [10, 7, 0, 1], Some("up0"))];
    let mut before = networks();
    before.tell(1, &wanted, Instant::now());
    let machine = Machine::on("nat0", &outside);
    machine.is_answered();
    ip("route add 10.7.0.128/25 via 203.0.113.2");
    before.tell(2, &wanted, Instant::now());
    for mut networks in [before, networks()] {
        networks.tell(3, &wanted, Instant::now());
        assert!(problem(&networks, "nat0").contains("10.7.0.128/25 through interface \"up0\""));
        assert_eq!(offered(&networks), ["nat0"]);
        machine.is_answered();
    }
    // Nor when its uplink goes.
    ip("link del up0");
    let mut networks = networks();
    networks.tell(4, &wanted, Instant::now());
    assert!(problem(&networks, "nat0").contains("no interface \"up0\""));
    assert_eq!((offered(&networks), flags("nat0").contains("UP")), (vec!["nat0".into()], true));
}

#[test]
fn a_name_that_is_known_opens_no_way_to_addresses_that_are_somebody_elses() {
    let Some(_outside) = uplinked() else { return };
    ip("addr add 10.8.0.7/24 dev up0");
    let mut networks = networks();
    networks.tell(1, &[network("nat0", [10, 7, 0, 1], Some("up0"))], Instant::now());
    assert_eq!(offered(&networks), ["nat0"]);
    networks.tell(2, &[network("nat0", [10, 8, 0, 1], Some("up0"))], Instant::now());
    assert!(problem(&networks, "nat0").contains("10.8.0.7/24 of interface \"up0\""));
    assert!(!ip("-4 -br addr").contains("10.8.0.1"), "{}", ip("-4 -br addr"));
    // What there is of it carries nothing, as no rule is about it.
    assert!(!flags("nat0").contains("UP"), "{}", flags("nat0"));
    assert!(offered(&networks).is_empty());
}

#[test]
fn a_bridge_that_the_admin_makes_under_a_name_that_is_known_is_the_admins() {
    let Some(_outside) = uplinked() else { return };
    let wanted = [network("nat0", [10, 7, 0, 1], Some("up0"))];
    let mut networks = networks();
    networks.tell(1, &wanted, Instant::now());
    assert_eq!(offered(&networks), ["nat0"]);
    ip("link del nat0");
    for order in ["link add nat0 type bridge", "addr add 10.50.0.1/24 dev nat0", "link set nat0 up"]
    {
        ip(order);
    }
    // Not whether there is a carrier, nor what comes with it: the kernel finds that out in its own time.
    let theirs = || (flags("nat0").contains(",UP"), ip("-o -4 addr show dev nat0"));
    let before = theirs();
    networks.tell(2, &wanted, Instant::now());
    assert!(problem(&networks, "nat0").contains("is no host network of this vmm-spawn"));
    assert!(offered(&networks).is_empty());
    assert_eq!(theirs(), before);
    assert!(!census().concat().contains("vmm_networks"), "rules for nothing");
}
