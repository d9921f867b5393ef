//! How much gets through when a guest sends as fast as it can.

use std::time::{Duration, Instant};

use super::bytes::good;
use super::rig::passed;
use super::{KINDS, Limits, Rules, filtered};

/// How long it sends, at least.
const TIME: Duration = Duration::from_secs(2);

/// How much it sends, at least: in a pause of this host it would be less than the burst.
const FRAMES: usize = 2000;

/// What got through while a guest sent for [`TIME`] or longer, and how long that was in seconds. Each frame
/// is good on a network of the first kind, and has so many bytes.
fn flooded(limits: Limits, length: usize) -> Option<((u64, u64), f64)> {
    let rig = filtered(KINDS[0], &Rules::new(limits));
    let rig = rig?;
    let udp = good().into_iter().find(|it| it.name == "UDP").unwrap();
    assert!(udp.kinds.contains(&0));
    let mut frame = udp.frame;
    frame.resize(length, 0);
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < TIME || sent < FRAMES {
        for _ in 0..100 {
            rig.send(0, &frame);
        }
        sent += 100;
    }
    let took = begun.elapsed().as_secs_f64();
    Some((passed(), took))
}

/// What passes is more than the burst, as it goes on, however slow this host is: it sends many times
/// more than may pass. How much more is not said: in a pause of the sender, what it may send is lost.
#[track_caller]
fn is_about(passed: f64, rate: f64, burst: f64, took: f64) {
    let most = (burst + rate * took) * 1.2;
    assert!(passed > burst && passed <= most, "{passed} of more than {burst}, at most {most}");
}

#[test]
fn packets_are_limited_to_so_many_a_second() {
    let limits = Limits { bandwidth: None, packets: Some(500) };
    let Some(((packets, _), took)) = flooded(limits, 64) else { return };
    is_about(f64::from(u32::try_from(packets).unwrap()), 500.0, 64.0, took);
}

#[test]
fn bytes_are_limited_to_so_many_a_second_beyond_those_of_the_first() {
    let limits = Limits { bandwidth: Some(1), packets: None };
    let Some(((_, bytes), took)) = flooded(limits, 1000) else { return };
    let rate = 125_000.0;
    is_about(f64::from(u32::try_from(bytes).unwrap()), rate, rate + 65_536.0, took);
}
