//! On a host of its own: a network namespace with an uplink to another one.

use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use vmm_proto::message::spawn::{FromSpawn, HostNetwork};

use super::HostNetworks;
use crate::net::tests::empty_network;

/// How long a packet may take that must come.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs `ip` in the namespace of this thread, which must succeed.
fn ip(arguments: &str) -> String {
    run(Command::new("ip").args(arguments.split(' ')), arguments)
}

fn run(command: &mut Command, what: &str) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Another host: a network namespace that lives as long as a process.
struct Host(Child);

impl Host {
    fn new() -> Self {
        let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
        let mut command = Command::new("unshare");
        let child = command.args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let this = Self(child);
        let deadline = Instant::now() + PATIENCE;
        while fs::read_link(this.namespace()).is_ok_and(|its| its == own) {
            assert!(Instant::now() < deadline, "there is no other namespace");
            thread::sleep(Duration::from_millis(5));
        }
        this
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    fn ip(&self, arguments: &str) {
        let target = self.0.id().to_string();
        let mut command = Command::new("nsenter");
        let command = command.args(["-t", &target, "-n", "ip"]).args(arguments.split(' '));
        run(command, arguments);
    }

    /// A socket of that host.
    fn socket(&self, address: &str) -> UdpSocket {
        let namespace = OwnedFd::from(fs::File::open(self.namespace()).unwrap());
        let address = address.to_owned();
        let bind = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            UdpSocket::bind(address).unwrap()
        };
        let socket = thread::spawn(bind).join().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn network(name: &str, address: [u8; 4], uplink: Option<&str>) -> HostNetwork {
    let uplink = uplink.map(str::to_owned);
    HostNetwork { name: name.to_owned(), address: address.into(), prefix: 24, uplink }
}

fn networks() -> HostNetworks {
    HostNetworks::new(Path::new("/run/test"), ["ext"].into_iter())
}

/// What became of each, by its name.
fn states(networks: &HostNetworks) -> BTreeMap<String, Option<String>> {
    match networks.message(Vec::new()) {
        FromSpawn::HostNetworks { states, .. } => {
            states.into_iter().map(|state| (state.name, state.problem)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn problem(networks: &HostNetworks, name: &str) -> String {
    states(networks).remove(name).flatten().unwrap_or_else(|| panic!("{name} has no problem"))
}

/// Everything about this host that a host network could change.
fn census() -> Vec<String> {
    let mut census = vec![ip("-br addr"), ip("route show table all")];
    census.push(run(Command::new("nft").args(["list", "ruleset"]), "nft"));
    let mut settings: Vec<_> = fs::read_dir("/proc/sys/net/ipv4/conf").unwrap().collect();
    settings.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    for entry in settings {
        let path = entry.unwrap().path().join("forwarding");
        census.push(format!("{}: {}", path.display(), fs::read_to_string(&path).unwrap()));
    }
    census
}

/// An uplink `up0`, behind which is another host.
fn with_uplink() -> Host {
    let outside = Host::new();
    ip("link set lo up");
    ip(&format!("link add up0 type veth peer name out0 netns {}", outside.0.id()));
    ip("addr add 203.0.113.1/24 dev up0");
    ip("link set up0 up");
    outside.ip("addr add 203.0.113.2/24 dev out0");
    outside.ip("link set out0 up");
    outside
}

/// A host on a bridge, in the place of a machine, behind the interface `port0`.
fn on_bridge(bridge: &str, address: &str, gateway: &str) -> Host {
    let inside = Host::new();
    ip(&format!("link add port0 type veth peer name eth0 netns {}", inside.0.id()));
    ip(&format!("link set port0 master {bridge}"));
    ip("link set port0 up");
    inside.ip(&format!("addr add {address} dev eth0"));
    inside.ip("link set eth0 up");
    inside.ip(&format!("route add default via {gateway}"));
    inside
}

/// Sends and is answered; returns as whom the other side saw the sender.
fn asks(from: &UdpSocket, to: &UdpSocket) -> String {
    let mut buffer = [0; 16];
    from.send_to(b"question", to.local_addr().unwrap()).unwrap();
    let (length, seen) = to.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"question");
    to.send_to(b"answer", seen).unwrap();
    let (length, _) = from.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"answer");
    seen.ip().to_string()
}

#[test]
fn machines_reach_others_under_the_hosts_address_and_nobody_opens_a_connection_to_them() {
    if empty_network().is_none() {
        return;
    }
    let outside = with_uplink();
    let before = census();
    let mut networks = networks();
    let now = Instant::now();
    networks.tell(1, &[network("nat0", [10, 7, 0, 1], Some("up0"))], now);
    assert_eq!(states(&networks), BTreeMap::from([("nat0".to_owned(), None)]));
    let inside = on_bridge("nat0", "10.7.0.2/24", "10.7.0.1");
    let (machine, other) = (inside.socket("10.7.0.2:7"), outside.socket("203.0.113.2:7"));
    assert_eq!(asks(&machine, &other), "203.0.113.1");

    // Whoever pretends to be somebody else is not passed on; what follows is.
    inside.ip("addr add 10.9.9.9/32 dev eth0");
    let spoof = inside.socket("10.9.9.9:7");
    spoof.send_to(b"lie", other.local_addr().unwrap()).unwrap();
    assert_eq!(asks(&machine, &other), "203.0.113.1");

    // Nor is a connection from outside, to which there is a route.
    outside.ip("route add 10.7.0.0/24 via 203.0.113.1");
    let served = inside.socket("10.7.0.2:9");
    outside.socket("203.0.113.2:9").send_to(b"hello", "10.7.0.2:9").unwrap();
    assert_eq!(asks(&machine, &other), "203.0.113.1");
    served.set_nonblocking(true).unwrap();
    let nothing = served.recv_from(&mut [0; 16]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);

    // Told again, nothing changes.
    let with = census();
    networks.tell(2, &[network("nat0", [10, 7, 0, 1], Some("up0"))], now);
    assert_eq!(census(), with);

    // It is not removed under a machine, but carries nothing; then it is, with all that it brought.
    networks.tell(3, &[], now);
    assert!(problem(&networks, "nat0").contains("1 interfaces are still on it"));
    assert_eq!(networks.deadline(), Some(now + super::AGAIN));
    // Sockets of it keep it alive.
    drop((machine, spoof, served, inside));
    let deadline = Instant::now() + PATIENCE;
    while ip("-br link").contains("port0") {
        assert!(Instant::now() < deadline, "the port is still there");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(networks.on_time(now + super::AGAIN));
    assert_eq!((states(&networks), networks.deadline()), (BTreeMap::new(), None));
    assert_eq!(census(), before);
}

#[test]
fn without_an_uplink_the_way_of_last_resort_is_taken() {
    if empty_network().is_none() {
        return;
    }
    let outside = with_uplink();
    ip("route add default via 203.0.113.2");
    let mut networks = networks();
    let both = [network("nat0", [10, 7, 0, 1], None), network("nat1", [10, 7, 1, 1], None)];
    networks.tell(1, &both, Instant::now());
    assert!(states(&networks).values().all(Option::is_none), "{:?}", states(&networks));
    let inside = on_bridge("nat1", "10.7.1.2/24", "10.7.1.1");
    let (machine, other) = (inside.socket("10.7.1.2:7"), outside.socket("203.0.113.2:7"));
    assert_eq!(asks(&machine, &other), "203.0.113.1");
    // One of them goes, the other one stays as it is.
    networks.tell(2, &both[1..], Instant::now());
    assert_eq!(asks(&machine, &other), "203.0.113.1");
    assert!(!ip("-br link").contains("nat0"));
}

#[test]
fn what_belongs_to_others_is_never_changed_and_what_is_in_the_way_is_named() {
    if empty_network().is_none() {
        return;
    }
    let _outside = with_uplink();
    ip("link add theirs type bridge");
    ip("link set theirs alias theirs");
    ip("route add 10.8.0.0/16 via 203.0.113.2");
    let before = census();
    let mut networks = networks();
    for (wanted, says) in [
        (network("theirs", [10, 7, 0, 1], None), "\"theirs\" that is no host network"),
        (network("ext", [10, 7, 0, 1], None), "is named by --bridge"),
        (network("nat0", [10, 7, 0, 1], Some("up1")), "no interface \"up1\""),
        (network("nat0", [203, 0, 113, 9], None), "not in a private network"),
        (network("nat0", [10, 8, 9, 1], None), "10.8.0.0/16 through interface \"up0\""),
        (network("../x", [10, 7, 0, 1], None), "is not a bridge name"),
        (network("all", [10, 7, 0, 1], None), "cannot be called"),
    ] {
        let name = wanted.name.clone();
        networks.tell(1, &[wanted], Instant::now());
        let problem = problem(&networks, &name);
        assert!(problem.contains(says), "{problem}");
        assert_eq!(census(), before, "{name}");
    }
    let many: Vec<_> = (0..17).map(|i| network(&format!("n{i}"), [10, 1, i, 1], None)).collect();
    networks.tell(2, &many, Instant::now());
    assert_eq!(networks.bridges().count(), 16);
    assert!(problem(&networks, "n16").contains("16 host networks already"));
    let twice = [network("nat0", [10, 7, 0, 1], None), network("nat1", [10, 7, 0, 9], None)];
    networks.tell(3, &twice, Instant::now());
    assert!(problem(&networks, "nat1").contains("in common with host network \"nat0\""));
    networks.tell(4, &[], Instant::now());
    assert_eq!(census(), before);
}

#[test]
fn an_uplink_that_comes_later_is_taken_and_forwarding_of_the_admin_stays() {
    if empty_network().is_none() {
        return;
    }
    let mut networks = networks();
    let now = Instant::now();
    networks.tell(1, &[network("nat0", [10, 7, 0, 1], Some("up0"))], now);
    assert!(problem(&networks, "nat0").contains("no interface \"up0\""));
    assert!(!networks.on_time(now), "not yet");
    ip("link add up0 type veth peer name far0");
    fs::write("/proc/sys/net/ipv4/conf/up0/forwarding", "1").unwrap();
    let before = census();
    assert!(networks.on_time(now + super::AGAIN));
    assert_eq!(states(&networks), BTreeMap::from([("nat0".to_owned(), None)]));
    assert!(!census().concat().contains("forwarding switched on"), "it was on");
    networks.tell(2, &[], now);
    assert_eq!(census(), before);
}
