//! What filters cost: to make one where there are none and where there are many, and for each frame
//! that a guest sends.
//!
//! `cargo bench -p vmm-spawn --bench filters`, as root: it makes a network namespace.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench fails by panicking, and prints"
)]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rustix::io::write;
use vmm_proto::id::MachineId;
use vmm_proto::resource::TapName;
use vmm_spawn::net::filter::Rules;
use vmm_spawn::net::netlink::Netlink;
use vmm_spawn::net::owner::Identity;
use vmm_spawn::net::tun;

/// Taps that there are in the end.
const TAPS: u16 = 500;

/// Of how many the median is told, in the beginning and in the end.
const SOME: usize = 20;

/// How much longer it may take to make a filter where there are many.
const GROWTH_MAX: f64 = 4.0;

/// Frames of one measurement, and measurements.
const FRAMES: u32 = 20_000;
const TIMES: u32 = 100;

/// How much longer a frame may take with a filter.
const FRAME_MAX: f64 = 2.0;

const MAC: [u8; 6] = [2, 0x11, 0x22, 0x33, 0x44, 0x55];
const GUEST: Identity = Identity {
    mac: MAC,
    address: Some(Ipv4Addr::new(10, 7, 0, 2)),
    address6: Some(Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 2)),
};

fn main() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: a network namespace, which only root can make");
        return;
    }
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    make_many();
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    send_frames();
}

fn make_many() {
    let rules = Rules::default();
    rules.prepare().unwrap();
    let mut taps = Vec::new();
    let mut times = Vec::new();
    for index in 0..TAPS {
        let name = TapName::of(MachineId([7; 16]), index);
        taps.push(tun::make(name.as_str()).unwrap());
        let begun = Instant::now();
        rules.filter(name, GUEST).unwrap();
        times.push(begun.elapsed());
    }
    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort();
        times[times.len() / 2]
    };
    let (few, many) = (median(&times[..SOME]), median(&times[times.len() - SOME..]));
    println!("a filter is made and read back: {few:?} with few taps, {many:?} with {TAPS}");
    judge("many taps over few", many, few, GROWTH_MAX);
}

/// By turns with a filter and without, so that both have the same noise around them. The least time of
/// each is what it takes.
fn send_frames() {
    let (rules, name) = (Rules::default(), TapName::of(MachineId([7; 16]), 0));
    let tap = tun::make(name.as_str()).unwrap();
    let mut netlink = Netlink::open().unwrap();
    let index = netlink.link(name.as_str()).unwrap().unwrap().index;
    netlink.set_up(index, true).unwrap();
    for (what, frame) in [("IPv4", frame4()), ("IPv6", frame6())] {
        let (mut with, mut without) = (Duration::MAX, Duration::MAX);
        for _ in 0..TIMES {
            rules.filter(name, GUEST).unwrap();
            with = with.min(each(&tap, &frame));
            rules.forget(name).unwrap();
            without = without.min(each(&tap, &frame));
        }
        println!("a frame of UDP over {what}: {with:?} with a filter, {without:?} without");
        judge("with a filter over without", with, without, FRAME_MAX);
    }
}

fn each(tap: &OwnedFd, frame: &[u8]) -> Duration {
    let begun = Instant::now();
    for _ in 0..FRAMES {
        assert_eq!(write(tap, frame).unwrap(), frame.len());
    }
    begun.elapsed() / FRAMES
}

fn judge(what: &str, one: Duration, other: Duration, limit: f64) {
    let ratio = one.div_duration_f64(other);
    println!("  {what}: {ratio:.2} (limit {limit})");
    assert!(ratio <= limit, "{what}: {ratio:.2} is over {limit}");
}

/// To a host that is not this one, which drops it.
fn frame4() -> Vec<u8> {
    let udp = [0, 7, 0, 7, 0, 16, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9];
    let head = [0x45, 0, 0, 36, 0, 1, 0, 0, 64, 17, 0, 0];
    let (from, to) = ([10, 7, 0, 2], [10, 7, 0, 3]);
    [&ether(0x0800)[..], &head, &from, &to, &udp].concat()
}

fn frame6() -> Vec<u8> {
    let udp = [0, 7, 0, 7, 0, 16, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9];
    let head = [0x60, 0, 0, 0, 0, 16, 17, 64];
    let from = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 2).octets();
    let to = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 3).octets();
    [&ether(0x86dd)[..], &head, &from, &to, &udp].concat()
}

fn ether(kind: u16) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 9][..], &MAC, &kind.to_be_bytes()].concat()
}
