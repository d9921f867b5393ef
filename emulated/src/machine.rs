//! The emulated PC.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use vmm_testkit::skipped;

use crate::protocol::{Event, JOBS_FILE, MODULES_DIRECTORY};
use crate::{End, Files, Job, Kernel, build_init};

/// The emulator, in the path.
const EMULATOR: &str = "qemu-system-x86_64";

/// Longest line that init writes, and more than its jobs should.
const LINE_MAX: usize = 1024 * 1024;

/// What this host lacks for emulated machines, and where it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Missing {
    /// The emulator.
    Emulator,
    /// The kernel.
    Kernel,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Emulator => {
                "there is no qemu-system-x86_64 (Debian: apt-get install qemu-system-x86)"
            }
            Self::Kernel => "there is no kernel for it (on Debian: cargo xtask kernel)",
        })
    }
}

impl std::error::Error for Missing {}

/// A machine that can be booted, any number of times.
#[derive(Clone, Debug)]
pub struct Emulated {
    root: PathBuf,
    kernel: Kernel,
    memory_mib: u32,
    cpus: u32,
    modules: Vec<&'static str>,
    boot_arguments: String,
}

impl Emulated {
    /// One CPU that can do everything that QEMU knows of, and 1 GiB of memory. `root` is the
    /// directory of the workspace.
    ///
    /// # Errors
    /// Something that does not come with Rust is missing on this host.
    pub fn find(root: &Path) -> Result<Self, Missing> {
        let version = Command::new(EMULATOR).arg("--version").output();
        version.ok().filter(|it| it.status.success()).ok_or(Missing::Emulator)?;
        let kernel = Kernel::find(root).ok_or(Missing::Kernel)?;
        Ok(Self {
            root: root.to_owned(),
            kernel,
            memory_mib: 1024,
            cpus: 1,
            modules: Vec::new(),
            boot_arguments: String::new(),
        })
    }

    /// The same for a test of `what`: what is missing is said loudly, and the test is skipped; with
    /// `CI=true`, that is a failure.
    ///
    /// # Panics
    /// See above.
    pub fn for_test(root: &Path, what: &str) -> Option<Self> {
        match Self::find(root) {
            Ok(machine) => Some(machine),
            Err(missing) => {
                skipped(&format!("{what}, as {missing}"));
                None
            }
        }
    }

    /// Its kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// With so much memory, in MiB.
    #[must_use]
    pub fn memory(self, memory_mib: u32) -> Self {
        Self { memory_mib, ..self }
    }

    /// With so many CPUs.
    #[must_use]
    pub fn cpus(self, cpus: u32) -> Self {
        Self { cpus, ..self }
    }

    /// With these modules of its kernel loaded, and what they need.
    #[must_use]
    pub fn modules(self, names: &[&'static str]) -> Self {
        Self { modules: names.to_vec(), ..self }
    }

    /// With more arguments for its kernel, such as `cgroup_no_v1=all`.
    #[must_use]
    pub fn boot_arguments(self, arguments: &str) -> Self {
        Self { boot_arguments: arguments.to_owned(), ..self }
    }

    /// Boots it with these files, runs the jobs one after the other, and tells how each ended. That
    /// a job fails is no error.
    ///
    /// # Errors
    /// The machine does not come up or not to the end of all jobs within `limit`: the error has
    /// what the last job and the kernel had to say.
    pub fn boot(&self, files: &Files, jobs: &[Job], limit: Duration) -> Result<Vec<End>> {
        let dir = tempfile::Builder::new().prefix("vmm-emulated-").tempdir()?;
        let initrd = dir.path().join("initrd");
        self.complete(files, jobs)?.archive(File::create(&initrd)?)?;
        let console = dir.path().join("console");
        let mut machine = self.start(&initrd, &console)?;
        let mut ends = Vec::new();
        let mut current = End::default();
        match machine.follow(jobs.len(), Instant::now() + limit, &mut ends, &mut current) {
            Ok(()) => Ok(ends),
            Err(error) => {
                let kernel = fs::read(&console).unwrap_or_default();
                let kernel = String::from_utf8_lossy(&kernel);
                let job = jobs.get(ends.len());
                let End { stdout, stderr, .. } = current;
                bail!(
                    "{error:#}\n-- the job: {job:?}\n-- its output:\n{stdout}\n\
                     -- its complaints:\n{stderr}\n-- the kernel:\n{kernel}"
                )
            }
        }
    }

    /// The files with those that init needs.
    fn complete(&self, files: &Files, jobs: &[Job]) -> Result<Files> {
        let mut files = files.clone();
        for directory in ["/dev", "/proc", "/sys", "/tmp", "/run"] {
            files.directory(Path::new(directory))?;
        }
        files.program_at(&build_init(&self.root)?, Path::new("/init"))?;
        files.write(Path::new(JOBS_FILE), serde_json::to_vec(jobs)?)?;
        for (index, module) in self.kernel.modules(&self.modules)?.iter().enumerate() {
            let name = format!("{index:02}.ko");
            files.add(module, &Path::new(MODULES_DIRECTORY).join(name))?;
        }
        Ok(files)
    }

    fn start(&self, initrd: &Path, console: &Path) -> Result<Running> {
        let console = format!("file:{}", console.display());
        // A kernel that panics restarts at once, and a machine that restarts ends. Whether the timer
        // ticks is not asked: on a host with much else to do it may seem not to.
        let arguments = format!("console=ttyS0 panic=-1 no_timer_check {}", self.boot_arguments);
        let mut command = Command::new(EMULATOR);
        command
            // All CPUs in one thread: with more, QEMU 7.2 hangs now and then while the kernel
            // changes its own code.
            .args(["-accel", "tcg,thread=single", "-cpu", "max"])
            .args(["-no-reboot", "-nodefaults", "-no-user-config"])
            .args(["-display", "none", "-nic", "none"])
            .args(["-m", &self.memory_mib.to_string(), "-smp", &self.cpus.to_string()])
            .args(["-serial", &console, "-serial", "stdio"])
            .arg("-kernel")
            .arg(self.kernel.image())
            .arg("-initrd")
            .arg(initrd)
            .args(["-append", &arguments])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(Running(command.spawn().with_context(|| format!("cannot run {EMULATOR}"))?))
    }
}

/// A machine that runs; killed when dropped.
struct Running(Child);

impl Running {
    /// Gathers what init says until `jobs` jobs have ended.
    fn follow(
        &mut self,
        jobs: usize,
        deadline: Instant,
        ends: &mut Vec<End>,
        current: &mut End,
    ) -> Result<()> {
        let events = self.0.stdout.take().context("the output is taken already")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(events);
            loop {
                let mut line = Vec::new();
                // The end of the machine, or nobody who listens, is the end of this thread.
                match std::io::Read::take(&mut lines, LINE_MAX as u64).read_until(b'\n', &mut line)
                {
                    Ok(1..) if sender.send(line).is_ok() => {}
                    _ => return,
                }
            }
        });
        while ends.len() < jobs {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = match receiver.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => bail!("the machine takes too long"),
                Err(RecvTimeoutError::Disconnected) => bail!("the machine ended: {}", self.end()?),
            };
            let event: Event = serde_json::from_slice(&line)
                .with_context(|| format!("not of init: {:?}", String::from_utf8_lossy(&line)))?;
            match event {
                Event::Wrote { error: false, text } => current.stdout += &text,
                Event::Wrote { error: true, text } => current.stderr += &text,
                Event::Ended { status, took } => {
                    ends.push(End { status, took, ..std::mem::take(current) });
                }
                Event::Failed(error) => bail!("init cannot go on: {error}"),
            }
        }
        Ok(())
    }

    /// What the emulator had to say at its end.
    fn end(&mut self) -> Result<String> {
        let status = self.0.wait()?;
        let mut complaint = String::new();
        if let Some(mut stderr) = self.0.stderr.take() {
            std::io::Read::read_to_string(&mut stderr, &mut complaint)?;
        }
        Ok(format!("{status} {complaint}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
