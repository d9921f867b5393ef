//! What is removed, and what is not: a bridge that is in use, and what cannot be removed now.

use std::time::Instant;

use super::rig::{
    Machine, PATIENCE, break_nft, census, flags, gone, mend_nft, network, networks, offered,
    on_bridge, problem, states, uplinked,
};
use crate::net::host::pace::AGAIN;
use crate::net::host::rules::Rules;
use crate::net::nft::Nft;

#[test]
fn a_bridge_on_which_something_is_stays_as_it_is_until_that_is_gone() {
    let Some(outside) = uplinked() else { return };
    let before = census();
    let wanted = [network("nat0", [10, 7, 0, 1], Some("up0"))];
    let mut networks = networks();
    let now = Instant::now();
    networks.tell(1, &wanted, now);
    let machine = Machine::on("nat0", &outside);
    let with = census();
    networks.tell(2, &[], now);
    let says = problem(&networks, "nat0");
    assert!(says.contains("1 interfaces are on it, such as \"port0\""), "{says}");
    assert!(offered(&networks).is_empty(), "nothing new comes onto it");
    machine.is_answered();
    assert_eq!(census(), with);
    // Wanted again, it is there.
    networks.tell(3, &wanted, now);
    assert_eq!(offered(&networks), ["nat0"]);
    assert_eq!(census(), with);
    // Not wanted, it goes with what is on it.
    networks.tell(4, &[], now);
    assert_eq!(networks.deadline(), Some(now + AGAIN));
    drop(machine);
    gone("port0");
    assert!(networks.on_time(now + AGAIN));
    assert_eq!((states(&networks).len(), networks.deadline()), (0, None));
    assert_eq!(census(), before);
}

#[test]
fn one_of_which_nobody_knows_the_rules_any_more_carries_nothing_while_something_is_on_it() {
    let Some(_outside) = uplinked() else { return };
    let now = Instant::now();
    networks().tell(1, &[network("nat0", [10, 7, 0, 1], Some("up0"))], now);
    let _machine = on_bridge("nat0", "10.7.0.2/24", "10.7.0.1");
    let mut next = networks();
    next.tell(1, &[], now);
    assert!(problem(&next, "nat0").contains("such as \"port0\""));
    assert!(!flags("nat0").contains("UP"), "{}", flags("nat0"));
}

#[test]
fn what_could_not_be_removed_is_said_of_each_and_removed_later() {
    let Some(_outside) = uplinked() else { return };
    let before = census();
    let both = [network("nat0", [10, 7, 0, 1], None), network("nat1", [10, 7, 1, 1], Some("up0"))];
    let mut networks = networks();
    let now = Instant::now();
    networks.tell(1, &both, now);
    break_nft(&mut networks);
    networks.tell(2, &both[1..], now);
    assert!(problem(&networks, "nat0").contains("nft refuses"), "{:?}", states(&networks));
    assert_eq!(offered(&networks), ["nat1"], "a former one takes no machines");
    networks.tell(3, &[], now);
    assert!(states(&networks).values().all(Option::is_some), "{:?}", states(&networks));
    assert_eq!(states(&networks).into_keys().collect::<Vec<_>>(), ["nat0", "nat1"]);
    // The next one finds them by itself.
    let mut next = super::rig::networks();
    break_nft(&mut next);
    next.tell(1, &[], now);
    assert_eq!(states(&next).into_keys().collect::<Vec<_>>(), ["nat0", "nat1"]);
    assert_eq!(next.deadline(), Some(now + AGAIN));
    mend_nft(&mut next);
    mend_nft(&mut networks);
    assert!(next.on_time(now + AGAIN));
    assert_eq!((states(&next).len(), next.deadline()), (0, None));
    assert_eq!(census(), before);
    // What is gone by itself needs no removal.
    assert!(networks.on_time(now + AGAIN));
    assert_eq!((states(&networks).len(), networks.deadline()), (0, None));
}

#[test]
fn without_the_program_nft_nothing_is_made_and_so_nothing_is_left() {
    let Some(_outside) = uplinked() else { return };
    let before = census();
    let mut networks = networks();
    let nowhere = Nft::of(vec!["/nowhere/nft".into()], PATIENCE);
    networks.rules = Rules::new(networks.mark.table(), nowhere);
    let now = Instant::now();
    networks.tell(1, &[network("nat0", [10, 7, 0, 1], Some("up0"))], now);
    assert!(problem(&networks, "nat0").contains("it comes with the package nftables"));
    assert_eq!(census(), before);
    networks.tell(2, &[], now);
    assert_eq!((states(&networks).len(), networks.deadline()), (0, None));
}
