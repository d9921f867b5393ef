//! Networks of a test's own.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use vmm_testkit::skipped;

/// Does `work` in a thread of its own in a fresh network namespace, after `script` (for `sh`, with
/// `ip` of iproute2). Without root or `/dev/net/tun`, it is said loudly that nothing was tested,
/// and on CI it is an error.
pub(crate) fn in_network(script: &str, work: impl FnOnce() + Send + 'static) {
    if let Some(obstacle) = obstacle() {
        return skipped(&format!("TAP interfaces, as {obstacle}"));
    }
    let script = format!("set -e; ip link set lo up; {script}; echo ready; read line");
    std::thread::spawn(move || {
        // It holds the namespace until this thread is in it.
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        holder.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        let path = format!("/proc/{}/ns/net", holder.id());
        let namespace = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        holder.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        assert!(holder.wait().unwrap().success());
        work();
    })
    .join()
    .unwrap();
}

fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("this is not root".into());
    }
    let tun = open("/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    if let Err(error) = tun {
        return Some(format!("/dev/net/tun cannot be opened: {error}"));
    }
    let ip = Command::new("ip").arg("-Version").stdout(Stdio::null()).status();
    ip.err().map(|error| format!("ip (of iproute2) cannot be run: {error}"))
}

/// Lines for [`in_network`] that make the TAP interface `name`, up, with this address.
pub(crate) fn tap(name: &str, address: &str) -> String {
    format!(
        "ip tuntap add dev {name} mode tap; ip addr add {address} dev {name}; ip link set {name} up"
    )
}

/// A descriptor that is attached to the TAP interface `name` of this thread's network. Whoever had
/// it before may still hold it for a moment: a process that another thread starts has all
/// descriptors until it becomes another program.
#[allow(unsafe_code, reason = "attaching has no safe interface")]
pub(crate) fn open_tap(name: &str, flags: u16) -> OwnedFd {
    use rustix::ioctl::{Updater, ioctl, opcode};

    const TUNSETIFF: u32 = opcode::write::<i32>(b'T', 202);

    let tun = open("/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let mut request = [0u8; 40];
        request[..name.len()].copy_from_slice(name.as_bytes());
        request[16..18].copy_from_slice(&flags.to_ne_bytes());
        // SAFETY: the operation reads and writes a `struct ifreq`, which has 40 bytes.
        let set = unsafe { Updater::<TUNSETIFF, [u8; 40]>::new(&mut request) };
        // SAFETY: as above.
        match unsafe { ioctl(&tun, set) } {
            Err(Errno::BUSY) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            result => {
                result.unwrap();
                return tun;
            }
        }
    }
}

/// What comes next on a socket with a timeout.
pub(crate) fn receive(mut recv: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut room = [0; 2048];
    loop {
        match recv(&mut room) {
            Ok(len) => return Ok(room[..len].to_vec()),
            // With a timeout, the kernel does not take the call up again after a signal.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
