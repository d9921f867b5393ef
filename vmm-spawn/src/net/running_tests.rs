//! What becomes of machines that run when something about their networks changes.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::io::{Errno, read, write};

use super::tests::{empty_network, make_bridge};
use super::*;

/// A type of frames that belongs to nobody.
const LOCAL: [u8; 2] = [0x88, 0xb5];

/// The bridge of every test.
const BRIDGE: &str = "ext";

/// A host with a bridge, and what makes taps on it.
struct Host {
    networks: Networks,
}

impl Host {
    fn new() -> Option<Self> {
        let mut kernel = empty_network()?;
        let index = make_bridge(&mut kernel, BRIDGE);
        kernel.set_up(index, true).unwrap();
        Some(Self { networks: networks() })
    }

    /// A machine of a group of its own, whose guest is the test.
    fn machine(&mut self, number: u8) -> Guest {
        let mac = [2, 0, 0, 0, 0, number];
        let interface = Interface {
            device: "service".to_owned(),
            bridge: BRIDGE.to_owned(),
            mac,
            address: None,
            address6: None,
            group: Some(number.into()),
        };
        let tap = self.networks.make(id(number), &[interface]).unwrap().remove(0);
        Guest { mac, descriptor: tap.descriptor }
    }
}

/// As a vmm-spawn has them that begins now.
fn networks() -> Networks {
    let bridge = BridgeName::parse(BRIDGE).unwrap();
    Networks::open(&[bridge], Limits::default(), Path::new("/run/vmm")).unwrap()
}

fn id(number: u8) -> MachineId {
    MachineId([number; 16])
}

fn nft(command: &str) {
    assert!(Command::new("/usr/sbin/nft").arg(command).status().unwrap().success(), "{command}");
}

struct Guest {
    mac: [u8; 6],
    descriptor: OwnedFd,
}

impl Guest {
    /// Sends something to everybody, as the one with this address.
    fn call_as(&self, mac: [u8; 6]) {
        let frame = [&[255; 6][..], &mac, &LOCAL, &[7; 46]].concat();
        assert_eq!(write(&self.descriptor, &frame), Ok(frame.len()));
    }

    /// How many calls it has got. What a host sends of its own does not count.
    fn calls(&self) -> usize {
        let mut calls = 0;
        let mut frame = [0; 2048];
        loop {
            match read(&self.descriptor, &mut frame) {
                Ok(_) => calls += usize::from(frame[12..14] == LOCAL),
                Err(Errno::AGAIN) => return calls,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn machines_of_different_groups_never_see_each_other_while_the_rules_are_put_right() {
    let Some(mut host) = Host::new() else { return };
    let (one, other) = (host.machine(1), host.machine(2));
    // Without any rule they would.
    nft("delete table bridge vmm-groups");
    one.call_as(one.mac);
    assert_eq!(other.calls(), 1);
    drop(networks());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                one.call_as(one.mac);
            }
        });
        for number in 0..20 {
            nft(&format!("add chain bridge vmm-groups more{number}"));
            drop(networks());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(other.calls(), 0);
    assert!(Rules::default().prepare().unwrap());
}
