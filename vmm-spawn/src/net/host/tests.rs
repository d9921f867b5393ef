//! On a host of its own: a network namespace with an uplink to another one.

mod bridged;
mod later;
mod mending;
mod removal;
mod rig;

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Instant;

use super::pace::AGAIN;
use super::rules::connections_max;
use crate::net::tests::empty_network;
use rig::{
    Machine, census, gone, ip, made, network, networks, problem, states, uplinked, with_uplink,
};

#[test]
fn machines_reach_others_under_the_hosts_address_and_nobody_opens_a_connection_to_them() {
    let Some(outside) = uplinked() else { return };
    let before = census();
    let mut networks = networks();
    let now = Instant::now();
    networks.tell(1, &[network("nat0", [10, 7, 0, 1], Some("up0"))], now);
    assert_eq!(states(&networks), BTreeMap::from([("nat0".to_owned(), None)]));
    let machine = Machine::on("nat0", &outside);
    machine.is_answered();

    // Whoever pretends to be somebody else is not passed on; what follows is.
    machine.host.ip("addr add 10.9.9.9/32 dev eth0");
    let spoof = machine.host.socket("10.9.9.9:7");
    spoof.send_to(b"lie", "203.0.113.2:7").unwrap();
    machine.is_answered();

    // Nor is a connection from outside, to which there is a route.
    outside.ip("route add 10.7.0.0/24 via 203.0.113.1");
    let served = machine.host.socket("10.7.0.2:9");
    outside.socket("203.0.113.2:9").send_to(b"hello", "10.7.0.2:9").unwrap();
    machine.is_answered();
    served.set_nonblocking(true).unwrap();
    let nothing = served.recv_from(&mut [0; 16]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);

    // Told again, nothing changes.
    let with = census();
    networks.tell(2, &[network("nat0", [10, 7, 0, 1], Some("up0"))], now);
    assert_eq!(census(), with);

    // Removed, nothing of it is left.
    drop((machine, spoof, served));
    gone("port0");
    networks.tell(3, &[], now);
    assert_eq!((states(&networks), networks.deadline()), (BTreeMap::new(), None));
    assert_eq!(census(), before);
}

#[test]
fn without_an_uplink_the_way_of_last_resort_is_taken() {
    let Some(outside) = uplinked() else { return };
    ip("route add default via 203.0.113.2");
    let both = [network("nat0", [10, 7, 0, 1], None), network("nat1", [10, 7, 1, 1], None)];
    let mut networks = made(&both);
    let machine = Machine::on("nat1", &outside);
    machine.is_answered();
    // One of them goes, the other one stays as it is.
    networks.tell(2, &both[1..], Instant::now());
    machine.is_answered();
    assert!(!ip("-br link").contains("nat0"));
}

#[test]
fn what_belongs_to_others_is_never_changed_and_what_is_in_the_way_is_named() {
    let Some(_outside) = uplinked() else { return };
    ip("link add theirs type bridge");
    ip("link set theirs alias theirs");
    ip("route add 10.8.0.0/16 via 203.0.113.2");
    let before = census();
    let mut networks = networks();
    for (wanted, says) in [
        (network("theirs", [10, 7, 0, 1], None), "\"theirs\" that is no host network"),
        (network("ext", [10, 7, 0, 1], None), "is named by --bridge"),
        (network("nat0", [10, 7, 0, 1], Some("up1")), "no interface \"up1\""),
        (network("nat0", [203, 0, 113, 9], None), "not in a private network"),
        (network("nat0", [10, 8, 9, 1], None), "10.8.0.0/16 through interface \"up0\""),
        (network("../x", [10, 7, 0, 1], None), "is not a bridge name"),
        (network("all", [10, 7, 0, 1], None), "cannot be called"),
    ] {
        let name = wanted.name.clone();
        networks.tell(1, &[wanted], Instant::now());
        let problem = problem(&networks, &name);
        assert!(problem.contains(says), "{problem}");
        assert_eq!(census(), before, "{name}");
    }
    let many: Vec<_> = (0..17).map(|i| network(&format!("n{i}"), [10, 1, i, 1], None)).collect();
    networks.tell(2, &many, Instant::now());
    assert_eq!(networks.bridges().count(), 16);
    assert!(problem(&networks, "n16").contains("16 host networks already"));
    let twice = [network("nat0", [10, 7, 0, 1], None), network("nat1", [10, 7, 0, 9], None)];
    networks.tell(3, &twice, Instant::now());
    assert!(problem(&networks, "nat1").contains("in common with host network \"nat0\""));
    networks.tell(4, &[], Instant::now());
    assert_eq!(census(), before);
}

#[test]
fn an_uplink_that_comes_later_is_taken_and_forwarding_of_the_admin_stays() {
    if empty_network().is_none() {
        return;
    }
    let mut networks = networks();
    let now = Instant::now();
    networks.tell(1, &[network("nat0", [10, 7, 0, 1], Some("up0"))], now);
    assert!(problem(&networks, "nat0").contains("no interface \"up0\""));
    assert!(!networks.on_time(now), "not yet");
    ip("link add up0 type veth peer name far0");
    fs::write("/proc/sys/net/ipv4/conf/up0/forwarding", "1").unwrap();
    let before = census();
    assert!(networks.on_time(now + AGAIN));
    assert_eq!(states(&networks), BTreeMap::from([("nat0".to_owned(), None)]));
    assert!(!census().concat().contains("forwarding switched on"), "it was on");
    networks.tell(2, &[], now);
    assert_eq!(census(), before);
}

#[test]
fn of_many_routes_only_those_are_kept_that_matter() {
    let Some(mut netlink) = empty_network() else { return };
    let _outside = with_uplink();
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("routes");
    let line = |number: u32| {
        let destination = Ipv4Addr::from_bits(u32::from_be_bytes([172, 16, 0, 0]) + 4 * number);
        format!("route add {destination}/30 via 203.0.113.2\n")
    };
    let more = "route add default via 203.0.113.2\nroute add 10.7.0.128/25 via 203.0.113.2\n";
    fs::write(&list, (0..20_000).map(line).collect::<String>() + more).unwrap();
    ip(&format!("-batch {}", list.display()));
    let wanted = network("nat0", [10, 7, 0, 1], None);
    let routes = netlink.routes(|it| it.matters_to(&[wanted.checked().unwrap()])).unwrap();
    let kept: Vec<_> = routes.iter().map(|it| (it.destination, it.prefix)).collect();
    assert_eq!(kept, [(None, 0), (Some([10, 7, 0, 128].into()), 25)]);
    assert!(routes.capacity() < 100, "{}", routes.capacity());
    let mut networks = networks();
    networks.tell(1, std::slice::from_ref(&wanted), Instant::now());
    assert!(problem(&networks, "nat0").contains("10.7.0.128/25"));
}

#[test]
fn machines_of_a_network_take_no_more_of_the_hosts_connections_than_their_share() {
    let Some(outside) = uplinked() else { return };
    let _networks = made(&[network("nat0", [10, 7, 0, 1], Some("up0"))]);
    let machine = Machine::on("nat0", &outside);
    machine.is_answered();
    let most = connections_max();
    let greedy = machine.host.socket("10.7.0.2:9");
    for port in (1024_u16..).take(2 * most as usize) {
        // What the other side says about ports that nobody has comes back as an error, once.
        let _ = greedy.send_to(b"hello", ("203.0.113.2", port));
    }
    let count = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap();
    let count: u32 = count.trim().parse().unwrap();
    // Some are the host's own, and some may end before the next ones are counted.
    assert!((most / 2..most + 100).contains(&count), "{count} of {most}");
    // Who has one keeps it.
    machine.is_answered();
}
