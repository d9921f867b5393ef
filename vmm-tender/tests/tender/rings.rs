//! The network ring of hvt guests: `echo` uses it, `abi` abuses it.

use std::io::{self, BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use crate::support::image::Files;
use crate::support::links::{Links, text};
use crate::support::network::receive;
use crate::support::{End, Kind, Running, guest, has_memory, kvm, shell};

const TIMEOUT: Duration = Duration::from_mins(1);

/// Frames that are sent before any answer is read: fewer than a socket takes without a reader.
const BURST: u16 = 8;

/// `abi` with a packet socket and a file as its devices.
fn abi(options: &[&str], what: &str) -> End {
    let files = Files::new();
    let block = format!("--block=storage={}", text(&files.with(&[0; 4096])));
    let (ours, peer) = UnixDatagram::pair().unwrap();
    let script = "exec \"$@\" 5<&0 </dev/null";
    let mut command = shell(script, ["run", "--mem=8", "--net=service=@5", &block]);
    command.stdin(std::os::fd::OwnedFd::from(ours)).args(options);
    let end = End::of(command.arg(guest("abi", Kind::Hvt)).args(["--", what]));
    drop(peer);
    end
}

#[test]
fn a_guest_that_abuses_its_ring_is_ended_with_the_reason() {
    if !kvm() {
        return;
    }
    for (what, reason) in [
        ("overfull", "network ring: 1025 entries wait, at most 1024 can"),
        ("backwards", "network ring: 4294967295 entries wait, at most 1024 can"),
        ("send-past", "access: gpa=0xfffff000, sz=512"),
        ("send-ring", "access: gpa=0x800000, sz=60"),
        ("send-huge", "access: gpa=0x"),
        ("around", "access: gpa=0xfffffffffffffff6, sz=60"),
        ("receive-text", "access: gpa=0x"),
        ("receive-low", "access: gpa=0x10000, sz=1514"),
        ("receive-ring", "access: gpa=0x800080, sz=1514"),
    ] {
        let end = abi(&[], &format!("--forbidden=ring-{what}"));
        let expected = format!("vmm-tender: Invalid guest {reason}");
        assert!(end.stderr.starts_with(&expected), "{what}: {}", end.stderr);
        assert!(end.stderr.contains("\n  at   0x"), "{what}: {}", end.stderr);
        assert_eq!((end.status, &*end.stdout), (1, ""), "{what}");
    }
    // What lies behind the ring is no memory.
    let end = abi(&[], "--forbidden=ring-beyond");
    let fault = "vmm-tender: KVM: host/guest translation fault: rip=0x";
    assert!(end.stderr.starts_with(fault), "{}", end.stderr);
    assert_eq!((end.status, &*end.stdout), (1, ""));
}

#[test]
fn a_ring_that_is_turned_off_does_not_exist() {
    if !kvm() {
        return;
    }
    let end = abi(&["--no-net-ring"], "");
    assert_eq!((end.status, &*end.stderr), (0, ""));
    assert!(end.stdout.ends_with("\nring: none\n"), "{}", end.stdout);
    let kicked = abi(&["--no-net-ring"], "--forbidden=ring-none");
    let expected = "vmm-tender: Invalid guest port access: port=0x600\n";
    assert!(kicked.stderr.starts_with(expected), "{}", kicked.stderr);
    assert_eq!(abi(&[], "--forbidden=ring-none").stdout, "abi: still here\n");
}

#[test]
fn the_ring_takes_2_mib_on_top_and_of_4_gib_the_last_two() {
    if !kvm() {
        return;
    }
    let top = |options: &[&str], name: &str| {
        let (ours, _peer) = UnixDatagram::pair().unwrap();
        let mut command = shell("exec \"$@\" 5<&0 </dev/null", ["run"]);
        command.stdin(std::os::fd::OwnedFd::from(ours)).args(options);
        command.arg(guest(name, Kind::Hvt)).args(["--", "--solo5:debug"]);
        let said = End::of(&mut command).stdout;
        let (_, top) = said.lines().next().unwrap().split_once("stack up to ").unwrap();
        top.to_owned()
    };
    let net = "--net=service=@5";
    assert_eq!(top(&["--mem=8", net], "echo"), "0x800000");
    if !has_memory(4096) {
        return;
    }
    assert_eq!(top(&["--mem=4096", net], "echo"), "0xffe00000");
    assert_eq!(top(&["--mem=4096", "--no-net-ring", net], "echo"), "0x100000000");
    assert_eq!(top(&["--mem=4096"], "hello"), "0x100000000");
}

#[test]
fn the_tender_offers_it_by_the_name_of_the_one_that_it_replaces() {
    if !kvm() {
        return;
    }
    let links = Links::new();
    let block = format!("--block:storage={}", text(&links.files.with(&[0; 4096])));
    let (ours, _peer) = UnixDatagram::pair().unwrap();
    let end = End::of(
        std::process::Command::new("sh")
            .args(["-c", "exec \"$@\" 5<&0 </dev/null", "sh"])
            .args([&text(&links.files.path("solo5-hvt")), "--mem=8", &block, "--net:service=@5"])
            .arg(guest("abi", Kind::Hvt))
            .stdin(std::os::fd::OwnedFd::from(ours))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    assert_eq!((end.status, &*end.stderr), (0, ""));
    assert!(end.stdout.contains("\nring, at first: taken 0 committed 0 "), "{}", end.stdout);
}

/// An Ethernet frame with a datagram to port 7 of 10.0.0.2, whose checksums nobody looks at.
fn datagram(number: u16) -> Vec<u8> {
    let len = 200 + usize::from(number % 1000);
    let mut frame = vec![0; len];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 8, 0]);
    frame[14..18].copy_from_slice(&[0x45, 0, 0, 0]);
    frame[16..18].copy_from_slice(&u16::try_from(len - 14).unwrap().to_be_bytes());
    frame[23] = 17;
    frame[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    frame[34..38].copy_from_slice(&[0x12, 0x34, 0, 7]);
    frame[len - 2..].copy_from_slice(&number.to_be_bytes());
    frame
}

/// The next frame of the guest.
fn answer(peer: &UnixDatagram) -> io::Result<Vec<u8>> {
    receive(|room| peer.recv(room))
}

#[test]
fn every_frame_comes_back_once_and_in_order_with_the_ring_and_without() {
    if !kvm() {
        return;
    }
    for (option, argument) in
        [("--mem=8", ""), ("--no-net-ring", ""), ("--mem=8", "--solo5:no-net-ring")]
    {
        let (ours, peer) = UnixDatagram::pair().unwrap();
        peer.set_read_timeout(Some(TIMEOUT)).unwrap();
        let script = "exec \"$@\" 5<&0 </dev/null";
        let mut command = shell(script, ["run", option, "--net=service=@5"]);
        command.stdin(std::os::fd::OwnedFd::from(ours));
        command.arg("--net-mac=service=02:00:00:00:00:09").arg(guest("echo", Kind::Hvt));
        // More than the ring has places, so that its indices come around.
        let count = 1200;
        let count_argument = format!("--count={count}");
        command.args(["--", argument, "--ipv4=10.0.0.2/24", &count_argument]);
        let mut machine = Running(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(machine.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        for first in (0..count).step_by(usize::from(BURST)) {
            for number in first..first + BURST {
                peer.send(&datagram(number)).unwrap();
            }
            for number in first..first + BURST {
                let answer = answer(&peer).unwrap_or_else(|error| {
                    let state = machine.0.try_wait();
                    panic!("{option} {argument}, frame {number}: {error}; machine: {state:?}")
                });
                let sent = datagram(number);
                assert_eq!(answer.len(), sent.len(), "{option} {argument}, frame {number}");
                assert_eq!(answer[38..], sent[38..], "{option} {argument}, frame {number}");
            }
        }
        assert_eq!(machine.0.wait().unwrap().code(), Some(0), "{option} {argument}");
    }
}
