//! A hundred machines that print, end and start, while daemons are killed and stopped at random and
//! tenants deploy and destroy. Afterwards everything must be as if nothing had happened to the
//! daemons: whatever runs does so once, whatever was printed is there, in order, once, whatever
//! ended has a record, and nothing is left over.
//!
//! `VMM_STORM_SECONDS` says how long it storms (20 s unless given, 60 s with `CI=true`), and
//! `VMM_STORM_SEED` repeats the choices of an earlier storm.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod aftermath;
mod chance;
mod crew;
mod tenants;
mod weather;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use vmm_testkit::on_ci;
use vmm_tests::census::Census;
use vmm_tests::links;
use vmm_tests::setup::Setup;
use xtask::house::wait_until;

use crate::chance::Chance;
use crate::crew::Crew;

/// Threads of tenants that deploy and destroy.
const TENANTS: u64 = 3;

fn duration() -> Duration {
    let usual = if on_ci() { 60 } else { 20 };
    let given = std::env::var("VMM_STORM_SECONDS").ok();
    Duration::from_secs(given.map_or(usual, |text| text.parse().expect("VMM_STORM_SECONDS")))
}

#[test]
fn nobody_below_notices_a_storm_among_the_daemons() {
    let seed = Chance::seed();
    eprintln!("VMM_STORM_SEED={seed}");
    let setup = Setup::with_share(&["150", "8192", "--cpu", "0", "--cpu", "1"]).started(&[]);
    let before = Census::of(&setup);
    let crew = Crew::deploy(&setup);

    let until = Instant::now() + duration();
    let setup = Mutex::new(setup);
    std::thread::scope(|scope| {
        scope.spawn(|| weather::storm(&setup, Chance::new(seed), until));
        for tenant in 0..TENANTS {
            let (setup, chance) = (&setup, Chance::new(seed + 1 + tenant));
            scope.spawn(move || tenants::come_and_go(setup, tenant, chance, until));
        }
    });
    let setup = setup.into_inner().unwrap();
    wait_until("all daemons know each other", || links::are_made(&setup.house)).unwrap();

    aftermath::everything_that_should_run_runs_once(&setup, &crew);
    aftermath::whoever_is_steady_goes_on(&setup, &crew);
    crew.stop(&setup);
    // The log may be behind what happens, on a slow disk too.
    let all_ended = || aftermath::Log::read(&setup).running().is_empty();
    wait_until("all ends in the log", all_ended).unwrap();
    let log = aftermath::Log::read(&setup);
    log.has_each_event_once();
    log.has_a_record_of_every_start_and_every_end();
    aftermath::every_line_is_there_in_order_once(&setup, &crew, &log);
    crew.destroy(&setup);
    aftermath::nothing_is_left(&setup);
    before.wait_for_again(&setup);
}
