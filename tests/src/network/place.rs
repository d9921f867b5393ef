//! One network namespace.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace. A process holds it, which ends with this value, and with this process however
/// that ends.
#[derive(Debug)]
pub struct Place {
    holder: Child,
    namespace: OwnedFd,
}

impl Place {
    /// One with its loopback interface up, in which `script` was run by `sh`.
    pub(super) fn new(script: &str) -> Self {
        let script = format!("set -e; ip link set lo up\n{script}\necho ready; read line");
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &script]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        let said = holder.stdout.as_mut().unwrap().read_exact(&mut ready);
        assert!(said.is_ok(), "a network cannot be made: {:?}", holder.wait());
        let path = format!("/proc/{}/ns/net", holder.id());
        let namespace = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        Self { holder, namespace }
    }

    /// The process that holds it.
    pub(super) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// Does `work` there, in a thread of its own; threads and processes that it starts are there, too.
    pub(super) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.namespace.as_fd(), network).unwrap();
            work()
        };
        let done = std::thread::scope(|scope| scope.spawn(enter).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs a script there, which must succeed.
    pub(super) fn shell(&self, script: &str) {
        self.inside(|| super::traffic::shell(script));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // It ends with its line, or without one if somebody has ended it.
        let asked = self.holder.stdin.take().map(|mut stdin| stdin.write_all(b"\n"));
        if let Err(error) = self.holder.wait() {
            eprintln!("a network is left behind: {asked:?}, {error}");
        }
    }
}
