//! Guests on networks: `echo` with a packet socket, which needs no privileges, and with TAP
//! interfaces.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command};
use std::time::Duration;

use crate::support::network::{in_network, open_tap, receive, tap};
use crate::support::{End, Kind, Running, guest, shell, tender};

const US: [u8; 6] = [2, 0, 0, 0, 0, 1];
const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 9];
const BROADCAST: [u8; 6] = [0xFF; 6];
const OUR_ADDRESS: [u8; 4] = [10, 0, 0, 1];
const GUEST_ADDRESS: [u8; 4] = [10, 0, 0, 2];
const TIMEOUT: Duration = Duration::from_mins(1);

const IFF_TAP: u16 = 2;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;

const MAC: &str = "--net-mac=service=02:00:00:00:00:09";
const ARGUMENTS: [&str; 2] = ["--", "--ipv4=10.0.0.2/24"];

/// `echo` with descriptor 5 as its network device, when it is ready; and the line that says so.
fn echo_on(descriptor: OwnedFd, kind: Kind, more: &[&str]) -> (Running, String) {
    let mut command = shell("exec \"$@\" 5<&0 </dev/null", ["run", "--mem=8", "--net=service=@5"]);
    command.stdin(descriptor).arg(MAC).arg(guest("echo", kind)).args(ARGUMENTS).args(more);
    ready(command.spawn().unwrap())
}

fn ready(mut child: Child) -> (Running, String) {
    let mut line = String::new();
    // What follows is read from the same pipe by no one: `echo` says one line.
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (Running(child), line)
}

fn frame(to: [u8; 6], kind: [u8; 2], payload: &[u8]) -> Vec<u8> {
    [&to[..], &US, &kind, payload].concat()
}

fn arp(target: [u8; 4]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    let payload = [&head[..], &US, &OUR_ADDRESS, &[0; 6], &target, &[0; 18]].concat();
    frame(BROADCAST, [8, 6], &payload)
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&byte| u32::from(byte)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xFFFF) + (sum >> 16);
    u16::try_from((sum & 0xFFFF) + (sum >> 16)).unwrap()
}

fn ipv4(to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut header =
        [&[0x45, 0], &len[..], &[0, 0, 0x40, 0, 64, protocol, 0, 0], &OUR_ADDRESS, &to].concat();
    let sum = !checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame(GUEST, [8, 0], &[&header[..], payload].concat())
}

fn ping(text: &[u8]) -> Vec<u8> {
    let mut message = [&[8, 0, 0, 0, 0x12, 0x34, 0, 1], text].concat();
    let sum = !checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

fn datagram(from: u16, to: u16, text: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + text.len()).unwrap();
    let header = [from, to, len, 0].map(u16::to_be_bytes);
    [header.as_flattened(), text].concat()
}

#[test]
fn echo_answers_arp_ping_and_datagrams_and_nothing_else() {
    for kind in Kind::available() {
        let (ours, peer) = UnixDatagram::pair().unwrap();
        peer.set_read_timeout(Some(TIMEOUT)).unwrap();
        let (mut machine, line) = echo_on(ours.into(), kind, &["--count=2"]);
        assert_eq!(line, "echo: 10.0.0.2/24 at 02:00:00:00:00:09, MTU 1500\n", "{kind:?}");
        let send = |frame: &[u8]| assert_eq!(peer.send(frame).unwrap(), frame.len());
        let answer = || receive(|room| peer.recv(room)).unwrap();
        // Nothing of this is answered: what is answered next is what comes next.
        for ignored in [
            &b"short"[..],
            &[0; 14],
            &arp([10, 0, 0, 3]),
            &ipv4([10, 0, 0, 3], 1, &ping(b"for another")),
            &ipv4(GUEST_ADDRESS, 6, &[0; 40]),
            &ipv4(GUEST_ADDRESS, 17, &datagram(1000, 9, b"discarded")),
            &ipv4(GUEST_ADDRESS, 17, &datagram(7, 7, b"for ever")),
            &ipv4(GUEST_ADDRESS, 1, &ping(b"cut"))[..40],
        ] {
            send(ignored);
        }
        send(&arp(GUEST_ADDRESS));
        let reply = answer();
        let head = [0, 1, 8, 0, 6, 4, 0, 2];
        let expected = [&US[..], &GUEST, &[8, 6], &head, &GUEST, &GUEST_ADDRESS, &US, &OUR_ADDRESS];
        assert_eq!(reply[..42], expected.concat(), "{kind:?}");
        assert_eq!(reply.len(), 60);

        send(&ipv4(GUEST_ADDRESS, 1, &ping(b"hello, guest")));
        let reply = answer();
        assert_eq!(reply[..12], [US, GUEST].concat());
        assert_eq!(reply[26..34], [GUEST_ADDRESS, OUR_ADDRESS].concat());
        assert_eq!((checksum(&reply[14..34]), checksum(&reply[34..])), (0xFFFF, 0xFFFF));
        assert_eq!((reply[34], &reply[42..]), (0, &b"hello, guest"[..]));

        // Behind it comes padding, which is no part of it.
        let mut padded = ipv4(GUEST_ADDRESS, 17, &datagram(1000, 7, b"echo"));
        padded.resize(60, 0xEE);
        send(&padded);
        let reply = answer();
        assert_eq!(reply[34..], datagram(7, 1000, b"echo"));
        assert_eq!(machine.0.wait().unwrap().code(), Some(0), "{kind:?}");
    }
}

/// A datagram that comes back, and `ping` of another sort: the ARP cache has the guest's address.
fn exchange() {
    let socket = UdpSocket::bind("10.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket.connect("10.0.0.2:7").unwrap();
    for text in [&b"hello"[..], &[0x5A; 1300]] {
        socket.send(text).unwrap();
        assert_eq!(receive(|room| socket.recv(room)).unwrap(), text);
    }
}

#[test]
fn a_guest_is_reached_through_a_tap_by_name() {
    in_network(&format!("{}; ip link set tap0 mtu 1400", tap("tap0", "10.0.0.1/24")), || {
        for kind in Kind::available() {
            let mut command = tender(["run", "--mem=8", "--net", "service=tap0", MAC]);
            command.arg(guest("echo", kind)).args(ARGUMENTS);
            let (machine, line) = ready(command.spawn().unwrap());
            assert_eq!(line, "echo: 10.0.0.2/24 at 02:00:00:00:00:09, MTU 1400\n", "{kind:?}");
            exchange();
            drop(machine);
        }
    });
}

#[test]
fn a_guest_is_reached_through_an_inherited_tap_whose_mtu_it_knows() {
    in_network(&format!("{}; ip link set tap0 mtu 1350", tap("tap0", "10.0.0.1/24")), || {
        for kind in Kind::available() {
            let (machine, line) = echo_on(open_tap("tap0", IFF_TAP | IFF_NO_PI), kind, &[]);
            assert_eq!(line, "echo: 10.0.0.2/24 at 02:00:00:00:00:09, MTU 1350\n", "{kind:?}");
            exchange();
            drop(machine);
        }
    });
}

#[test]
fn a_frame_that_the_interface_refuses_is_a_result() {
    in_network(&tap("tap0", "10.0.0.1/24"), || {
        for kind in Kind::available() {
            let files = crate::support::image::Files::new();
            let path = files.with(&[0; 4096]);
            let block = format!("--block=storage={}", path.to_str().unwrap());
            let mut command = tender(["run", "--mem=8", "--net=service=tap0", &block]);
            let end = End::of(command.arg(guest("abi", kind)));
            let refused = if kind == Kind::Hvt { "write 3" } else { "write -22" };
            let expected = format!("net, 13 bytes: {refused}\n");
            assert!(end.stdout.contains(&expected), "{}", end.stdout);
            assert_eq!((end.status, &*end.stderr), (0, ""), "{kind:?}");
        }
    });
}

/// What the tender says about a network device that it does not take.
fn refused(mut command: Command) -> String {
    let end = End::of(command.arg(guest("echo", Kind::Spt)));
    assert_eq!((end.status, &*end.stdout), (1, ""));
    let prefix = "vmm-tender: Could not attach interface: ";
    end.stderr.strip_prefix(prefix).unwrap_or_else(|| panic!("{}", end.stderr)).trim_end().into()
}

#[test]
fn interfaces_that_cannot_be_attached_are_refused() {
    let taps = format!("{}; ip tuntap add dev down mode tap", tap("taken", "10.0.0.1/24"));
    in_network(&taps, || {
        let by_name = |name: &str| refused(tender(["run", "--net", &format!("service={name}")]));
        assert_eq!(by_name("none"), "none: No such device (os error 19)");
        assert_eq!(by_name("down"), "down: Network is down (os error 100)");
        assert_eq!(by_name("lo"), "lo: Invalid argument (os error 22)");
        let holder = open_tap("taken", IFF_TAP | IFF_NO_PI);
        assert_eq!(by_name("taken"), "taken: Device or resource busy (os error 16)");
        drop(holder);

        let by_number = |descriptor: OwnedFd| {
            let script = "exec \"$@\" 5<&0 </dev/null";
            let mut command = shell(script, ["run", "--net", "service=@5"]);
            command.stdin(descriptor);
            refused(command)
        };
        let headers = by_number(open_tap("taken", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR));
        assert_eq!(headers, "@5: its frames have headers (IFF_VNET_HDR)");
        let tun = by_number(open_tap("tun0", 1 | IFF_NO_PI));
        assert_eq!(tun, "@5: it is attached to a TUN interface, not to a TAP");
        let file = by_number(tempfile::tempfile().unwrap().into());
        assert_eq!(file, "@5: it is no TAP descriptor");
    });
}
