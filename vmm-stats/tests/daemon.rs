//! The daemon itself, over its socket.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use vmm_proto::id::MachineId;
use vmm_proto::message::Sample;
use vmm_proto::message::stats::{FromStats, MAX_MACHINES, Measured, Running, ToStats};
use vmm_proto::resource::TapName;
use vmm_testkit::{receive, skipped, until, write};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vmm-stats");

struct Daemon(vmm_testkit::Daemon);

impl Daemon {
    fn start() -> Self {
        let daemon = Self::start_untold();
        daemon.connect().tell(&ToStats::Told);
        daemon
    }

    fn start_untold() -> Self {
        Self::start_by(Command::new(PROGRAM))
    }

    /// Starts it by a command that takes its options.
    fn start_by(command: Command) -> Self {
        Self(vmm_testkit::Daemon::start(command))
    }

    fn connect(&self) -> Connection {
        Connection(self.0.connect("stats"))
    }
}

struct Connection(UnixStream);

impl Connection {
    fn tell(&mut self, message: &ToStats) {
        write(&mut self.0, 1, message).unwrap();
    }

    fn query(&mut self, machines: &[MachineId], samples: u16) -> Vec<Vec<Sample>> {
        self.measured(machines, samples).into_iter().map(|measured| measured.samples).collect()
    }

    fn measured(&mut self, machines: &[MachineId], samples: u16) -> Vec<Measured> {
        let query = ToStats::Query { machines: machines.to_vec(), samples };
        write(&mut self.0, 7, &query).unwrap();
        let (request, FromStats::Report(report)) = receive(&mut self.0);
        assert_eq!(request, 7);
        assert!(report.iter().map(|measured| measured.machine).eq(machines.iter().copied()));
        report
    }
}

fn running(number: u8, pid: u32) -> Running {
    Running { machine: id(number), pid, interfaces: 0 }
}

fn id(number: u8) -> MachineId {
    MachineId([number; 16])
}

#[test]
fn a_machine_has_a_sample_right_after_its_start_and_more_each_second() {
    let daemon = Daemon::start();
    let mut connection = daemon.connect();
    connection.tell(&ToStats::Reset(vec![running(1, std::process::id())]));
    let samples = &connection.query(&[id(1), id(2)], 1)[..];
    assert!(samples[0][0].resident > 100 << 10, "{samples:?}");
    assert!(samples[1].is_empty(), "an unknown machine has none: {samples:?}");

    let more = until("four samples", || {
        let mut samples = connection.query(&[id(1)], 10);
        (samples[0].len() >= 4).then(|| samples.remove(0))
    });
    assert!(more.is_sorted_by_key(|sample| sample.time_ms), "{more:?}");
    assert!(more.is_sorted_by_key(|sample| sample.user_us), "{more:?}");
}

#[test]
fn an_ended_process_keeps_its_samples_until_it_is_forgotten() {
    let daemon = Daemon::start();
    let mut connection = daemon.connect();
    let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
    connection.tell(&ToStats::Watch(running(1, sleeper.id())));
    assert!(!connection.query(&[id(1)], 5)[0].is_empty());

    // Nobody said that it ended: seen all the same.
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let after = connection.query(&[id(1)], 121);
    assert!(!after[0].is_empty());
    assert_eq!(connection.query(&[id(1)], 121), after, "nothing is added to an ended machine");

    connection.tell(&ToStats::Forget { machine: id(1) });
    assert!(connection.query(&[id(1)], 5)[0].is_empty());
}

#[test]
fn a_reset_ends_what_it_does_not_name() {
    let daemon = Daemon::start();
    let mut connection = daemon.connect();
    let own = std::process::id();
    connection.tell(&ToStats::Reset(vec![running(1, own), running(2, own)]));
    assert!(!connection.query(&[id(2)], 1)[0].is_empty());
    drop(connection);

    let mut connection = daemon.connect();
    connection.tell(&ToStats::Reset(vec![running(1, own)]));
    let ended = connection.query(&[id(2)], 121);
    assert_eq!(connection.query(&[id(2)], 121), ended);
    assert!(!ended[0].is_empty());
}

#[test]
fn a_peer_that_breaks_the_rules_ends_only_its_own_connection() {
    let daemon = Daemon::start();
    let mut good = daemon.connect();
    let mut bad = daemon.connect();
    bad.tell(&ToStats::Query { machines: vec![id(0); MAX_MACHINES + 1], samples: 1 });
    assert_eq!(bad.0.read(&mut [0; 16]).unwrap(), 0);
    let mut boundless = daemon.connect();
    boundless.tell(&ToStats::Watch(Running { interfaces: 64, ..running(1, 1) }));
    assert_eq!(boundless.0.read(&mut [0; 16]).unwrap(), 0);
    let mut worse = daemon.connect();
    worse.0.write_all(&[0xff; 64]).unwrap();
    assert_eq!(worse.0.read(&mut [0; 16]).unwrap_or(0), 0);
    good.tell(&ToStats::Watch(running(1, std::process::id())));
    assert_eq!(good.query(&[id(1)], 1)[0].len(), 1);
}

#[test]
fn asked_to_end_it_does_and_takes_its_socket_along() {
    let mut daemon = Daemon::start();
    drop(daemon.connect());
    let path = daemon.0.socket("stats");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let pid = rustix::process::Pid::from_child(&daemon.0.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(daemon.0.child.wait().unwrap().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn a_question_right_after_the_start_waits_for_word_of_what_runs() {
    let daemon = Daemon::start_untold();
    let (mut asks, mut tells) = (daemon.connect(), daemon.connect());
    let query = ToStats::Query { machines: vec![id(1)], samples: 1 };
    asks.tell(&query);
    tells.tell(&ToStats::Reset(Vec::new()));
    tells.tell(&ToStats::Watch(running(1, std::process::id())));
    tells.tell(&ToStats::Told);
    let (_, FromStats::Report(report)) = receive(&mut asks.0);
    assert_eq!(report[0].samples.len(), 1, "{report:?}");
}

#[test]
fn an_interface_that_is_not_there_is_no_error() {
    let daemon = Daemon::start();
    let mut connection = daemon.connect();
    let own = std::process::id();
    connection.tell(&ToStats::Watch(Running { interfaces: 63, ..running(1, own) }));
    let measured = connection.measured(&[id(1)], 1).remove(0);
    assert_eq!(measured.samples.len(), 1);
    assert_eq!(measured.traffic, vec![None; 63]);
}

#[test]
fn interfaces_are_counted_from_the_machines_side_and_keep_what_they_had() {
    if !rustix::process::geteuid().is_root() {
        return skipped("counters of interfaces: only root can make a network namespace");
    }
    // The second of the machine's interfaces, in a network namespace of the daemon's own; the host
    // sends into it: what that counts as sent is what a guest would receive. An interface that has just
    // come up drops what is sent, for a moment.
    let name = TapName::of(id(1), 1);
    let mut command = Command::new("unshare");
    let quiet = "/proc/sys/net/ipv6/conf/all/disable_ipv6";
    let script = format!(
        "{{ [ ! -e {quiet} ] || echo 1 >{quiet}; }} && \
         ip link add {name} type veth peer name other && ip address add 10.99.0.1/24 dev {name} && \
         ip link set {name} up && ip link set other up && \
         until awk '$1 == \"{name}:\" && $11 > 0 {{ sent = 1 }} END {{ exit !sent }}' /proc/net/dev; \
         do echo hello >/dev/udp/10.99.0.2/9; sleep 0.01; done; exec {PROGRAM} \"$@\""
    );
    command.args(["--net", "bash", "-c", &script, "bash"]);
    let daemon = Daemon::start_by(command);
    let mut connection = daemon.connect();
    connection.tell(&ToStats::Told);
    let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
    connection.tell(&ToStats::Watch(Running { interfaces: 2, ..running(1, sleeper.id()) }));
    let traffic = connection.measured(&[id(1)], 1).remove(0).traffic;
    let [None, Some(counted)] = traffic[..] else { panic!("{traffic:?}") };
    // It asks who has that address.
    assert!(counted.received_packets >= 1 && counted.received_bytes >= 42, "{counted:?}");
    assert_eq!((counted.sent_packets, counted.sent_bytes), (0, 0), "{counted:?}");

    let namespace = format!("--net=/proc/{}/ns/net", daemon.0.child.id());
    let deleted = Command::new("nsenter")
        .args([&namespace, "ip", "link", "delete", name.as_str()])
        .status()
        .unwrap();
    assert!(deleted.success(), "{deleted}");
    let gone = connection.measured(&[id(1)], 1).remove(0).traffic;
    assert!(
        matches!(gone[..], [None, Some(last)] if last.received_bytes >= counted.received_bytes)
    );

    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let ended = connection.measured(&[id(1)], 1).remove(0);
    assert_eq!(ended.traffic, gone, "also when the machine has ended");
    connection.tell(&ToStats::Forget { machine: id(1) });
    assert_eq!(connection.measured(&[id(1)], 1).remove(0).traffic, []);
}
