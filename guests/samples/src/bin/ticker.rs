//! Ticks: prints `tick 1`, `tick 2`, … once a second, or every MS milliseconds with `--every=MS`
//! (or `--every MS`), forever, or N times with `--count=N`; then it exits with 0. With `--wall`,
//! it prints the time of day before that, in seconds since 1970.
#![no_std]
#![no_main]

use core::time::Duration;

use solo5::{Arguments, println, time};

solo5::unikernel!(main);

fn main(arguments: Arguments) -> i32 {
    let period = arguments.number_of("--every=").or_else(|| every(arguments));
    let period = Duration::from_millis(period.unwrap_or(1000));
    let count = arguments.number_of("--count=").unwrap_or(u64::MAX);
    if arguments.words().any(|word| word == b"--wall") {
        println!("{}", time::wall().as_secs());
    }
    // Each tick has its own deadline, so that lateness does not add up.
    let mut next = time::monotonic();
    for tick in 1..=count {
        println!("tick {tick}");
        next = next.saturating_add(period);
        if tick < count {
            time::sleep_until(next);
        }
    }
    0
}

/// The word after `--every`.
fn every(arguments: Arguments) -> Option<u64> {
    let mut words = arguments.words();
    words.find(|word| *word == b"--every")?;
    let period = words.next().and_then(|word| core::str::from_utf8(word).ok()?.parse().ok());
    if period.is_none() {
        println!("--every wants a number of milliseconds");
        solo5::exit(64);
    }
    period
}
