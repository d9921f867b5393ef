//! A service manager: the socket that it passes, and what it is told (`sd_listen_fds(3)`,
//! `sd_notify(3)`). Without one, nothing of this happens.

use std::os::fd::{IntoRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::{Errno, fcntl_getfd};
use rustix::net::{AddressFamily, SocketType, sockopt};
use sd_notify::NotifyState;
use tracing::warn;

/// The name of the socket that may be passed (`FileDescriptorName=`).
pub const SOCKET: &str = "spawn";

/// Why what was passed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PassedError {
    /// `LISTEN_PID` or `LISTEN_FDS` is not a number
    #[error("LISTEN_PID or LISTEN_FDS is not a number")]
    Malformed,
    /// there are several, or one of another name
    #[error(
        "the service manager passes {0}; this program takes one socket named \"{SOCKET}\" \
         (FileDescriptorName= in its .socket unit)"
    )]
    Unknown(String),
    /// `LISTEN_FDS` names a descriptor that was not passed
    #[error("LISTEN_FDS names a descriptor that was not passed")]
    Missing,
    /// it is no listening socket for sequenced packets
    #[error(
        "the socket \"{SOCKET}\" that was passed does not listen for sequenced packets \
             (ListenSequentialPacket= in its .socket unit)"
    )]
    NotListening,
    /// the kernel does not tell about it
    #[error("the socket that was passed cannot be looked at: {0}")]
    Kernel(#[from] Errno),
}

/// The listening socket that was passed. Called once, before anything is opened.
///
/// # Errors
/// [`PassedError`]
pub fn passed() -> Result<Option<OwnedFd>, PassedError> {
    let all = sd_listen_fds::get().map_err(|_| PassedError::Malformed)?;
    let mut sockets = Vec::with_capacity(all.len());
    let mut missing = false;
    for (name, descriptor) in all {
        let descriptor = descriptor.into_std();
        if fcntl_getfd(&descriptor).is_err() {
            // It is not there to be closed.
            let _none = descriptor.into_raw_fd();
            missing = true;
        } else {
            sockets.push((name.unwrap_or_default(), descriptor));
        }
    }
    if missing {
        return Err(PassedError::Missing);
    }
    let names: Vec<String> = sockets.iter().map(|(name, _)| format!("{name:?}")).collect();
    let Some((name, socket)) = sockets.pop() else { return Ok(None) };
    if name != SOCKET || !sockets.is_empty() {
        return Err(PassedError::Unknown(names.join(", ")));
    }
    let listens = || {
        Ok(sockopt::socket_domain(&socket)? == AddressFamily::UNIX
            && sockopt::socket_type(&socket)? == SocketType::SEQPACKET
            && sockopt::socket_acceptconn(&socket)?)
    };
    match listens() {
        Ok(true) => Ok(Some(socket)),
        Ok(false) | Err(Errno::NOTSOCK) => Err(PassedError::NotListening),
        Err(error) => Err(error.into()),
    }
}

/// It serves.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// It was asked to end, and does. `status` says what is done before that, in few words.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("the service manager cannot be told: {error}");
    }
}

/// The service manager's watchdog, which is told twice in the time that it allows.
#[derive(Debug)]
pub struct Watchdog(Option<(Duration, Instant)>);

impl Watchdog {
    /// The one that watches this process, if any does.
    pub fn new() -> Self {
        let allowed = sd_notify::watchdog_enabled().filter(|time| !time.is_zero());
        Self(allowed.map(|allowed| (allowed / 2, Instant::now())))
    }

    /// When it is to be told next.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.map(|(_, next)| next)
    }

    /// Tells it when it is time, after a turn of the loop: all that was there to be done is done.
    pub fn turned(&mut self, now: Instant) {
        if let Some((period, next)) = &mut self.0
            && *next <= now
        {
            *next = now + *period;
            tell(&[NotifyState::Watchdog]);
        }
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::new()
    }
}
