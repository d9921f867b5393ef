//! Running `nft`, which speaks JSON: no shell, no script, nothing from the environment.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nftables::schema::Nftables;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;

/// Where Debian has it.
pub const PROGRAM: &str = "/usr/sbin/nft";

/// How long it may take. Nothing else is done meanwhile: no machine is started, stopped or heard.
/// It takes milliseconds, and on a host with hundreds of taps some hundreds of them.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it is not tried again after it took longer: otherwise each start would wait as long.
const PAUSE: Duration = Duration::from_mins(1);

/// Bytes of its answer that are read.
const ANSWER_MAX: u64 = 4 << 20;

/// Bytes of its complaints that are repeated.
const WORDS_MAX: u64 = 1000;

/// Why it has not done what it was to do.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// It cannot be run.
    #[error("{program} cannot be run: {error} (Debian's package nftables has it)")]
    Missing {
        /// Where it should be.
        program: String,
        /// Why.
        error: io::Error,
    },
    /// It did not come to an end.
    #[error("nft took longer than {} s and was killed", PATIENCE.as_secs())]
    Slow,
    /// It did not come to an end, not long ago.
    #[error("nft took longer than {} s, and is tried again in a minute", PATIENCE.as_secs())]
    Paused,
    /// It refused.
    #[error("nft says: {0}")]
    Refused(String),
    /// It answered nonsense.
    #[error("the answer of nft cannot be read: {0}")]
    Nonsense(String),
    /// This process is short of something.
    #[error("cannot speak with nft: {0}")]
    Kernel(#[from] io::Error),
}

impl From<Errno> for NftError {
    fn from(error: Errno) -> Self {
        Self::Kernel(error.into())
    }
}

/// The program.
#[derive(Debug)]
pub struct Nft {
    program: PathBuf,
    /// When it may be tried again, once it has taken too long.
    again: Option<Instant>,
}

impl Default for Nft {
    fn default() -> Self {
        Self::at(PROGRAM.into())
    }
}

impl Nft {
    /// The one at an absolute path.
    pub fn at(program: PathBuf) -> Self {
        Self { program, again: None }
    }

    /// Has orders carried out: all of them, or none.
    ///
    /// # Errors
    /// None is. After [`NftError::Slow`] it is not known.
    pub fn order(&mut self, orders: &Nftables<'_>) -> Result<(), NftError> {
        let text = serde_json::to_vec(orders).map_err(io::Error::from)?;
        self.run(&["-j", "-f", "-"], &text).map(drop)
    }

    /// What is in a table, as it prints it.
    ///
    /// # Errors
    /// There is no such table, among others.
    pub fn list(&mut self, family: &str, table: &str) -> Result<Value, NftError> {
        let answer = self.run(&["-j", "list", "table", family, table], &[])?;
        serde_json::from_slice(&answer).map_err(|error| NftError::Nonsense(error.to_string()))
    }

    fn run(&mut self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, NftError> {
        if self.again.is_some_and(|again| Instant::now() < again) {
            return Err(NftError::Paused);
        }
        // Files rather than pipes: nobody waits for anybody to read or write.
        let (mut stdin, mut stdout, mut stderr) = (file()?, file()?, file()?);
        stdin.write_all(input)?;
        stdin.rewind()?;
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(stdin)
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?)
            .spawn()
            .map_err(|error| {
                let program = self.program.display().to_string();
                NftError::Missing { program, error }
            })?;
        let ended = wait(&mut child);
        if !matches!(ended, Ok(Some(_))) {
            child.kill()?;
            child.wait()?;
        }
        let Some(status) = ended? else {
            self.again = Some(Instant::now() + PAUSE);
            return Err(NftError::Slow);
        };
        self.again = None;
        if !status.success() {
            let words = content(&mut stderr, WORDS_MAX)?;
            let words = String::from_utf8_lossy(&words);
            let printable = |c: char| if c.is_control() { ' ' } else { c };
            let words: String = words.trim().chars().map(printable).collect();
            return Err(NftError::Refused(format!("{words} ({status})")));
        }
        let answer = content(&mut stdout, ANSWER_MAX)?;
        if u64::try_from(answer.len()).unwrap_or(u64::MAX) >= ANSWER_MAX {
            return Err(NftError::Nonsense(format!("it has more than {ANSWER_MAX} bytes")));
        }
        Ok(answer)
    }
}

fn file() -> Result<File, NftError> {
    let descriptor: OwnedFd = memfd_create("nft", MemfdFlags::CLOEXEC)?;
    Ok(descriptor.into())
}

fn content(file: &mut File, most: u64) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How it ended; `None` if it does not.
fn wait(child: &mut Child) -> Result<Option<ExitStatus>, NftError> {
    let number = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let number = number.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    let process = pidfd_open(number, PidfdFlags::empty())?;
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
