//! A program that answers within bounds: of time, and of what it says.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Bytes of an answer at most: a table of as many host networks as there may be takes some 100 KiB.
pub const OUTPUT_MAX: usize = 4 << 20;

/// Bytes of complaints that are kept. There may be more.
const COMPLAINTS_MAX: usize = 4 << 10;

/// How long one that was killed may take to end.
const DEATH: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// It cannot be run.
    Io(io::Error),
    /// It did not succeed, and complained.
    Status(ExitStatus, Vec<u8>),
    /// It did not end in time.
    Late(Duration),
    /// An earlier one is there still.
    Stuck,
    /// It says too much.
    Endless,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// Runs one program at a time.
#[derive(Debug)]
pub struct Runner {
    patience: Duration,
    /// One that was killed and has not ended, as the kernel is busy for it.
    killed: Option<Child>,
}

impl Runner {
    /// Each may take so long.
    pub const fn new(patience: Duration) -> Self {
        Self { patience, killed: None }
    }

    /// What the program says about `input`.
    ///
    /// # Errors
    /// It says nothing that counts. It has ended, or is killed.
    pub fn run(
        &mut self,
        program: &Path,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        if let Some(mut killed) = self.killed.take()
            && killed.try_wait()?.is_none()
        {
            self.killed = Some(killed);
            return Err(Failure::Stuck);
        }
        // It need not be fed.
        let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
        file.write_all(input)?;
        file.rewind()?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(file).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        match listen(&mut child, Instant::now() + self.patience) {
            Ok((status, answer, _)) if status.success() => Ok(answer),
            Ok((status, _, complaints)) => Err(Failure::Status(status, complaints)),
            Err(failure) => {
                self.kill(child)?;
                Err(match failure {
                    Failure::Late(_) => Failure::Late(self.patience),
                    failure => failure,
                })
            }
        }
    }

    fn kill(&mut self, mut child: Child) -> Result<(), Failure> {
        child.kill()?;
        let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        let until = Instant::now() + DEATH;
        let mut list = [PollFd::new(&ended, PollFlags::IN)];
        if wait(&mut list, until)? {
            child.wait()?;
        } else {
            self.killed = Some(child);
        }
        Ok(())
    }
}

/// One of the two things that a program says.
struct Said {
    from: Option<OwnedFd>,
    bytes: Vec<u8>,
}

impl Said {
    fn new(from: Option<impl Into<OwnedFd>>) -> Self {
        Self { from: from.map(Into::into), bytes: Vec::new() }
    }

    /// Takes what is there now.
    fn take(&mut self, buffer: &mut [u8]) -> Result<(), Failure> {
        let Some(from) = &self.from else { return Ok(()) };
        match rustix::io::read(from, &mut *buffer) {
            Ok(0) => self.from = None,
            Ok(length) => self.bytes.extend(&buffer[..length]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// What a program says until it has ended.
fn listen(child: &mut Child, deadline: Instant) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), Failure> {
    let ended = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let mut said = [Said::new(child.stdout.take()), Said::new(child.stderr.take())];
    let mut buffer = vec![0; 64 << 10];
    loop {
        let open = said.iter().filter_map(|said| said.from.as_ref());
        let mut list: Vec<_> = open.map(|from| PollFd::new(from, PollFlags::IN)).collect();
        if list.is_empty() {
            list.push(PollFd::new(&ended, PollFlags::IN));
        }
        if !wait(&mut list, deadline)? {
            return Err(Failure::Late(Duration::ZERO));
        }
        let ready: Vec<bool> = list.iter().map(|fd| !fd.revents().is_empty()).collect();
        if said.iter().all(|said| said.from.is_none()) {
            let [answer, complaints] = said.map(|said| said.bytes);
            return Ok((child.wait()?, answer, complaints));
        }
        let open = said.iter_mut().filter(|said| said.from.is_some());
        for (said, _) in open.zip(ready).filter(|(_, ready)| *ready) {
            said.take(&mut buffer)?;
        }
        if said[0].bytes.len() > OUTPUT_MAX {
            return Err(Failure::Endless);
        }
        said[1].bytes.truncate(COMPLAINTS_MAX);
    }
}

/// Waits until something is there to read. Whether it is.
fn wait(list: &mut [PollFd<'_>], deadline: Instant) -> Result<bool, Failure> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(list, Some(&timeout)) {
            Err(Errno::INTR) => {}
            polled => return Ok(polled? > 0),
        }
    }
}
