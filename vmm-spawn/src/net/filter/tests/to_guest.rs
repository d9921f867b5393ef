//! What a guest gets of what its bridge sends to all of its ports.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use netlink_packet_route::link::LinkAttribute;
use rustix::io::{Errno, read, write};

use super::rig::{MAC, Rig};
use super::{KINDS, Rules, interface};
use crate::net::tests::make_bridge;
use crate::net::tun;

/// Who sends, at another port of the bridge.
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// How long a frame may take from one port to another.
const SOON: Duration = Duration::from_mins(1);

/// A frame of a type that nobody knows; its last byte is its number.
fn frame(to: [u8; 6], number: u8) -> Vec<u8> {
    let mut frame = [&to[..], &PEER, &[0x88, 0xb5]].concat();
    frame.resize(60, number);
    frame
}

/// The numbers of the frames of [`PEER`] that came to a tap, until that with the last number.
fn arrived(tap: &OwnedFd, last: u8) -> Vec<u8> {
    let until = Instant::now() + SOON;
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        let mut room = [0; 2048];
        match read(tap, &mut room) {
            // The bridge says something of its own, too.
            Ok(length) if room[6..12] == PEER => numbers.push(room[length - 1]),
            Ok(_) => {}
            Err(Errno::AGAIN) => {
                assert!(Instant::now() < until, "of {last} frames, these came: {numbers:?}");
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
    numbers
}

#[test]
fn a_guest_gets_what_is_for_it_or_for_a_group_and_nothing_else_that_its_bridge_floods() {
    let mut other = MAC;
    other[5] ^= 1;
    let mut reversed = MAC;
    reversed.reverse();
    // Not of a group.
    reversed[0] &= 0xFE;
    let sent = [
        (MAC, true),
        (other, false),
        ([255; 6], true),
        (reversed, false),
        ([0x01, 0x00, 0x5e, 0, 0, 1], true),
        ([0; 6], false),
        ([0x33, 0x33, 0, 0, 0, 1], true),
        ([0xFE; 6], false),
        ([MAC[0], MAC[1], MAC[2], MAC[3], MAC[4], 0], false),
        (MAC, true),
    ];
    for kind in KINDS {
        let Some(mut rig) = Rig::new() else { return };
        let bridge = make_bridge(&mut rig.netlink, "ext");
        rig.netlink.set_up(bridge, true).unwrap();
        let filtered = rig.add_tap(0);
        let [wire, unfiltered] = ["wire", "unfiltered"].map(|name| tun::make(name).unwrap());
        for name in ["wire", "unfiltered", filtered.as_str()] {
            let index = rig.netlink.link(name).unwrap().unwrap().index;
            let controller = vec![LinkAttribute::Controller(bridge)];
            rig.netlink.change_link(index, controller).unwrap();
            if name != filtered.as_str() {
                rig.netlink.set_up(index, true).unwrap();
            }
        }
        rig.filter(&Rules::default(), filtered, &interface(kind)).unwrap();
        let numbered: Vec<_> = (1_u8..).zip(sent).collect();
        for (number, (to, _)) in &numbered {
            let frame = frame(*to, *number);
            assert_eq!(write(&wire, &frame), Ok(frame.len()));
        }
        let last = numbered.last().unwrap().0;
        let all: Vec<_> = numbered.iter().map(|(number, _)| *number).collect();
        // The bridge does send them all to all of its ports.
        assert_eq!(arrived(&unfiltered, last), all);
        let own = numbered.iter().filter(|(_, (_, own))| *own).map(|(number, _)| *number);
        assert_eq!(arrived(&rig.taps[0].1, last), own.collect::<Vec<_>>(), "{kind:?}");
    }
}
