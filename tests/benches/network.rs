//! `cargo bench -p vmm-tests --bench network`, as root: what the network of a machine carries, in one
//! run. Fails when a figure is below its limit.
//!
//! From beyond the host, through a cable, a bridge and a tap, the guest `echo` is sent datagrams, of
//! which 32 are unanswered at any time. What is compared takes turns, in an order that changes with
//! each, and the median of the turns' ratios counts: what else the machine does, it does to both.
//!
//! With `VMM_SOLO5=DIR`, a directory with the `solo5-spt` and `solo5-hvt` of Solo5, our tender is
//! compared with those on the same tap. What was not compared is said at the end; with `CI=true` that is a
//! failure.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench fails by panicking")]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;
use vmm_testkit::skipped;

use vmm_tests::network::{Site, Tenants, of_bridge, traffic};
use vmm_tests::setup::{Setup, kinds, programs};

/// Bytes in a datagram.
const SIZES: [usize; 2] = [64, 1400];

/// How often each thing is measured.
const ROUNDS: usize = 41;

/// Which of the ratios, in their order, the true one lies between in 97 of 100 runs (the sign test).
const CERTAIN: (usize, usize) = (13, 27);

/// For how long.
const ROUND: Duration = Duration::from_millis(250);

/// What is carried with the filter, of what is carried without.
const FILTERED: f64 = 0.9;

/// What our tender carries, of what Solo5's does.
const OURS: f64 = 1.0;

const TAP: &str = "tap0";

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Measures both in turns, and prints a line: medians, and the median of the ratios of neighbours
/// with what is certain of it. Says whether that leaves room for `limit`: two that are equal would
/// otherwise fail every other run.
fn compare(
    what: &str,
    limit: f64,
    mut first: impl FnMut() -> f64,
    mut second: impl FnMut() -> f64,
) -> bool {
    let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            firsts.push(first());
            seconds.push(second());
        } else {
            seconds.push(second());
            firsts.push(first());
        }
    }
    let mut ratios: Vec<f64> = firsts.iter().zip(&seconds).map(|(it, other)| it / other).collect();
    ratios.sort_by(f64::total_cmp);
    let [low, ratio, high] = [CERTAIN.0, ROUNDS / 2, CERTAIN.1].map(|place| ratios[place]);
    let (first, second) = (median(firsts), median(seconds));
    println!(
        "{what:<52} {first:>9.0} {second:>9.0} {ratio:>7.3} ({low:.3} to {high:.3})   at least {limit}"
    );
    high >= limit
}

/// Echoes in a second of `to`, sent from beyond the host.
fn echoes(place: &Site, to: IpAddr, size: usize) -> f64 {
    place.in_world(|| {
        traffic::reaches(to);
        traffic::echoes_per_second(to, size, ROUND)
    })
}

/// A tender that is run by itself, on a tap that stays.
struct Machine(Child);

impl Machine {
    fn start(site: &Site, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(site.on_host(|| command.spawn().unwrap()))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn against_solo5(site: &Site, theirs: &Path, missing: &mut Vec<String>) -> bool {
    let setup = Setup::without_daemons();
    let to: IpAddr = "10.0.0.100".parse().unwrap();
    // Theirs have a colon before the name, ours has an equals sign.
    let echo = |mut tender: Command, kind: &str, sign: &str, separator: &[&str]| {
        tender.arg("--mem=16").arg(format!("--net{sign}service={TAP}"));
        tender.arg(format!("--net-mac{sign}service=02:00:00:00:00:64"));
        tender
            .arg(setup.file(&format!("echo.{kind}")))
            .args(separator)
            .arg(format!("--ipv4={to}/24"));
        tender
    };
    let up = format!("ip tuntap add dev {TAP} mode tap; ip link set {TAP} master ext up");
    site.on_host(|| traffic::shell(&up));
    let mut right = true;
    for kind in kinds() {
        let their = theirs.join(format!("solo5-{kind}"));
        if !their.exists() {
            missing.push(format!("{kind} with Solo5's, as {} is not there", their.display()));
            continue;
        }
        for size in SIZES {
            let our = || {
                let mut tender = Command::new(programs().path("vmm-tender"));
                tender.arg("run");
                let _machine = Machine::start(site, echo(tender, kind, "=", &["--"]));
                echoes(site, to, size)
            };
            let their = || {
                let tender = Command::new(&their);
                let _machine = Machine::start(site, echo(tender, kind, ":", &[]));
                echoes(site, to, size)
            };
            let what = format!("{kind}, {size} bytes: our tender, Solo5's (1/s)");
            right &= compare(&what, OURS, our, their);
        }
    }
    site.on_host(|| traffic::shell(&format!("ip link del {TAP}")));
    right
}

fn against_no_filter(site: &Site) -> bool {
    site.on_host(|| {
        let tenants = Tenants::new(&["ext"], &[("alice", &[&of_bridge("ext", 10, 19)])]);
        let mut right = true;
        for kind in kinds() {
            let image = format!("echo.{kind}");
            let done = tenants.run("alice", "echo", &image, &["service=ext"], &["--replace"]);
            done.expect(0);
            let network = &tenants.info("alice", "echo")["networks"][0];
            let to = vmm_tests::network::address(&network["address"]).unwrap();
            let tap = network["tap"].as_str().unwrap();
            let again = || tenants.setup.client("alice", &["restart", "echo"]).expect(0).code;
            for size in SIZES {
                let with = || {
                    again();
                    let rules = traffic::shell("nft list ruleset");
                    assert!(rules.contains(tap), "there are no rules for {tap}: {rules}");
                    echoes(site, to, size)
                };
                let without = || {
                    again();
                    // vmm-spawn would make a table again that is not there.
                    traffic::shell(&format!("nft flush ruleset; nft add table netdev vmm-{tap}"));
                    echoes(site, to, size)
                };
                let what = format!("{kind}, {size} bytes: with filter, without (1/s)");
                right &= compare(&what, FILTERED, with, without);
            }
        }
        right
    })
}

fn main() -> ExitCode {
    let Some(site) = Site::with(&["ext"]) else { return ExitCode::FAILURE };
    let (mut right, mut missing) = (true, Vec::new());
    match std::env::var_os("VMM_SOLO5").map(PathBuf::from) {
        Some(theirs) => right &= against_solo5(&site, &theirs, &mut missing),
        None => missing.push("anything with Solo5's, as VMM_SOLO5 does not say where".to_owned()),
    }
    right &= against_no_filter(&site);
    for what in missing {
        skipped(&format!("to compare {what}"));
    }
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
