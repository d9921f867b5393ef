//! What it costs to bring output into rings: processor time of `vmm-spawn`, for a machine that prints
//! as fast as it may and for many that print a short line now and then.
//!
//! `cargo bench -p vmm-spawn --bench pump`, with the real tender and the sample guests built
//! (`cargo xtask guests`, `cargo build --release -p vmm-tender`).
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench fails by panicking, and prints"
)]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/spawn/harness.rs"]
mod harness;

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use harness::{Daemon, id};

/// How many machines print now and then, and how long that is looked at.
const MANY: u8 = 100;
const LOOK: Duration = Duration::from_secs(5);

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let tender = root.join("release/vmm-tender");
    let chatter = File::open(root.join("guests/chatter.spt")).unwrap();
    let ticker = File::open(root.join("guests/ticker.spt")).unwrap();

    let daemon = Daemon::start_with(&tender);
    let mut supervisor = daemon.supervisor();
    let (before, begun) = (processor(&daemon), Instant::now());
    supervisor.run(id(1), &chatter, &["--lines=300000"]);
    let bytes = supervisor.exit(id(1)).1 as f64;
    let took = begun.elapsed().as_secs_f64();
    let spent = processor(&daemon).saturating_sub(before).as_secs_f64();
    println!(
        "chatter: {:.1} MB in {took:.1} s, {:.2} ms of processor a MB",
        bytes / 1e6,
        spent * 1e3 / (bytes / 1e6)
    );

    for number in 0..MANY {
        supervisor.run(id(100 + number), &ticker, &["--every=10"]);
    }
    let before = processor(&daemon);
    std::thread::sleep(LOOK);
    let spent = processor(&daemon).saturating_sub(before).as_secs_f64();
    let lines = f64::from(MANY) * LOOK.as_secs_f64() * 100.0;
    println!("{MANY} tickers: {:.1} us of processor a line", spent * 1e6 / lines);
}

/// Processor time used so far.
fn processor(daemon: &Daemon) -> Duration {
    let path = format!("/proc/{}/schedstat", daemon.child.id());
    let text = fs::read_to_string(path).unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}
