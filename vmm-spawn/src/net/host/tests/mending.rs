//! What somebody else has changed of a network is put right, and what is right is left alone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use super::rig::{
    Machine, PATIENCE, census, ip, network, networks, offered, run, states, uplinked,
};
use crate::net::host::HostNetworks;
use crate::net::host::pace::{AGAIN, LOOK};
use crate::net::host::rules::Rules;
use crate::net::nft::Nft;

fn forwarding(interface: &str) -> PathBuf {
    format!("/proc/sys/net/ipv4/conf/{interface}/forwarding").into()
}

#[test]
fn a_way_out_that_comes_later_is_taken() {
    let Some(outside) = uplinked() else { return };
    let before = census();
    let mut networks = networks();
    let now = Instant::now();
    networks.tell(1, &[network("nat0", [10, 7, 0, 1], None)], now);
    let is_there = |networks: &HostNetworks| {
        assert_eq!(states(networks), BTreeMap::from([("nat0".to_owned(), None)]));
        assert_eq!(offered(networks), ["nat0"]);
    };
    is_there(&networks);
    assert_eq!(fs::read_to_string(forwarding("up0")).unwrap().trim(), "0");
    ip("route add default via 203.0.113.2");
    assert!(networks.on_time(now + AGAIN));
    is_there(&networks);
    let machine = Machine::on("nat0", &outside);
    machine.is_answered();
    // One that goes for a moment, as when a lease is renewed, is not given up.
    ip("route del default");
    assert!(networks.on_time(now + AGAIN + LOOK));
    assert_eq!(fs::read_to_string(forwarding("up0")).unwrap().trim(), "1");
    drop(machine);
    super::rig::gone("port0");
    networks.tell(2, &[], now);
    assert_eq!(census(), before);
}

#[test]
fn what_others_have_undone_is_done_again_and_still_known_as_ones_own() {
    let Some(outside) = uplinked() else { return };
    let before = census();
    let mut networks = networks();
    let mut now = Instant::now();
    networks.tell(1, &[network("nat0", [10, 7, 0, 1], Some("up0"))], now);
    let with = census();
    let undone: [&dyn Fn(); 4] = [
        &|| drop(run(Command::new("nft").args(["flush", "ruleset"]), "flush")),
        &|| ["up0", "nat0"].iter().for_each(|it| fs::write(forwarding(it), "0").unwrap()),
        &|| drop(ip("link del nat0")),
        &|| drop(ip("addr flush dev nat0")),
    ];
    for (number, undo) in undone.iter().enumerate() {
        undo();
        assert_ne!(census(), with, "{number}");
        assert!(!networks.on_time(now), "not yet");
        now += LOOK;
        networks.on_time(now);
        assert_eq!(offered(&networks), ["nat0"]);
        let machine = Machine::on("nat0", &outside);
        machine.is_answered();
        drop(machine);
        super::rig::gone("port0");
    }
    networks.tell(2, &[], now);
    assert_eq!(census(), before);
    assert_eq!(networks.deadline(), None);
}

#[test]
fn what_is_right_is_looked_at_and_left_alone() {
    let Some(_outside) = uplinked() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (program, log) = (dir.path().join("nft"), dir.path().join("log"));
    // Nothing has it open for writing when it is run.
    let script =
        "echo '#!/bin/sh\necho \"$@\" >>\"${0%/*}/log\"\nexec /usr/sbin/nft \"$@\"' >\"$1\"";
    run(Command::new("/bin/sh").args(["-c", script, "sh"]).arg(&program), "write");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let mut networks = networks();
    networks.rules = Rules::new(networks.mark.table(), Nft::of(vec![program], PATIENCE));
    let wanted = [network("nat0", [10, 7, 0, 1], Some("up0"))];
    let now = Instant::now();
    networks.tell(1, &wanted, now);
    let table = networks.mark.table();
    let look = format!("-j list tables ip\n-j list table ip {table}\n");
    for number in 2..4 {
        fs::write(&log, "").unwrap();
        let before = census();
        networks.tell(number, &wanted, now);
        assert_eq!(fs::read_to_string(&log).unwrap(), look);
        assert_eq!(census(), before);
    }
}
