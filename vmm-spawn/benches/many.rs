//! What many machines cost: how fast they start, what this process, the console daemon and their
//! files have resident, and how long the next one takes to go on with all of them.
//!
//! `cargo bench -p vmm-spawn --bench many [-- COUNT]`, with the real tender, the console daemon and
//! the sample guests built (`cargo xtask guests`, `cargo build --release -p vmm-tender -p
//! vmm-console`).
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
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Client, Daemon};
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::{FromSpawn, ToSpawn};

fn main() {
    let count = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(1000_u32);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let tender = root.join("release/vmm-tender");
    let ticker = File::open(root.join("guests/ticker.spt")).unwrap();
    let hello = File::open(root.join("guests/hello.spt")).unwrap();
    let mut daemon = Daemon::start_with(&tender);
    let mut supervisor = daemon.supervisor();
    let mut console = Command::new(root.join("release/vmm-console"))
        .args(["--dir".as_ref(), daemon.dir.path().join("run").as_os_str()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();

    for present in [0, count / 10, count / 2, count] {
        let from = running(&daemon);
        let begun = Instant::now();
        for number in from..present {
            supervisor.run(id(number), &ticker, &["--every=100000"]);
        }
        let took = begun.elapsed();
        if present > from {
            let each = f64::from(present - from) / took.as_secs_f64();
            println!("{from} to {present} machines: {each:.0} starts a second, one at a time");
        }
        let median = create_to_running(&mut supervisor, &hello);
        println!("with {present} present: start to running {:.2} ms", median.as_secs_f64() * 1e3);
    }
    resident(&daemon, &console);

    let begun = Instant::now();
    daemon.again(None);
    let took = begun.elapsed();
    println!("killed and serving again with {count}: {:.0} ms", took.as_secs_f64() * 1e3);
    let begun = Instant::now();
    let mut supervisor = daemon.supervisor();
    let known = supervisor.known;
    let alive = (0..known)
        .filter(|_| matches!(supervisor.next(), FromSpawn::Known { pid: Some(_), ready: true, .. }))
        .count();
    println!("{alive} told to a supervisor in {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    resident(&daemon, &console);
    console.kill().unwrap();
    console.wait().unwrap();
    assert_eq!(alive, usize::try_from(count).unwrap());
}

fn id(number: u32) -> MachineId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    MachineId(bytes)
}

fn running(daemon: &Daemon) -> u32 {
    u32::try_from(daemon.machines().len()).unwrap()
}

/// The median of 21 machines that say hello and end.
fn create_to_running(supervisor: &mut Client, hello: &File) -> Duration {
    let id = id(u32::MAX);
    let mut all: Vec<Duration> = (0..21)
        .map(|_| {
            let begun = Instant::now();
            supervisor.run(id, hello, &[]);
            let took = begun.elapsed();
            supervisor.exit(id);
            supervisor.send(&ToSpawn::EndSeen { id, run: harness::run_of(id) });
            took
        })
        .collect();
    supervisor.send(&ToSpawn::Forget { id });
    all.sort_unstable();
    all[all.len() / 2]
}

fn resident(daemon: &Daemon, console: &Child) {
    for (name, pid) in [("vmm-spawn", daemon.child.id()), ("vmm-console", console.id())] {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        println!("{name}: {} resident, {descriptors} descriptors", line[6..].trim());
    }
    let places = fs::read_dir(daemon.dir.path().join("run/spawn")).unwrap().flatten();
    let files = places.filter_map(|place| fs::read_dir(place.path()).ok()).flatten().flatten();
    let blocks: u64 = files.map(|file| file.metadata().unwrap().blocks()).sum();
    println!("files: {} KiB", blocks / 2);
}
