//! The daemon's own life.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, test_kill_process};
use vmm_proto::message::Exit;
use vmm_testkit::until;

use crate::harness::{Daemon, command, id};

fn refused(output: &Output, status: i32, text: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(said.contains(text), "{said}");
}

#[test]
fn a_second_instance_is_refused_and_the_first_goes_on() {
    let daemon = Daemon::start();
    let second = || command(&daemon.dir.path().join("run")).args(["--tender", "/bin/sh"]).output();
    refused(&second().unwrap(), 1, "another vmm-spawn runs");
    daemon.supervisor();
}

#[test]
fn a_socket_left_behind_is_replaced_and_another_file_is_not() {
    let mut daemon = Daemon::start();
    daemon.kill();
    assert!(daemon.socket().exists());
    let run = daemon.dir.path().join("run");
    let mut again =
        command(&run).args(["--tender", "/bin/sh"]).stderr(Stdio::null()).spawn().unwrap();
    until("it listens", || (test_connect(&daemon.socket())).then_some(()));
    again.kill().unwrap();
    again.wait().unwrap();
    fs::remove_file(daemon.socket()).unwrap();
    fs::write(daemon.socket(), "precious").unwrap();
    let output = command(&run).args(["--tender", "/bin/sh"]).output().unwrap();
    refused(&output, 1, "is in the way");
    assert_eq!(fs::read_to_string(daemon.socket()).unwrap(), "precious");
}

fn test_connect(path: &std::path::Path) -> bool {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
    let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    connect(&socket, &SocketAddrUnix::new(path).unwrap()).is_ok()
}

#[test]
fn told_to_stop_machines_when_it_ends_it_ends_them_first_and_leaves_no_socket() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        if signal == Signal::HUP && hangups_are_ignored() {
            // As nohup has it: then they are here, too.
            continue;
        }
        let mut daemon = Daemon::start();
        daemon.again_with(&["--stop-machines"]);
        let mut supervisor = daemon.supervisor();
        let image = daemon.image("image", "trap '' TERM; say ready; exec /bin/sleep 1000");
        let pids = [1, 2, 3].map(|number| supervisor.run(id(number), &image, &[]));
        supervisor.start(id(4), daemon.image("slow", "exec /bin/sleep 1000"), &[]);
        daemon.logs("starting id=04040404");
        daemon.signal(signal);
        assert_eq!(daemon.ended().code(), Some(0));
        for pid in pids {
            let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
            assert!(test_kill_process(pid).is_err());
        }
        assert!(!daemon.socket().exists());
        let mut told = 0;
        while let Some((message, _)) = supervisor.receive() {
            told += 1;
            if let vmm_proto::message::spawn::FromSpawn::Exited { exit, .. } = message {
                assert_eq!(exit, Exit::Signal(9));
            }
        }
        assert_eq!(told, 4, "three exits and a start that failed");
    }
}

fn hangups_are_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 == 1
}

#[test]
fn what_makes_no_sense_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let bridge = command(&run).args(["--bridge", "../ext"]).output().unwrap();
    refused(&bridge, 2, "is not a bridge name");
    assert!(!run.exists());
    let unknown = command(&run).arg("--frobnicate").output().unwrap();
    refused(&unknown, 2, "--frobnicate");
    let tender = command(&run).args(["--tender", "/nonexistent"]).output().unwrap();
    refused(&tender, 1, "/nonexistent");
    let deep = dir.path().join("a/b/run");
    let output = command(&deep).args(["--tender", "/bin/sh"]).output().unwrap();
    refused(&output, 1, "cannot make the directory");
    let long = dir.path().join("x".repeat(150));
    let output = command(&long).args(["--tender", "/bin/sh"]).output().unwrap();
    refused(&output, 1, "cannot listen on");
}

#[test]
fn the_log_can_be_json_and_the_directory_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let arguments = ["--tender", "/nonexistent", "--log-format", "json"];
    let output = command(&run).args(arguments).output().unwrap();
    refused(&output, 1, "{\"timestamp\":");
    let daemon = Daemon::start();
    let mode = fs::metadata(daemon.dir.path().join("run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn signals_that_whoever_started_it_ignored_change_nothing_but_hangups() {
    let daemon = Daemon::start_from("trap '' HUP; exec /usr/bin/env --ignore-signal=CHLD \"$@\"");
    let mut supervisor = daemon.supervisor();
    daemon.signal(Signal::HUP);
    supervisor.run(id(1), daemon.image("image", "say ready; exit 3"), &[]);
    assert_eq!(supervisor.exit(id(1)).0, Exit::Code(3));
}
