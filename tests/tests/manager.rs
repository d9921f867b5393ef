//! Daemons under a service manager: what it is told, and the sockets that it passes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use vmm_tests::managed::{Started, activated, command, packets, unix};
use vmm_tests::setup::Setup;
use xtask::house::{DAEMONS, Signal, signal};

/// How long anything may take that a daemon should do at once.
const SOON: Duration = Duration::from_mins(1);

/// The end of a notification socket that a service manager reads.
struct Notified(UnixDatagram);

impl Notified {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self(socket)
    }

    /// The next message with this line: all its lines.
    fn wait_for(&self, line: &str) -> Vec<String> {
        let mut bytes = [0; 4096];
        loop {
            let count = match self.0.recv(&mut bytes) {
                Ok(count) => count,
                // With a timeout, the kernel does not take the call up again after a signal.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => panic!("{line}: {error}"),
            };
            let message = std::str::from_utf8(&bytes[..count]).unwrap();
            if message.lines().any(|other| other == line) {
                return message.lines().map(str::to_owned).collect();
            }
        }
    }
}

#[test]
fn every_daemon_says_that_it_serves_that_it_works_and_that_it_ends() {
    let setup = Setup::without_daemons();
    for name in DAEMONS {
        let path = setup.file(&format!("{name}.notify"));
        let notified = Notified::at(&path);
        let mut command = command(&setup, name);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
        let daemon = Started(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let ready = notified.wait_for("READY=1");
        assert!(ready.iter().any(|line| line.starts_with("STATUS=")), "{name}: {ready:?}");
        let part = name.strip_prefix("vmm-").unwrap_or(name);
        assert!(setup.house.socket(part).exists(), "{name} is ready without its socket");
        for _ in 0..3 {
            notified.wait_for("WATCHDOG=1");
        }
        signal(daemon.0.id(), Signal::TERM).unwrap();
        notified.wait_for("STOPPING=1");
        daemon.stop();
    }
}

#[test]
fn the_watchdog_of_another_process_is_left_alone() {
    let setup = Setup::without_daemons();
    let path = setup.file("notify");
    let notified = Notified::at(&path);
    let mut command = command(&setup, "vmm-stats");
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1");
    let daemon = Started(command.stderr(Stdio::null()).spawn().unwrap());
    notified.wait_for("READY=1");
    daemon.stop();
    let mut bytes = [0; 4096];
    let count = notified.0.recv(&mut bytes).unwrap();
    let next = std::str::from_utf8(&bytes[..count]).unwrap();
    assert!(next.starts_with("STOPPING=1"), "{next}");
}

#[test]
fn a_supervisor_that_looks_at_its_lists_again_says_so() {
    let setup = Setup::without_daemons();
    let path = setup.file("notify");
    let notified = Notified::at(&path);
    let mut command = command(&setup, "vmmd");
    let daemon =
        Started(command.env("NOTIFY_SOCKET", &path).stderr(Stdio::null()).spawn().unwrap());
    notified.wait_for("READY=1");
    signal(daemon.0.id(), Signal::HUP).unwrap();
    let reloading = notified.wait_for("RELOADING=1");
    let since = reloading.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(since.unwrap().parse::<u64>().unwrap() > 0, "{reloading:?}");
    notified.wait_for("READY=1");
    daemon.stop();
}

/// All daemons at sockets that were passed: who connects before they are there is served when they
/// are, and their sockets outlive them.
#[test]
fn sockets_that_were_passed_are_served_and_stay() {
    let setup = Setup::without_daemons();
    setup.delegate("ca.db", "cacert.pem", "ca.key", "dev", &["2", "1024", "--cpu", "0"]);
    std::fs::create_dir_all(setup.file("run")).unwrap();
    let socket = |part: &str| setup.house.socket(part);
    let parts = ["console", "log", "stats"].map(|part| (part, unix(&socket(part))));
    let spawn = packets(&socket("spawn"));
    let local = unix(&socket("vmmd"));
    let tls = OwnedFd::from(TcpListener::bind(setup.house.address).unwrap());
    let early = setup.client_started("dev", &["quota"]);

    let mut others: Vec<Started> = parts
        .iter()
        .map(|(part, socket)| activated(&setup, &format!("vmm-{part}"), &[socket], part))
        .collect();
    others.push(activated(&setup, "vmm-spawn", &[&spawn], "spawn"));
    let vmmd = activated(&setup, "vmmd", &[&tls, &local], "tls:local");
    assert!(early.wait_with_output().unwrap().status.success());
    let run = ["run", "hello", "hello.spt", "--memory", "64", "--cpu", "0", "--attach"];
    let done = setup.client("dev", &run);
    assert!(done.expect(0).out.contains("Hello from hello"), "{}", done.out);
    setup.admin(&["info"]).expect(0);

    vmmd.stop();
    for part in ["console", "log", "stats", "spawn", "vmmd"] {
        assert!(socket(part).exists(), "{part}");
    }
    let waits = setup.client_started("dev", &["quota"]);
    let vmmd = activated(&setup, "vmmd", &[&tls, &local], "tls:local");
    assert!(waits.wait_with_output().unwrap().status.success());
    vmmd.stop();
    for other in others.drain(..) {
        other.stop();
    }
    assert!(socket("console").exists() && socket("spawn").exists());
}

#[test]
fn a_socket_that_does_not_fit_is_refused_and_the_error_says_which_would() {
    let setup = Setup::without_daemons();
    let dir = setup.dir();
    let listening = unix(&dir.join("listening"));
    let packets = packets(&dir.join("packets"));
    let (connected, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let connected = OwnedFd::from(connected);
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let refused = |name: &str, sockets: &[&OwnedFd], names: &str, why: &str| {
        let said = activated(&setup, name, sockets, names).failure();
        assert!(said.contains(why), "{name} {names}: {said}");
    };
    refused("vmm-console", &[&listening], "consle", "\"consle\"; this program takes console");
    refused("vmm-console", &[&listening], "", "\"\"; this program takes console");
    refused("vmm-log", &[&listening, &listening], "log:log", "one is taken");
    refused("vmm-stats", &[&packets], "stats", "is not a socket that listens for Unix streams");
    refused("vmm-stats", &[&connected], "stats", "is not a socket that listens for Unix streams");
    refused("vmm-stats", &[&file], "stats", "is not a socket that listens for Unix streams");
    refused("vmmd", &[&listening], "tls", "is not a socket that listens for TCP");
    refused("vmmd", &[&listening], "vmmd", "this program takes local and tls");
    refused("vmm-spawn", &[&listening], "spawn", "does not listen for sequenced packets");
    refused("vmm-spawn", &[&file], "spawn", "does not listen for sequenced packets");
    refused("vmm-spawn", &[&packets], "console", "takes one socket named \"spawn\"");
    refused("vmm-spawn", &[&packets, &packets], "spawn:spawn", "takes one socket named");
}
