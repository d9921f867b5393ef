//! Sockets that a service manager made and passes to this process: `sd_listen_fds(3)`.
//!
//! Whoever connects while a daemon is being replaced then waits in the socket's queue, and the
//! daemon needs no right to make sockets.

use std::net::TcpListener;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use anyhow::{Context, bail, ensure};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::net::{AddressFamily, SocketType, sockopt};

/// What was passed and not yet taken, by name.
#[derive(Debug, Default)]
pub struct Passed(Vec<(String, OwnedFd)>);

impl Passed {
    /// Takes what the service manager passes (`LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`); each
    /// is to have one of these names. Called once, before the process opens anything.
    ///
    /// # Errors
    /// When something has another name or none, or is not there; when the variables make no sense.
    pub fn from_manager(names: &[&str]) -> anyhow::Result<Self> {
        let all = sd_listen_fds::get().context("LISTEN_PID or LISTEN_FDS is not a number")?;
        let mut passed = Vec::with_capacity(all.len());
        let mut missing = 0;
        for (name, descriptor) in all {
            let descriptor = descriptor.into_std();
            match fcntl_getfd(&descriptor) {
                Ok(flags) => {
                    fcntl_setfd(&descriptor, flags | FdFlags::CLOEXEC)?;
                    passed.push((name.unwrap_or_default(), descriptor));
                }
                Err(Errno::BADF) => {
                    // It is not there to be closed.
                    let _none = descriptor.into_raw_fd();
                    missing += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
        ensure!(missing == 0, "LISTEN_FDS names {missing} descriptors that were not passed");
        for (name, _) in &passed {
            let known = names.join(" and ");
            ensure!(
                names.contains(&name.as_str()),
                "the service manager passes a socket named {name:?}; this program takes {known} \
                 (FileDescriptorName= in its .socket unit)"
            );
        }
        Ok(Self(passed))
    }

    /// The Unix socket of this name that streams can be accepted at.
    ///
    /// # Errors
    /// When there are several, or it is something else.
    pub fn unix(&mut self, name: &str) -> anyhow::Result<Option<UnixListener>> {
        let mut all = self.take(name);
        let Some(descriptor) = all.pop() else { return Ok(None) };
        ensure!(
            all.is_empty(),
            "{} sockets named {name:?} were passed; one is taken",
            all.len() + 1
        );
        check(&descriptor, &[AddressFamily::UNIX])
            .with_context(|| format!("the socket {name:?} that was passed"))?;
        let listener = UnixListener::from(descriptor);
        listener.set_nonblocking(true)?;
        Ok(Some(listener))
    }

    /// The TCP sockets of this name.
    ///
    /// # Errors
    /// When one is something else.
    pub fn tcp(&mut self, name: &str) -> anyhow::Result<Vec<TcpListener>> {
        let listening = |descriptor: OwnedFd| {
            check(&descriptor, &[AddressFamily::INET, AddressFamily::INET6])
                .with_context(|| format!("a socket {name:?} that was passed"))?;
            let listener = TcpListener::from(descriptor);
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        self.take(name).into_iter().map(listening).collect()
    }

    fn take(&mut self, name: &str) -> Vec<OwnedFd> {
        self.0.extract_if(.., |(other, _)| other == name).map(|(_, taken)| taken).collect()
    }
}

fn check(socket: &OwnedFd, families: &[AddressFamily]) -> anyhow::Result<()> {
    let what = |wanted: &str| format!("is not a socket that listens for {wanted}");
    let wanted = if families == [AddressFamily::UNIX] { "Unix streams" } else { "TCP" };
    let domain = sockopt::socket_domain(socket).with_context(|| what(wanted))?;
    let is_stream = sockopt::socket_type(socket)? == SocketType::STREAM;
    if !families.contains(&domain) || !is_stream || !sockopt::socket_acceptconn(socket)? {
        bail!(what(wanted));
    }
    Ok(())
}
