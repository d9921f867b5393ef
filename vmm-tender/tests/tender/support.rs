//! What the tests share: guests that are built on demand, and tenders to run them.

pub(crate) mod image;
pub(crate) mod links;
pub(crate) mod network;

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use vmm_testkit::skipped;

use crate::stock_kvm::STOCK_KVM;

/// The two ways to run a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Spt,
    Hvt,
}

impl Kind {
    /// Both, or without KVM only spt; then it is said loudly, and on CI it is an error.
    pub(crate) fn available() -> Vec<Self> {
        if kvm() { vec![Self::Spt, Self::Hvt] } else { vec![Self::Spt] }
    }
}

/// Whether KVM can be used.
pub(crate) fn kvm() -> bool {
    let Err(error) = File::options().read(true).write(true).open("/dev/kvm") else { return true };
    skipped(&format!("hvt guests, as /dev/kvm cannot be opened: {error}"));
    false
}

/// The sample `name` for `kind`, built if it is not up to date.
pub(crate) fn guest(name: &str, kind: Kind) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        // In an emulated machine they are there, and no compiler is.
        if std::env::var_os(STOCK_KVM).is_none() {
            xtask::guests::build_guests(root()).unwrap();
        }
    });
    let extension = if kind == Kind::Spt { "spt" } else { "hvt" };
    root().join("target/guests").join(format!("{name}.{extension}"))
}

/// The directory of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A tender with `arguments`, to be started.
pub(crate) fn tender(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmm-tender"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `vmm-tender run` of a sample with guest arguments.
pub(crate) fn run(name: &str, kind: Kind, arguments: &[&str]) -> Command {
    let mut command = tender(["run", "--mem", "8"]);
    command.arg(guest(name, kind)).arg("--").args(arguments);
    command
}

/// A shell that becomes a tender (`"$@"`), after redirections in `script`.
pub(crate) fn shell(
    script: &str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_vmm-tender")]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How a machine ended.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct End {
    /// As a shell has it: 128 and more for signals.
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl End {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }
}

impl From<Output> for End {
    fn from(output: Output) -> Self {
        let status = output.status;
        Self {
            status: status.code().or_else(|| Some(128 + status.signal()?)).unwrap(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Whether the host has so much memory, in MiB. If not, it is said loudly, and on CI it is an
/// error.
pub(crate) fn has_memory(mib: u64) -> bool {
    let has = memory_of_host();
    if has >= mib {
        return true;
    }
    skipped(&format!("machines with {mib} MiB, as the host has {has} MiB"));
    false
}

/// Memory and swap space of the host in MiB.
pub(crate) fn memory_of_host() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap();
    let of = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    (of("MemTotal:") + of("SwapTotal:")) / 1024
}

/// A machine that runs; killed when dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts the machine and waits until it has printed `bytes` bytes.
    pub(crate) fn after(command: &mut Command, bytes: usize) -> Self {
        let mut child = command.spawn().unwrap();
        let mut first = vec![0; bytes];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        Self(child)
    }

    /// What the kernel says about it in /proc.
    pub(crate) fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap()
    }

    /// The line that begins with `name:`.
    pub(crate) fn property(&self, file: &str, name: &str) -> String {
        let text = self.proc(file);
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].trim_start_matches(':').trim().to_owned()
    }

    /// Sends a signal and tells how it ended.
    pub(crate) fn signal(mut self, name: &str) -> (i32, String) {
        let sent = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let status = self.0.wait().unwrap();
        let mut stderr = String::new();
        self.0.stderr.as_mut().unwrap().read_to_string(&mut stderr).unwrap();
        (status.code().or_else(|| Some(128 + status.signal()?)).unwrap(), stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
