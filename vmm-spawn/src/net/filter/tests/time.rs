//! How long filters take, when there are few and when there are many.

use std::time::{Duration, Instant};

use super::rig::Rig;
use super::{KINDS, Rules, interface};

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
