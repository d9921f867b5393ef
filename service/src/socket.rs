//! Unix sockets between the parts of one host.

use std::fs::TryLockError;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::activation::Passed;
use crate::dirs::Dirs;
use crate::options::Access;

/// How long a part waits before it tries again to reach another, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How long a process may take from its birth to its program. It takes milliseconds.
const BIRTH: Duration = Duration::from_secs(10);

/// What the socket of a part is made of, and who may connect to it.
#[derive(Debug, Default)]
pub struct Door {
    /// What a service manager passed.
    pub passed: Passed,
    /// Who may connect.
    pub access: Access,
}

/// The right to serve a socket, before it is there.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    lock: std::fs::File,
}

impl Claim {
    /// Claims the socket at `path` for this process.
    ///
    /// # Errors
    /// When another process serves it already, or it cannot be locked.
    pub fn of(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { path: path.to_owned(), lock: only_one(path)? })
    }

    /// Listens there: with the socket that was `passed`, or with one that is made with the permissions
    /// `mode`. A name left behind by a dead process is replaced.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(
        self,
        mode: u32,
        passed: Option<std::os::unix::net::UnixListener>,
    ) -> anyhow::Result<Listener> {
        let Self { path, lock } = self;
        if let Some(passed) = passed {
            let inner = UnixListener::from_std(passed)?;
            return Ok(Listener { inner, path, made: false, users: Vec::new(), _lock: lock });
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot replace {}", path.display()));
            }
            _ => {}
        }
        let inner = UnixListener::bind(&path)
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        Ok(Listener { inner, path, made: true, users: Vec::new(), _lock: lock })
    }
}

/// A listening socket. One that was made here is removed when it is dropped; one that was passed
/// stays, for the next process.
#[derive(Debug)]
pub struct Listener {
    inner: UnixListener,
    path: PathBuf,
    made: bool,
    /// Who may connect beside root and this process's own user.
    users: Vec<u32>,
    /// Held as long as the daemon lives: the lock that makes it the only one.
    _lock: std::fs::File,
}

impl Listener {
    /// Opens the socket of a part of the suite, which `vmmd` connects to: the one that was passed
    /// under the part's name, or one that is made. A name left behind by a dead process is replaced,
    /// that of a living one is not.
    ///
    /// # Errors
    /// When another process serves this socket already, or it cannot be made.
    pub fn open(part: &str, dirs: &Dirs, door: Door) -> anyhow::Result<Self> {
        let Door { mut passed, access } = door;
        dirs.make_run().context("cannot make the directory of the sockets")?;
        let path = dirs.socket(part);
        let mode = if access.socket_group.is_some() { 0o660 } else { 0o600 };
        let mut listener = Claim::of(&path)?.listen(mode, passed.unix(part)?)?;
        if let Some(group) = access.socket_group.filter(|_| listener.made) {
            std::os::unix::fs::chown(&path, None, Some(group))
                .with_context(|| format!("cannot give {} to group {group}", path.display()))?;
        }
        listener.users.extend(access.supervisor_user);
        Ok(listener)
    }

    /// The next peer that passes `allowed`, by its user and group ids. Others are turned away.
    ///
    /// # Errors
    /// When accepting fails for good.
    pub async fn accept(&self, allowed: impl Fn(u32, u32) -> bool) -> std::io::Result<UnixStream> {
        loop {
            let stream = match self.inner.accept().await {
                Ok((stream, _)) => stream,
                Err(error) if is_passing(&error) => {
                    tracing::warn!("cannot accept at {}: {error}", self.path.display());
                    tokio::time::sleep(RETRY.0).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            match stream.peer_cred() {
                Ok(peer) if allowed(peer.uid(), peer.gid()) => return Ok(stream),
                Ok(peer) => tracing::warn!(
                    uid = peer.uid(),
                    "turned away at {}: not a user of this socket",
                    self.path.display()
                ),
                Err(error) => tracing::warn!("no credentials of a peer: {error}"),
            }
        }
    }
}

impl Listener {
    /// Serves peers of this process's own user, root and the supervisor's user, each on its own, at
    /// most `most` at a time; more are turned away. A peer that misbehaves ends its own connection
    /// only.
    ///
    /// # Errors
    /// When accepting fails for good.
    pub async fn serve<F>(&self, most: usize, serve: impl Fn(UnixStream) -> F) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(most));
        loop {
            let allowed = |uid, gid| own_user_or_root(uid, gid) || self.users.contains(&uid);
            let stream = self.accept(allowed).await?;
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!("a connection was turned away: {most} are open already");
                continue;
            };
            let served = serve(stream);
            tokio::spawn(async move {
                if let Err(error) = served.await {
                    tracing::warn!("a connection was closed: {error}");
                }
                drop(place);
            });
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.made
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Whether an accept may succeed later: out of descriptors or memory, or the peer has gone.
pub fn is_passing(error: &std::io::Error) -> bool {
    let passing = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::PROTO,
        Errno::PERM,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::TIMEDOUT,
    ];
    Errno::from_io_error(error).is_some_and(|errno| passing.contains(&errno))
}

/// Takes the lock beside a socket: one daemon serves it.
fn only_one(path: &Path) -> anyhow::Result<std::fs::File> {
    let lock_path = path.with_extension("lock");
    let lock = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .with_context(|| format!("cannot open {}", lock_path.display()))?;
    let not_locked = || format!("cannot lock {}", lock_path.display());
    // This lock is of the process, and gone with it at once.
    match fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK | Errno::ACCESS) => return Err(served_already(path)),
        Err(error) => return Err(error).with_context(not_locked),
    }
    // This one is of the open file. A child that a killed daemon was about to start has it as well, and
    // the daemon's other files and sockets, until it executes its program.
    let until = Instant::now() + BIRTH;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(RETRY.0),
            Err(TryLockError::WouldBlock) => return Err(served_already(path)),
            Err(TryLockError::Error(error)) => return Err(error).with_context(not_locked),
        }
    }
}

fn served_already(path: &Path) -> anyhow::Error {
    anyhow!("another process serves {} already; stop it first", path.display())
}

/// Whether a peer is this process's own user, or root.
pub fn own_user_or_root(uid: u32, _gid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Waits that grow from a blink to a second, for someone who tries again.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(RETRY.0)
    }
}

impl Backoff {
    /// Waits, longer each time.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(RETRY.1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_claim_waits_for_a_child_of_a_killed_daemon_that_has_its_files_still() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("part.sock");
        let inherited = std::fs::File::create(path.with_extension("lock")).unwrap();
        inherited.lock().unwrap();
        let (sender, claimed) = channel();
        let claim = move || sender.send(Claim::of(&path)).unwrap();
        let waiting = std::thread::spawn(claim);
        assert!(claimed.recv_timeout(Duration::from_millis(100)).is_err(), "it waits");
        inherited.unlock().unwrap();
        claimed.recv().unwrap().unwrap();
        waiting.join().unwrap();
    }
}
