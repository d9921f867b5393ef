//! How long filters take, when there are few and when there are many.

use std::time::{Duration, Instant};

use super::bytes::good;
use super::rig::Rig;
use super::{KINDS, Rules, filtered, interface};

/// A measurement, which asserts nothing about what it finds:
/// `cargo test -p vmm-spawn --release -- --ignored --nocapture filters_of_many_taps`
#[test]
#[ignore = "a measurement"]
fn filters_of_many_taps_take_their_time() {
    const TAPS: u16 = 500;
    const SOME: usize = 20;
    let Some(mut rig) = Rig::new() else { return };
    let rules = Rules::default();
    let interface = interface(KINDS[0]);
    let mut times = Vec::new();
    for index in 0..TAPS {
        let name = rig.add_tap(index);
        let facts = rig.facts(name, &interface);
        let begun = Instant::now();
        rules.apply(&facts).unwrap();
        times.push(begun.elapsed());
    }
    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort();
        times[times.len() / 2]
    };
    println!("the first of {TAPS}: {:?}", times[0]);
    for (which, times) in [("first", &times[..SOME]), ("last", &times[times.len() - SOME..])] {
        let (median, most) = (median(times), times.iter().max());
        println!("the {which} {SOME} of {TAPS}: {median:?}, at most {most:?}");
    }
}

/// The least time that a frame takes which a guest writes, with its filter and without.
///
/// `cargo test -p vmm-spawn --release -- --ignored --nocapture a_frame_takes_its_time`
#[test]
#[ignore = "a measurement"]
fn a_frame_takes_its_time() {
    const FRAMES: u32 = 20_000;
    const TIMES: u32 = 100;
    let (rules, interface) = (Rules::default(), interface(KINDS[0]));
    for name in ["UDP", "TCP", "UDP6", "ARP reply"] {
        let Some(mut rig) = filtered(KINDS[0], &rules) else { return };
        let tap = rig.taps[0].0;
        let frame = good().into_iter().find(|it| it.name == name).unwrap().frame;
        let once = |rig: &Rig| {
            let begun = Instant::now();
            (0..FRAMES).for_each(|_| rig.send(0, &frame));
            begun.elapsed() / FRAMES
        };
        let (mut with, mut without) = (Duration::MAX, Duration::MAX);
        // By turns, so that both have the same noise around them.
        for _ in 0..TIMES {
            with = with.min(once(&rig));
            rules.forget(tap).unwrap();
            without = without.min(once(&rig));
            rig.filter(&rules, tap, &interface).unwrap();
        }
        println!("{name}: {with:?} with a filter, {without:?} without");
    }
}
