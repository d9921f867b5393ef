//! `cargo xtask bench`: what a user waits for and what a host pays, in one run, as a table.
//!
//! Each figure is of whole processes, as a user starts them, with release builds, TLS over the
//! loopback interface, all daemons running. Machines differ: the two lines of plain processes at
//! the top say what starting a process and a bare tender cost on this one.

pub mod memory;
pub mod tender;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::guests::build_guests;
use crate::house::{DAEMONS, House, Programs, wait_until};

/// How often each thing is measured; the median counts.
const RUNS: usize = 30;

/// Bytes of the large image.
const LARGE: usize = 8 << 20;

/// Machines that run at once when their memory is measured.
const MACHINES: usize = 10;

/// Machines that lose their authority at once.
const REVOKED: usize = 200;

/// MiB of each of them.
const MACHINE_MIB: u64 = 64;

/// How many processes that do nothing may begin and end in the time of one deploy, from the start of
/// the client to its end, besides the wait for the disk. Five processes take part, and a jail is made.
const DEPLOY: f64 = 16.0;

/// The same of `vmm-client info`.
const INFO: f64 = 6.0;

/// One line of the table.
struct Figure {
    what: &'static str,
    value: f64,
    unit: &'static str,
    limit: Option<f64>,
}

/// Measures everything and prints the table; fails if a figure is over its limit.
///
/// # Errors
/// When something does not run as it should.
pub fn bench(root: &Path) -> Result<ExitCode> {
    eprintln!("Building for release …");
    let programs = Programs::build(root, true)?;
    build_guests(root)?;
    let dir = tempfile::Builder::new().prefix("vmm-bench-").tempdir()?;
    for guest in ["hello.spt", "ticker.spt"] {
        fs::copy(root.join("target/guests").join(guest), dir.path().join(guest))?;
    }
    let mut house = House::new(programs, dir.path())?;
    authority(&house)?;
    house.start()?;
    let mut figures = vec![Figure {
        what: "idle daemons together, resident",
        value: memory::resident(&house, &DAEMONS)?,
        unit: "MB",
        limit: Some(25.0),
    }];
    figures.extend(times(&house)?);
    figures.extend(machine_memory(&house)?);
    figures.push(revocation(&house)?);
    house.stop()?;
    let mut right = true;
    println!("{:<58} {:>9}      {:>7}", "", "median", "limit");
    for Figure { what, value, unit, limit } in figures {
        let limit_text = limit.map_or_else(String::new, |limit| format!("{limit:.1} {unit}"));
        println!("{what:<58} {value:>9.2} {unit:<4} {limit_text:>7}");
        right &= limit.is_none_or(|limit| value <= limit);
    }
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn ca(house: &House, arguments: &[&str]) -> Result<()> {
    let output = house.run("vmm-ca", arguments)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "vmm-ca {}: {said}", arguments.join(" "));
    Ok(())
}

fn authority(house: &House) -> Result<()> {
    let init = ["init", "ca", "ca.db", "--days", "10", "--server", "localhost"];
    ca(house, &[&init[..], &["--server-days", "10"]].concat())?;
    ca(house, &["request", "delegation", "dev", "100", "16384", "--cpu", "0"])?;
    ca(house, &["sign", "ca.db", "cacert.pem", "ca.key", "dev.req"])?;
    ca(house, &["request", "permissions", "admin", "--permission", "all"])?;
    ca(house, &["sign", "dev.db", "dev.bundle", "dev.key", "admin.req"])?;
    machine(house, "hello", "hello.spt")
}

fn machine(house: &House, label: &str, image: &str) -> Result<()> {
    ca(house, &["request", "machine", label, image, &MACHINE_MIB.to_string(), "--cpu", "0"])?;
    ca(house, &["sign", "dev.db", "dev.bundle", "dev.key", &format!("{label}.req")])
}

fn client(house: &House, who: &str, arguments: &[&str]) -> Command {
    let server = house.server_arguments();
    let own = ["--bundle", &format!("{who}.bundle"), "--key", &format!("{who}.key")];
    let mut all: Vec<&str> = server.iter().map(String::as_str).chain(own).collect();
    all.extend(arguments);
    house.command("vmm-client", &all)
}

/// The time of one whole process, which must succeed.
fn time(command: &mut Command) -> Result<Duration> {
    let begun = Instant::now();
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
    let took = begun.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(took)
}

fn median(mut run: impl FnMut(usize) -> Result<Duration>) -> Result<f64> {
    let times = (0..RUNS).map(&mut run).collect::<Result<_>>()?;
    Ok(middle(times))
}

/// Of several that take turns: what else the machine does, it does to all of them.
fn medians<const N: usize>(
    mut runs: [&mut dyn FnMut() -> Result<Duration>; N],
) -> Result<[f64; N]> {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..RUNS {
        for (run, times) in runs.iter_mut().zip(&mut times) {
            times.push(run()?);
        }
    }
    Ok(times.map(middle))
}

/// In milliseconds.
fn middle(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

/// From handing in a list to the last of many machines gone: the answer comes when they are.
fn revocation(house: &House) -> Result<Figure> {
    let memory = (2 * REVOKED).to_string();
    let share = ["crowd", &REVOKED.to_string(), &memory, "--cpu", "0"];
    ca(house, &[&["request", "delegation"][..], &share].concat())?;
    ca(house, &["sign", "ca.db", "cacert.pem", "ca.key", "crowd.req"])?;
    for number in 0..REVOKED {
        let name = format!("m{number}");
        time(&mut client(
            house,
            "crowd",
            &["run", &name, "ticker.spt", "--memory", "2", "--cpu", "0"],
        ))?;
    }
    ca(house, &["revoke", "ca.db", "cacert.pem", "ca.key", "crowd"])?;
    let info = |format| {
        house.run(
            "vmm-client",
            &["--socket", "run/vmmd.sock", "--format", format, "info", "/crowd/"],
        )
    };
    let states = |state: &str| -> Result<usize> {
        let said = info("json")?;
        Ok(String::from_utf8_lossy(&said.stdout).matches(&format!("\"state\":\"{state}\"")).count())
    };
    ensure!(states("running")? == REVOKED, "not all machines run");
    let took =
        time(&mut house.command("vmm-client", &["--socket", "run/vmmd.sock", "revoke", "ca.crl"]))?;
    ensure!(states("revoked")? == REVOKED, "not all machines are gone");
    Ok(Figure {
        what: "vmm-client revoke, until the last of 200 machines is gone",
        value: took.as_secs_f64() * 1000.0,
        unit: "ms",
        limit: Some(1000.0),
    })
}

fn times(house: &House) -> Result<Vec<Figure>> {
    let figure = |what, value, limit| Figure { what, value, unit: "ms", limit };
    let deploy = ["deploy", "--image", "hello.spt", "--attach"];
    time(&mut client(house, "hello", &deploy))?;
    let bare = |_| {
        let arguments = ["run", "hello.spt", "--mem", &MACHINE_MIB.to_string()];
        time(&mut house.command("vmm-tender", &arguments))
    };
    let [nothing, known, info] = medians([
        &mut || time(&mut Command::new("/bin/true")),
        &mut || time(&mut client(house, "hello", &deploy)),
        &mut || time(&mut client(house, "admin", &["info"])),
    ])?;
    let flush = median(|_| flush(&house.dir))?;
    Ok(vec![
        figure("a process that does nothing (/bin/true)", nothing, None),
        figure("the bare tender with spt hello", median(bare)?, None),
        figure("a write that reaches the disk (fdatasync)", flush, None),
        // What is deployed is written down first, with one wait for the disk.
        figure(
            "vmm-client deploy --attach, spt hello, image known",
            known,
            Some(DEPLOY * nothing + flush),
        ),
        figure("vmm-client info", info, Some(INFO * nothing)),
        figure(
            "vmm-client deploy, 8 MiB image, first time",
            median(|run| large(house, run))?,
            Some(120.0),
        ),
    ])
}

/// One more page of a file that is written and then on the disk.
fn flush(dir: &Path) -> Result<Duration> {
    let mut file = fs::File::options().create(true).append(true).open(dir.join("flushed"))?;
    file.write_all(&[1; 4096])?;
    let begun = Instant::now();
    file.sync_data()?;
    Ok(begun.elapsed())
}

/// The first deploy of a large image, a new one each time.
fn large(house: &House, run: usize) -> Result<Duration> {
    let (image, label) = (format!("large{run}.spt"), format!("large{run}"));
    let mut bytes = fs::read(house.dir.join("hello.spt"))?;
    // Bytes that do not compress: a linear congruential generator, another one each run.
    let mut state = run as u64 + 1;
    while bytes.len() < LARGE {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_le_bytes()[4..]);
    }
    fs::write(house.dir.join(&image), bytes)?;
    machine(house, &label, &image)?;
    let took = time(&mut client(house, &label, &["deploy", "--image", &image]))?;
    time(&mut client(house, "admin", &["destroy", &label]))?;
    fs::remove_file(house.dir.join(&image))?;
    Ok(took)
}

/// What a running machine costs on top of the pages of its guest, in MiB.
fn machine_memory(house: &House) -> Result<Vec<Figure>> {
    let before = memory::daemons_kib(house)?;
    for number in 0..MACHINES {
        let name = format!("tick{number}");
        let memory = MACHINE_MIB.to_string();
        let run = ["run", &name, "ticker.spt", "--memory", &memory, "--cpu", "0"];
        time(&mut client(house, "dev", &run))?;
    }
    let spawn = house.daemon("vmm-spawn").context("vmm-spawn runs")?.pid();
    let tenders = || memory::children(spawn);
    wait_until("the machines", || tenders().is_ok_and(|pids| pids.len() == MACHINES))?;
    let mut outside = 0;
    for pid in tenders()? {
        outside += memory::outside_guest_kib(pid, MACHINE_MIB)?;
    }
    let machines = MACHINES as u64;
    let own = outside / machines;
    let daemons = memory::daemons_kib(house)?.saturating_sub(before) / machines;
    let figure = |what, kib: u64, limit| {
        let value = f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0;
        Figure { what, value, unit: "MiB", limit }
    };
    Ok(vec![
        figure("a running spt machine, its tender without guest pages", own, None),
        figure("a running spt machine, growth of the daemons and its ring", daemons, None),
        figure("a running spt machine, together", own + daemons, Some(1.5)),
    ])
}
