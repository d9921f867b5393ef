//! `cargo xtask bench tender --against DIR`: our tender beside Solo5's own, on the same images.
//!
//! `DIR` has what a build of Solo5 makes: `solo5-hvt` and `solo5-spt`, and its test images
//! (`test_hello.spt`, `test_net.hvt`, …). Each round runs one after the other, the order changes
//! from round to round, and medians are compared: what else the machine does, it does to both.
//! Where that is much, processor time is the better measure; the right half of the table has it.
//! Ours is built as `docs/guests.md` has it, linked statically, and called by the names of theirs.

mod network;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tempfile::TempDir;

use crate::guests::build_guests;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const KINDS: [&str; 2] = ["spt", "hvt"];
/// Bytes of the file behind a block device.
const DISK: u64 = 1 << 20;

/// What is compared, and how thoroughly.
struct Bench {
    ours: TempDir,
    theirs: PathBuf,
    guests: PathBuf,
    /// How often each thing is measured; what is short, ten times that.
    rounds: usize,
}

/// Which of two numbers is the better one.
#[derive(Clone, Copy)]
enum Better {
    Less,
    More,
}

/// One measurement.
struct Sample {
    value: f64,
    /// Processor time of the tender, its threads and its guest: milliseconds of a whole run,
    /// microseconds of one answer. What else the machine does hardly changes it.
    cpu: Option<f64>,
}

/// Measures everything that there is to measure and prints the table.
///
/// # Errors
/// When something does not run as it should.
pub fn bench(root: &Path, against: &Path, rounds: usize) -> Result<ExitCode> {
    ensure!(rounds > 0, "--rounds wants a number from 1 on");
    eprintln!("Building for release …");
    build_guests(root)?;
    let theirs = fs::canonicalize(against).with_context(|| format!("{}", against.display()))?;
    let ours = tempfile::Builder::new().prefix("vmm-tender-").tempdir()?;
    let tender = build(root)?;
    for kind in KINDS {
        symlink(&tender, ours.path().join(format!("solo5-{kind}")))?;
    }
    let bench = Bench { ours, theirs, guests: root.join("target/guests"), rounds };
    println!(
        "{:<38} {:>9} {:>9} {:<4} {:>6}     {:>9} {:>9} {:>6}",
        "medians", "ours", "theirs", "", "ratio", "CPU ours", "theirs", "ratio"
    );
    for kind in KINDS {
        let tender = bench.theirs.join(format!("solo5-{kind}"));
        if there(&tender) {
            bench.start_to_exit(kind)?;
            bench.resident(kind)?;
            bench.disks(kind)?;
            bench.pings(kind)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the tender without a dynamic linker, and says where it is.
fn build(root: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    cargo.args(["build", "--quiet", "--locked", "--release", "-p", "vmm-tender"]);
    cargo.args(["--target", TARGET]);
    ensure!(cargo.status().context("cannot run cargo")?.success(), "the build failed");
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(root.join(target).join(TARGET).join("release/vmm-tender"))
}

impl Bench {
    /// Measures both this many times and prints a line.
    fn compare(
        &self,
        rounds: usize,
        what: &str,
        unit: &str,
        better: Better,
        measure: impl Fn(&Path) -> Result<Sample>,
    ) -> Result<()> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            if round % 2 == 0 {
                ours.push(measure(self.ours.path())?);
            }
            theirs.push(measure(&self.theirs)?);
            if round % 2 != 0 {
                ours.push(measure(self.ours.path())?);
            }
        }
        let middle = |of: fn(&Sample) -> Option<f64>| {
            let all = |samples: &[Sample]| median(samples.iter().filter_map(of).collect());
            Some((all(&ours)?, all(&theirs)?))
        };
        let better = match better {
            Better::Less => "<",
            Better::More => ">",
        };
        let (our, their) = middle(|sample| Some(sample.value)).context("nothing was measured")?;
        let cpu = middle(|sample| sample.cpu).map_or_else(String::new, |(our, their)| {
            format!("{our:>9.3} {their:>9.3} {:>6.3}", our / their)
        });
        let ratio = our / their;
        println!("{what:<38} {our:>9.3} {their:>9.3} {unit:<4} {ratio:>6.3} {better}   {cpu}");
        Ok(())
    }

    fn start_to_exit(&self, kind: &str) -> Result<()> {
        let image = self.theirs.join(format!("test_hello.{kind}"));
        if !there(&image) {
            return Ok(());
        }
        // So short that chance decides about a few.
        let rounds = 10 * self.rounds;
        self.compare(
            rounds,
            &format!("{kind}: hello, start to exit"),
            "ms",
            Better::Less,
            |tenders| {
                let mut command = Command::new(tenders.join(format!("solo5-{kind}")));
                command.arg(&image).arg("Hello_Solo5");
                let (took, cpu) = run(&mut command)?;
                Ok(Sample { value: took * 1e3, cpu: Some(cpu * 1e3) })
            },
        )
    }

    /// Of a machine that sleeps, its guest's pages included.
    fn resident(&self, kind: &str) -> Result<()> {
        let image = self.guests.join(format!("ticker.{kind}"));
        self.compare(
            self.rounds,
            &format!("{kind}: resident, asleep"),
            "kB",
            Better::Less,
            |tenders| {
                let mut command = Command::new(tenders.join(format!("solo5-{kind}")));
                command.arg("--mem=8").arg(&image).arg("--every=3600000");
                let mut child = command.stdout(Stdio::piped()).spawn()?;
                let mut line = String::new();
                let read =
                    child.stdout.as_mut().map(|out| BufReader::new(out).read_line(&mut line));
                let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
                child.kill()?;
                child.wait()?;
                read.context("no standard output")??;
                let status = status?;
                let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
                let value = value.and_then(|value| value.trim().strip_suffix(" kB"));
                Ok(Sample { value: value.context("no VmRSS")?.parse()?, cpu: None })
            },
        )
    }

    /// Blocks of a file in memory: what is measured is the way there.
    fn disks(&self, kind: &str) -> Result<()> {
        let reads: u32 = if kind == "spt" { 100_000 } else { 5000 };
        let image = self.guests.join(format!("disk.{kind}"));
        let file = tempfile::Builder::new().prefix("vmm-tender-").tempfile_in("/dev/shm")?;
        File::set_len(file.as_file(), DISK)?;
        for size in [512, 4096, 32768] {
            let what = format!("{kind}: blocks of {size} bytes read");
            self.compare(self.rounds, &what, "1/ms", Better::More, |tenders| {
                let mut command = Command::new(tenders.join(format!("solo5-{kind}")));
                command.arg("--mem=8").arg(format!("--block:storage={}", file.path().display()));
                command.arg(format!("--block-sector-size:storage={size}")).arg(&image);
                command.arg(format!("--reads={reads}"));
                let (took, cpu) = run(&mut command)?;
                Ok(Sample { value: f64::from(reads) / took / 1e3, cpu: Some(cpu * 1e3) })
            })?;
        }
        Ok(())
    }

    /// Echo requests through a TAP, as fast as they are answered.
    fn pings(&self, kind: &str) -> Result<()> {
        if let Some(obstacle) = network::obstacle() {
            println!("SKIPPED: {kind}: flood ping, as {obstacle}");
            return Ok(());
        }
        let count = if kind == "spt" { 20_000 } else { 500 };
        let theirs = |name: &str| self.theirs.join(format!("{name}.{kind}"));
        let echo = self.guests.join(format!("echo.{kind}"));
        let own = ["--ipv4=10.0.0.2/24"];
        let without = ["--solo5:no-net-ring", "--ipv4=10.0.0.2/24"];
        for (what, image, device, arguments) in [
            ("test_net", theirs("test_net"), "service0", &[][..]),
            ("test_net_ring", theirs("test_net_ring"), "service0", &[]),
            ("our echo", echo.clone(), "service", &own),
            ("our echo without ring", echo, "service", &without),
        ] {
            if (kind == "spt" && what.contains("ring")) || !there(&image) {
                continue;
            }
            self.compare(
                self.rounds,
                &format!("{kind}: flood ping, {what}"),
                "1/ms",
                Better::More,
                |tenders| {
                    let mut machine = vec![tenders.join(format!("solo5-{kind}")).into_os_string()];
                    machine.push("--mem=16".into());
                    machine.push(format!("--net:{device}={}", network::TAP).into());
                    machine.push(image.clone().into_os_string());
                    machine.extend(arguments.iter().map(Into::into));
                    network::flood(&machine, count)
                },
            )?;
        }
        Ok(())
    }
}

/// Whether a file of theirs is there; if not, it is said what is left out.
fn there(path: &Path) -> bool {
    let there = path.exists();
    if !there {
        println!("SKIPPED: what needs {}, which is not there", path.display());
    }
    there
}

/// Runs a tender of one thread to its end, and tells for how many seconds, and how many of them on
/// a processor.
fn run(command: &mut Command) -> Result<(f64, f64)> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    let pid = Pid::from_child(&child);
    // Not taken off the kernel's list yet, it can still be asked about.
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    let took = begun.elapsed().as_secs_f64();
    let spent = fs::read_to_string(format!("/proc/{}/schedstat", child.id()));
    let status = child.wait()?;
    ensure!(status.success(), "{command:?}: {status}");
    let spent = spent?;
    let nanoseconds = spent.split(' ').next().context("schedstat is empty")?;
    Ok((took, nanoseconds.parse::<f64>()? / 1e9))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}
