//! Starting the process of a machine. Nothing else starts processes.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command};

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tracing::error;
use vmm_proto::message::spawn::Start;

use crate::affinity::{self, Pinned};
use crate::birth;

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

/// What connects a machine with this process, and outlives it. All of it is the machine's end.
#[derive(Debug)]
pub struct Streams {
    /// Its standard output and error.
    pub console: OwnedFd,
    /// Its standard input. It is there to be held open and is never read ([`crate::stage`]).
    pub stage: OwnedFd,
    /// What its tender says before its guest runs.
    pub status: OwnedFd,
    /// What its process writes about itself before it becomes the tender ([`crate::birth`]).
    pub birth: OwnedFd,
}

/// A process that was just started.
#[derive(Debug)]
pub struct Launched {
    /// Its number.
    pub pid: Pid,
    child: Child,
    /// The process itself.
    pub process: OwnedFd,
}

impl Launched {
    /// What it is made of: its number, the child, and the process itself.
    pub fn into_parts(self) -> (Pid, Child, OwnedFd) {
        (self.pid, self.child, self.process)
    }
}

/// Starts `tender` for a machine, with `image` and `streams`.
///
/// # Errors
/// The image is open for writing, a CPU is not there, or the kernel lacks something.
pub fn launch(
    tender: &Path,
    start: &Start,
    image: OwnedFd,
    streams: Streams,
) -> Result<Launched, Error> {
    let access = fcntl_getfl(&image).map_err(failed("look at the image"))?;
    if access & OFlags::ACCMODE != OFlags::RDONLY {
        return Err(Error::WritableImage);
    }
    let Streams { console, stage, status, birth } = streams;
    let errors = console.try_clone().map_err(|error| Error::Kernel {
        what: "pass its console",
        error: Errno::from_io_error(&error).unwrap_or(Errno::MFILE),
    })?;

    // From here to the end of this function these can be inherited. There is one thread, and they
    // are closed before anything else is started.
    let inherited = [image, status];
    for descriptor in &inherited {
        fcntl_setfd(descriptor, FdFlags::empty()).map_err(failed("pass descriptors"))?;
    }
    let mut command = command(tender, start, &inherited);
    command.stdin(stage).stdout(console).stderr(errors);
    birth::register(&mut command, birth);
    let pinned = Pinned::to(&start.cpus)?;
    let child = command
        .spawn()
        .map_err(|error| Error::Run { tender: tender.display().to_string(), error })?;
    drop(pinned);
    let pid = Pid::from_child(&child);
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => Ok(Launched { pid, child, process }),
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

/// Gets rid of a process that has just started and cannot be watched. It is killed, so that waiting
/// for it is short.
pub fn abandon(mut child: Child) {
    let gone = child.kill().and_then(|()| child.wait());
    if let Err(error) = gone {
        error!("process {} cannot be got rid of: {error}", child.id());
    }
}
