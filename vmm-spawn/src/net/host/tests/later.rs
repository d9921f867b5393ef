//! What comes in the way of a network that is there.

use std::time::Instant;

use super::rig::{
    asks, census, flags, ip, network, networks, offered, on_bridge, problem, with_uplink,
};
use crate::net::tests::empty_network;

#[test]
fn a_network_in_use_goes_on_when_a_route_comes_in_its_way_also_for_the_next_one_of_this_program() {
    if empty_network().is_none() {
        return;
    }
    let outside = with_uplink();
    let wanted = [network("nat0", [10, 7, 0, 1], Some("up0"))];
    let mut before = networks();
    before.tell(1, &wanted, Instant::now());
    let inside = on_bridge("nat0", "10.7.0.2/24", "10.7.0.1");
    let (machine, other) = (inside.socket("10.7.0.2:7"), outside.socket("203.0.113.2:7"));
    assert_eq!(asks(&machine, &other), "203.0.113.1");
    ip("route add 10.7.0.128/25 via 203.0.113.2");
    before.tell(2, &wanted, Instant::now());
    for mut networks in [before, networks()] {
        networks.tell(3, &wanted, Instant::now());
        assert!(problem(&networks, "nat0").contains("10.7.0.128/25 through interface \"up0\""));
        assert_eq!(offered(&networks), ["nat0"]);
        assert_eq!(asks(&machine, &other), "203.0.113.1");
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
    if empty_network().is_none() {
        return;
    }
    let _outside = with_uplink();
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
    if empty_network().is_none() {
        return;
    }
    let _outside = with_uplink();
    let wanted = [network("nat0", [10, 7, 0, 1], Some("up0"))];
    let mut networks = networks();
    networks.tell(1, &wanted, Instant::now());
    assert_eq!(offered(&networks), ["nat0"]);
    ip("link del nat0");
    for order in ["link add nat0 type bridge", "addr add 10.50.0.1/24 dev nat0", "link set nat0 up"]
    {
        ip(order);
    }
    let theirs = || (flags("nat0"), ip("-br addr show dev nat0"));
    let before = theirs();
    networks.tell(2, &wanted, Instant::now());
    assert!(problem(&networks, "nat0").contains("is no host network of this vmm-spawn"));
    assert!(offered(&networks).is_empty());
    assert_eq!(theirs(), before);
    assert!(!census().concat().contains("vmm_networks"), "rules for nothing");
}
