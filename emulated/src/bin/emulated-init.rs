//! The first process of an emulated machine: mounts what a system has, loads modules, runs the
//! jobs and says what becomes of them, and stops the machine.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, WaitOptions, wait};
use rustix::system::{RebootCommand, finit_module, reboot};
use vmm_emulated::Job;
use vmm_emulated::protocol::{EVENTS_DEVICE, Event, JOBS_FILE, MODULES_DIRECTORY};

/// File systems: type, place.
const MOUNTS: [(&str, &str); 6] = [
    ("devtmpfs", "/dev"),
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
];

/// The status of what cannot be run, as a shell has it.
const NOT_RUN: i32 = 127;

/// This program again, to run the jobs: the first process waits for whatever is left behind.
const RUN_JOBS: &str = "run-jobs";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(RUN_JOBS) {
        return if run_jobs().map_err(|error| failed(&error)).is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    if let Err(error) = prepare().and_then(|()| wait_for_all()) {
        failed(&error);
    }
    if let Err(error) = reboot(RebootCommand::PowerOff) {
        eprintln!("the machine cannot be stopped: {error}");
    }
    // The kernel takes the end of its first process for a reason to panic, which ends the machine.
    ExitCode::FAILURE
}

/// Tells the host that it is no use to wait.
fn failed(error: &anyhow::Error) {
    let told = File::options().write(true).open(EVENTS_DEVICE).map_err(anyhow::Error::from);
    let told = told.and_then(|out| say(&Mutex::new(out), &Event::Failed(format!("{error:#}"))));
    if told.is_err() {
        eprintln!("init: {error:#}");
    }
}

fn prepare() -> Result<()> {
    for (kind, place) in MOUNTS {
        // What the machine was given there, as by a checkout below /tmp, is not to be hidden. All
        // of it is in memory anyway.
        let is_empty = || fs::read_dir(place).map(|mut entries| entries.next().is_none());
        if kind == "tmpfs" && !is_empty().with_context(|| format!("cannot read {place}"))? {
            continue;
        }
        mount(kind, place, kind, MountFlags::empty(), None)
            .with_context(|| format!("cannot mount {place}"))?;
    }
    // A place in /proc that programs know by this name.
    symlink("/proc/self/fd", "/dev/fd").context("cannot make /dev/fd")?;
    symlink("fd/0", "/dev/stdin").context("cannot make /dev/stdin")?;
    let modules = fs::read_dir(MODULES_DIRECTORY);
    let mut modules: Vec<_> =
        modules.into_iter().flatten().map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    modules.sort();
    for module in modules {
        let file = File::open(&module)?;
        finit_module(&file, c"", 0).with_context(|| format!("cannot load {}", module.display()))?;
    }
    Ok(())
}

fn wait_for_all() -> Result<()> {
    let runner = Command::new("/proc/self/exe").arg(RUN_JOBS).spawn()?;
    let runner = i32::try_from(runner.id()).ok().and_then(Pid::from_raw);
    loop {
        match wait(WaitOptions::empty())? {
            Some((pid, _)) if Some(pid) == runner => return Ok(()),
            _ => {}
        }
    }
}

fn run_jobs() -> Result<()> {
    let jobs = fs::read(JOBS_FILE).context("there are no jobs")?;
    let jobs: Vec<Job> = serde_json::from_slice(&jobs)?;
    let events = Mutex::new(File::options().write(true).open(EVENTS_DEVICE)?);
    for job in jobs {
        let start = Instant::now();
        let status = match start_job(&job) {
            Ok(child) => finish_job(child, &events)?,
            Err(error) => {
                let text = format!("cannot run {}: {error}\n", job.program);
                say(&events, &Event::Wrote { error: true, text })?;
                NOT_RUN
            }
        };
        say(&events, &Event::Ended { status, took: start.elapsed() })?;
    }
    Ok(())
}

fn start_job(job: &Job) -> std::io::Result<Child> {
    // A name without a directory is one in /bin.
    let mut command = Command::new(Path::new("/bin").join(&job.program));
    command.args(&job.arguments).env_clear();
    command.envs([("PATH", "/bin"), ("HOME", "/tmp")]);
    command.envs(job.environment.iter().map(|(name, value)| (name, value)));
    command.current_dir("/tmp").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Says what the job writes until nobody is left who could write, and how it ended.
fn finish_job(mut child: Child, events: &Mutex<File>) -> Result<i32> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        let errors = scope.spawn(|| stderr.map_or(Ok(()), |it| copy(it, true, events)));
        let output = stdout.map_or(Ok(()), |it| copy(it, false, events));
        match errors.join() {
            Ok(errors) => output.and(errors),
            Err(_) => bail!("a thread panicked"),
        }
    })?;
    let status = child.wait()?;
    let signal = status.signal().map(|signal| 128 + signal);
    status.code().or(signal).context("neither exit status nor signal")
}

fn copy(from: impl Read, error: bool, events: &Mutex<File>) -> Result<()> {
    let mut lines = BufReader::new(from);
    loop {
        let mut line = Vec::new();
        if lines.by_ref().take(64 * 1024).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        say(events, &Event::Wrote { error, text })?;
    }
}

fn say(events: &Mutex<File>, event: &Event) -> Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let mut events = events.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
    Ok(events.write_all(&line)?)
}
