mod told;

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::io::{read, write};
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::Interface;
use vmm_proto::resource::BridgeName;

use super::*;
use crate::net::filter::{Limits, Rules};
use crate::net::netlink::Netlink;
use crate::net::tests::{Holder, empty_network, make_bridge};

/// The bridge of every test.
const BRIDGE: &str = "ext";

/// A host with a bridge, and what makes taps on it.
struct Host {
    kernel: Netlink,
    networks: Networks,
}

impl Host {
    fn new() -> Option<Self> {
        let mut kernel = empty_network()?;
        let index = make_bridge(&mut kernel, BRIDGE);
        kernel.set_up(index, true).unwrap();
        Some(Self { kernel, networks: networks("/run/vmm") })
    }

    /// A machine whose guest is the test.
    fn machine(&mut self, number: u8, group: Option<u32>) -> Guest {
        let mac = [2, 0, 0, 0, 0, number];
        let own = address(number);
        let interface = Interface {
            device: "service".to_owned(),
            bridge: BRIDGE.to_owned(),
            mac,
            address: Some(own),
            address6: None,
            group,
        };
        let tap = self.networks.make(id(number), &[interface]).unwrap().remove(0);
        Guest { mac, own, descriptor: tap.descriptor }
    }

    /// What is due is done.
    fn later(&mut self) {
        let due = self.networks.deadline().unwrap();
        self.networks.on_time(due);
    }

    /// Another vmm-spawn goes on with machines.
    fn again(&mut self, machines: &[u8]) {
        self.networks = networks("/run/vmm");
        self.networks.sweep(&machines.iter().map(|number| (id(*number), 1)).collect()).unwrap();
    }

    fn is_up(&mut self, tap: TapName) -> bool {
        self.kernel.link(tap.as_str()).unwrap().unwrap().is_up
    }
}

/// As a vmm-spawn has them that begins now.
fn networks(dir: &str) -> Networks {
    let bridge = BridgeName::parse(BRIDGE).unwrap();
    Networks::open(&[bridge], Limits::default(), Path::new(dir)).unwrap()
}

fn id(number: u8) -> MachineId {
    MachineId([number; 16])
}

fn tap(number: u8) -> TapName {
    TapName::of(id(number), 0)
}

fn table(number: u8) -> String {
    format!("vmm-{}", tap(number))
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 7, 0, number)
}

fn nft(command: &str) -> String {
    let output = Command::new("/usr/sbin/nft").arg(command).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

struct Guest {
    mac: [u8; 6],
    own: Ipv4Addr,
    descriptor: OwnedFd,
}

impl Guest {
    /// Sends something to everybody.
    fn call(&self) {
        self.call_as(self.own);
    }

    /// The same from that address.
    fn call_as(&self, from: Ipv4Addr) {
        let datagram = [0x13, 0x88, 0x13, 0x88, 0, 26, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];
        let mut head = [0x45, 0, 0, 40, 0, 1, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255];
        head[12..16].copy_from_slice(&from.octets());
        let words = head.chunks(2).map(|it| u32::from(it[0]) << 8 | u32::from(it[1]));
        let sum: u32 = words.sum();
        let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        head[10..12].copy_from_slice(&(!sum).to_be_bytes());
        let frame = [&[255; 6][..], &self.mac, &[8, 0], &head, &datagram].concat();
        assert_eq!(write(&self.descriptor, &frame), Ok(frame.len()));
    }

    /// How many calls it has got. What a host sends of its own does not count.
    fn calls(&self) -> usize {
        let mut calls = 0;
        let mut frame = [0; 2048];
        loop {
            match read(&self.descriptor, &mut frame) {
                Ok(_) => calls += usize::from(frame[12..14] == [8, 0] && frame[23] == 17),
                Err(Errno::AGAIN) => return calls,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn machines_of_different_groups_never_see_each_other_while_the_rules_are_put_right() {
    let Some(mut host) = Host::new() else { return };
    let (one, other) = (host.machine(1, Some(1)), host.machine(2, Some(2)));
    // Without any rule they would.
    nft("delete table bridge vmm-groups");
    one.call();
    assert_eq!(other.calls(), 1);
    host.later();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                one.call();
            }
        });
        for number in 0..20 {
            nft(&format!("add chain bridge vmm-groups more{number}"));
            host.later();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(other.calls(), 0);
    assert!(Rules::default().prepare().unwrap());
}

/// Whether the first one can pretend to be somebody else, and be heard by the other as itself.
fn judged(one: &Guest, other: &Guest) -> (bool, bool) {
    other.calls();
    one.call_as(address(99));
    let lied = other.calls() > 0;
    one.call();
    (lied, other.calls() > 0)
}

#[test]
fn filters_that_somebody_removed_are_made_again_while_machines_run() {
    let Some(mut host) = Host::new() else { return };
    let (one, other) = (host.machine(1, None), host.machine(2, None));
    let stranger = host.machine(3, Some(1));
    assert_eq!(judged(&one, &other), (false, true));
    nft("flush ruleset");
    assert_eq!(judged(&one, &other), (true, true));
    assert_eq!(judged(&one, &stranger), (true, true));
    host.later();
    assert_eq!(judged(&one, &other), (false, true));
    assert_eq!(judged(&one, &stranger), (false, false));
    // And by whoever goes on with them.
    nft("flush ruleset");
    host.again(&[1, 2, 3]);
    assert_eq!(judged(&one, &other), (false, true));
    assert_eq!(judged(&one, &stranger), (false, false));
    nft(&format!("delete table netdev {}", table(1)));
    assert_eq!(judged(&one, &other), (true, true));
    host.later();
    assert_eq!(judged(&one, &other), (false, true));
}

#[test]
fn filters_that_somebody_changed_are_replaced_while_machines_run() {
    let Some(mut host) = Host::new() else { return };
    let (one, other) = (host.machine(1, None), host.machine(2, None));
    host.later();
    for order in ["insert rule netdev TABLE from-guest accept", "flush chain netdev TABLE types"] {
        nft(&order.replace("TABLE", &table(1)));
        assert_ne!(judged(&one, &other), (false, true), "{order}");
        host.later();
        assert_eq!(judged(&one, &other), (false, true), "{order}");
    }
    // And by whoever goes on with them.
    nft(&format!("insert rule netdev {} from-guest accept", table(1)));
    host.again(&[1, 2]);
    assert_eq!(judged(&one, &other), (false, true));
}

#[test]
fn what_this_program_changes_itself_is_no_reason_to_read_filters() {
    let Some(mut host) = Host::new() else { return };
    let _guests = [host.machine(1, None), host.machine(2, Some(1))];
    host.later();
    let counted = host.networks.watch.changes;
    assert!(counted.is_some());
    drop(host.machine(3, None));
    host.networks.remove(id(3), 1);
    nft("list ruleset");
    host.later();
    assert_eq!(host.networks.watch.changes, counted);
    nft("add table ip theirs");
    host.later();
    assert_ne!(host.networks.watch.changes, counted);
}

#[test]
fn whoever_changes_rules_all_the_time_keeps_no_filter_from_being_read() {
    const MACHINES: u8 = 60;
    let Some(mut host) = Host::new() else { return };
    let guests: Vec<_> = (1..=MACHINES).map(|number| host.machine(number, None)).collect();
    let (one, last) = (&guests[0], &guests[usize::from(MACHINES) - 1]);
    nft(&format!("insert rule netdev {} from-guest accept", table(MACHINES)));
    for number in 0..usize::from(MACHINES).div_ceil(READ_AT_ONCE) {
        nft(&format!("add table ip theirs{number}"));
        host.later();
    }
    assert_eq!(judged(last, one), (false, true));
}

#[test]
fn as_many_filters_as_there_are_machines_are_made_again_a_part_at_a_time() {
    const MACHINES: u8 = 120;
    let Some(mut host) = Host::new() else { return };
    let guests: Vec<_> = (1..=MACHINES).map(|number| host.machine(number, None)).collect();
    nft("flush ruleset");
    let mut counts = Vec::new();
    for _ in 0..3 {
        host.later();
        counts.push(nft("list tables netdev").lines().count());
    }
    assert_eq!(counts, [50, 100, 120]);
    drop(guests);
}

#[test]
fn a_tap_that_was_cut_carries_frames_again_once_it_is_filtered() {
    let Some(mut host) = Host::new() else { return };
    let _guest = host.machine(1, None);
    host.networks.watch.filtered.get_mut(&tap(1)).unwrap().is_cut = true;
    let index = host.kernel.link(tap(1).as_str()).unwrap().unwrap().index;
    host.kernel.set_up(index, false).unwrap();
    nft("flush ruleset");
    host.later();
    assert!(host.is_up(tap(1)));
    assert!(nft("list tables").contains(&table(1)));
}

#[test]
fn what_cannot_be_removed_is_tried_again_until_it_is_gone() {
    let Some(mut host) = Host::new() else { return };
    let guest = host.machine(1, None);
    nft(&format!("delete table netdev {}", table(1)));
    let held = Holder::of(&format!("netdev {}", table(1)));
    drop(guest);
    host.networks.remove(id(1), 1);
    host.later();
    assert!(nft("list tables").contains(&table(1)));
    drop(held);
    // What goes with its owner the kernel does not count.
    let due = Instant::now() + PAUSE + LOOK;
    host.networks.on_time(due);
    assert!(!nft("list tables").contains(&table(1)));
    assert_eq!(host.networks.deadline(), None);
}

#[test]
fn filters_are_gone_with_their_taps_and_those_of_others_stay() {
    let Some(mut host) = Host::new() else { return };
    let there = |number| nft("list tables").contains(&table(number));
    nft("add table netdev vmm-uplink");
    let (gone, left) = (host.machine(1, None), host.machine(2, None));
    let mine = std::mem::replace(&mut host.networks, networks("/run/other"));
    drop(host.machine(3, None));
    host.networks = mine;
    drop(gone);
    // While it may still be started again by whoever has it, the filter of a machine stays.
    host.again(&[1, 2]);
    assert!(there(1) && there(2) && there(3));
    host.again(&[]);
    // A tap of a machine that does not run is removed with its filter.
    assert_eq!(host.kernel.link(tap(2).as_str()).unwrap(), None);
    assert!(!there(1) && !there(2) && there(3));
    assert!(nft("list tables").contains("vmm-uplink"));
    assert_eq!(host.networks.deadline(), None);
    drop(left);
}
