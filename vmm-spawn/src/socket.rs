//! The listening socket, and being the only one that listens.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, fcntl_getfl, fcntl_lock, fcntl_setfl, flock};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, UCred, accept_with, bind, listen,
    socket_with, sockopt,
};
use tracing::{debug, warn};

use crate::options::Config;

/// The socket's name in its directory.
pub const SOCKET: &str = "spawn.sock";

/// The name of the file that the only instance holds a lock on. It stays when that ends: to
/// remove it would let two instances each lock a file of that name.
pub const LOCK: &str = "spawn.lock";

/// How long a process may take from its birth to becoming the tender. It takes milliseconds.
const BIRTH_PATIENCE: Duration = Duration::from_secs(30);

/// How often that is looked at.
const BIRTH_STEP: Duration = Duration::from_millis(2);

/// Connections that the kernel may hold before they are accepted.
const BACKLOG: i32 = 16;

/// Why there is no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// cannot make the directory {path:?}: {error}
    #[error("cannot make the directory {path:?}: {error}")]
    Directory {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// cannot open {path:?}: {error}
    #[error("cannot open {path:?}: {error} (--dir DIR names another directory)")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// another vmm-spawn runs
    #[error("another vmm-spawn runs with the directory {0:?}: there can be only one")]
    InUse(PathBuf),
    /// processes of a vmm-spawn that is gone are stuck
    #[error(
        "a process that an earlier vmm-spawn with the directory {0:?} was starting does not get \
         on: wait, or kill it"
    )]
    Births(PathBuf),
    /// {0:?} is in the way: it is not a socket
    #[error("{0:?} is in the way: it is not a socket, and is not removed")]
    InTheWay(PathBuf),
    /// cannot listen on {path:?}: {error}
    #[error("cannot listen on {path:?}: {error}")]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The listening socket. Its name is removed with it, unless a service manager passed it.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
    made: bool,
    /// Held as long as the socket.
    _lock: File,
}

impl Listener {
    /// Listens in the configured directory, which is made if it is missing and was asked for; or at
    /// the socket that was `passed`. Only the user of this process may connect to one that is made,
    /// and the group that is configured.
    ///
    /// # Errors
    /// Another instance listens there, or the file system is against it.
    pub fn open(config: &Config, passed: Option<OwnedFd>) -> Result<Self, Error> {
        let dir = &config.dir;
        if config.make_dir {
            make(dir).map_err(|error| Error::Directory { path: dir.into(), error })?;
        }
        let lock = lock(dir)?;
        let path = dir.join(SOCKET);
        let failed = |error| Error::Listen { path: path.clone(), error };
        if let Some(socket) = passed {
            let flags = fcntl_getfl(&socket).map_err(|error| failed(error.into()))?;
            fcntl_setfl(&socket, flags | OFlags::NONBLOCK).map_err(|error| failed(error.into()))?;
            return Ok(Self { socket, path, made: false, _lock: lock });
        }
        // Whoever made what stands there does not listen: it would hold the lock.
        match fs::symlink_metadata(&path) {
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(Error::InTheWay(path));
            }
            Ok(_) => {
                debug!("the socket {path:?} was left behind and is replaced");
                fs::remove_file(&path).map_err(failed)?;
            }
            Err(_) => {}
        }
        let socket = listening(&path, config.socket_group).map_err(failed)?;
        Ok(Self { socket, path, made: true, _lock: lock })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection, and who made it; `None` when there is none, or it is gone again.
    ///
    /// # Errors
    /// No descriptors are left, or no memory. The connection still waits then.
    pub fn accept(&self) -> Result<Option<(OwnedFd, UCred)>, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match accept_with(&self.socket, flags) {
            Ok(socket) => {
                let who = sockopt::socket_peercred(&socket)?;
                Ok(Some((socket, who)))
            }
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.made
            && let Err(error) = fs::remove_file(&self.path)
        {
            warn!("cannot remove the socket {:?}: {error}", self.path);
        }
    }
}

fn make(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| Error::Lock { path: path.clone(), error })?;
    // This lock is of the process, and gone with it at once.
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK | Errno::ACCESS) => return Err(Error::InUse(dir.into())),
        Err(error) => return Err(Error::Lock { path, error: error.into() }),
    }
    // This one is of the open file, which a process that is being started has as well until it
    // becomes the tender. By then it has written down who it is.
    let until = Instant::now() + BIRTH_PATIENCE;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if Instant::now() < until => thread::sleep(BIRTH_STEP),
            Err(Errno::WOULDBLOCK) => return Err(Error::Births(dir.into())),
            Err(error) => return Err(Error::Lock { path, error: error.into() }),
        }
    }
}

fn listening(path: &Path, group: Option<u32>) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    // Nobody can connect before it listens, so the mode is in time.
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    std::os::unix::fs::chown(path, None, group)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}
