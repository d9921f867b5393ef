//! Daemons that are started as a service manager starts them.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use xtask::house::{Signal, signal, wait_until};

use crate::setup::Setup;

/// A daemon that was started here. Dropped, it is killed.
#[derive(Debug)]
pub struct Started(pub Child);

impl Started {
    /// Asks it to end as soon as it can be asked, and waits until it has, well.
    pub fn stop(mut self) {
        let heeds = |this: &mut Self| this.heeds(Signal::TERM) || this.has_ended();
        wait_until("a daemon that can be asked", || heeds(&mut self)).expect("one that heeds");
        signal(self.0.id(), Signal::TERM).expect("a daemon");
        wait_until("the end of a daemon", || self.has_ended()).expect("the end");
        let status = self.0.wait().expect("a status");
        assert!(status.success(), "{status}");
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_some()
    }

    /// Whether it has a handler for a signal: before that, the signal would end it at once.
    fn heeds(&self, signal: Signal) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()));
        let status = status.unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        caught.is_some_and(|mask| mask & (1 << (signal.as_raw() - 1)) != 0)
    }

    /// What it said when it ended by itself, badly.
    pub fn failure(mut self) -> String {
        wait_until("the end of a daemon", || self.has_ended()).expect("the end");
        assert_eq!(self.0.wait().expect("a status").code(), Some(1));
        std::io::read_to_string(self.0.stderr.take().expect("a pipe")).expect("its words")
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.0.kill().expect("a child");
            self.0.wait().expect("a child");
        }
    }
}

/// The command that starts a daemon, as the walkthrough does.
pub fn command(setup: &Setup, name: &str) -> Command {
    std::fs::create_dir_all(setup.file("run")).expect("a way to start it");
    let arguments = setup.house.arguments(name);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    setup.house.command(name, &arguments)
}

/// Started with these sockets as descriptors 3 and 4, at most two, with these names.
pub fn activated(setup: &Setup, name: &str, sockets: &[&OwnedFd], names: &str) -> Started {
    let plain = command(setup, name);
    let mut shell = Command::new("/bin/sh");
    // Only a shell can put descriptors at given numbers without unsafe code here.
    let script = "exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ exec \"$@\"";
    shell.args(["-c", script, "sh"]).arg(plain.get_program()).args(plain.get_args());
    shell.current_dir(plain.get_current_dir().expect("a way to start it"));
    shell.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names);
    let mut places =
        sockets.iter().map(|socket| Stdio::from(socket.try_clone().expect("a way to start it")));
    shell.stdin(places.next().unwrap_or_else(Stdio::null));
    shell.stdout(places.next().unwrap_or_else(Stdio::null));
    Started(shell.stderr(Stdio::piped()).spawn().expect("a way to start it"))
}

/// A Unix socket that listens for streams.
pub fn unix(path: &Path) -> OwnedFd {
    UnixListener::bind(path).expect("a way to start it").into()
}

/// A Unix socket that listens for sequenced packets.
pub fn packets(path: &Path) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
    let socket = socket.expect("a way to start it");
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).expect("a way to start it"))
        .expect("a way to start it");
    rustix::net::listen(&socket, 16).expect("a way to start it");
    socket
}
