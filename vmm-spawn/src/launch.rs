//! Starting the process of a machine. Nothing else starts processes.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tracing::error;
use vmm_proto::message::spawn::Start;

use crate::affinity::{self, Pinned};

/// Why the process of a machine was not started. Nothing is left of it then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A descriptor that would let a guest that escapes change the image of others.
    #[error("the image is open for more than reading")]
    WritableImage,
    /// {0}
    #[error(transparent)]
    Affinity(#[from] affinity::Error),
    /// cannot run {tender}: {error}
    #[error("cannot run {tender}: {error}")]
    Run {
        /// The program.
        tender: String,
        /// Why.
        error: io::Error,
    },
    /// cannot {what}: {error}
    #[error("cannot {what}: {error}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: Errno,
    },
}

/// For `map_err`: names what failed.
fn failed(what: &'static str) -> impl FnOnce(Errno) -> Error {
    move |error| Error::Kernel { what, error }
}

/// A process that was just started, and what connects it with this one.
#[derive(Debug)]
pub struct Launched {
    /// Its number.
    pub pid: Pid,
    child: Child,
    /// The process itself.
    pub process: OwnedFd,
    /// What it writes; does not block.
    pub console: OwnedFd,
    /// What it says before its guest runs; does not block.
    pub status: OwnedFd,
}

impl Launched {
    /// Ends the process again, as it cannot be watched.
    pub fn abandon(self) {
        abandon(self.child);
    }
}

/// Starts `tender` for a machine, with `image`.
///
/// # Errors
/// The image is open for writing, a CPU is not there, or the kernel lacks something.
pub fn launch(tender: &Path, start: &Start, image: OwnedFd) -> Result<Launched, Error> {
    let access = fcntl_getfl(&image).map_err(failed("look at the image"))?;
    if access & OFlags::ACCMODE != OFlags::RDONLY {
        return Err(Error::WritableImage);
    }
    let (console, output) = console_pipe().map_err(failed("make a console pipe"))?;
    let (status, status_end) = status_pipe().map_err(failed("make a status pipe"))?;
    let errors = output.try_clone().map_err(|error| Error::Kernel {
        what: "make a console pipe",
        error: Errno::from_io_error(&error).unwrap_or(Errno::MFILE),
    })?;

    // From here to the end of this function these can be inherited. There is one thread, and they
    // are closed before anything else is started.
    let inherited = [image, status_end];
    for descriptor in &inherited {
        fcntl_setfd(descriptor, FdFlags::empty()).map_err(failed("pass descriptors"))?;
    }
    let mut command = command(tender, start, &inherited);
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let pinned = Pinned::to(&start.cpus)?;
    let child = command
        .spawn()
        .map_err(|error| Error::Run { tender: tender.display().to_string(), error })?;
    drop(pinned);
    let pid = Pid::from_child(&child);
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => Ok(Launched { pid, child, process, console, status }),
        Err(error) => {
            abandon(child);
            Err(failed("watch the process")(error))
        }
    }
}

fn command(tender: &Path, start: &Start, [image, status]: &[OwnedFd; 2]) -> Command {
    let descriptor = |fd: &OwnedFd| format!("@{}", fd.as_raw_fd());
    let mut command = Command::new(tender);
    command
        .args(["run", &descriptor(image)])
        .args(["--mem", &start.memory_mib.to_string()])
        .args(["--status", &descriptor(status)])
        .args(["--new-session", "--"])
        .args(&start.arguments)
        .env_clear()
        .current_dir("/");
    command
}

/// A console pipe: the end to read from, and the machine's. That one is open for reading too, so
/// that the pipe always has a reader: a machine must not end by SIGPIPE because this process did.
fn console_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (console, _) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let path = format!("/proc/self/fd/{}", console.as_raw_fd());
    let output = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    Ok((console, output))
}

/// A status pipe: the end to read from, which does not block, and the tender's, which does.
fn status_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (status, end) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&status, OFlags::NONBLOCK)?;
    Ok((status, end))
}

/// Gets rid of a process that has just started and cannot be watched. It is killed, so that waiting
/// for it is short.
fn abandon(mut child: Child) {
    let gone = child.kill().and_then(|()| child.wait());
    if let Err(error) = gone {
        error!("process {} cannot be got rid of: {error}", child.id());
    }
}
