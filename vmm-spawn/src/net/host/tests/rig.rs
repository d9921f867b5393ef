//! Hosts, what is on them, and packets between them.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use vmm_proto::message::spawn::{FromSpawn, HostNetwork};
use vmm_testkit::until;

use crate::net::host::HostNetworks;
use crate::net::host::rules::Rules;
use crate::net::nft::Nft;
use crate::net::tests::empty_network;
pub(super) use crate::net::tests::{ip, run};

/// How long a packet may take that must come.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Another host: a network namespace that lives as long as a process.
pub(super) struct Host(Child);

impl Host {
    pub(super) fn new() -> Self {
        let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
        let mut command = Command::new("unshare");
        let child = command.args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let this = Self(child);
        until("another namespace", || {
            (!fs::read_link(this.namespace()).is_ok_and(|its| its == own)).then_some(())
        });
        this
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    pub(super) fn ip(&self, arguments: &str) {
        let target = self.0.id().to_string();
        let mut command = Command::new("nsenter");
        let command = command.args(["-t", &target, "-n", "ip"]).args(arguments.split(' '));
        run(command, arguments);
    }

    /// A socket of that host.
    pub(super) fn socket(&self, address: &str) -> UdpSocket {
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

pub(super) fn network(name: &str, address: [u8; 4], uplink: Option<&str>) -> HostNetwork {
    let uplink = uplink.map(str::to_owned);
    HostNetwork { name: name.to_owned(), address: address.into(), prefix: 24, uplink }
}

pub(super) fn networks() -> HostNetworks {
    HostNetworks::new(Path::new("/run/test"), ["ext"].into_iter())
}

/// What became of each, by its name.
pub(super) fn states(networks: &HostNetworks) -> BTreeMap<String, Option<String>> {
    match networks.message(Vec::new()) {
        FromSpawn::HostNetworks { states, .. } => {
            states.into_iter().map(|state| (state.name, state.problem)).collect()
        }
        other => panic!("{other:?}"),
    }
}

pub(super) fn problem(networks: &HostNetworks, name: &str) -> String {
    states(networks).remove(name).flatten().unwrap_or_else(|| panic!("{name} has no problem"))
}

/// Everything about this host that a host network could change. Not whether there is a carrier, nor what
/// comes with it, such as routes of IPv6: the kernel finds that out in its own time.
pub(super) fn census() -> Vec<String> {
    let routes = ip("-4 route show table all").replace(" linkdown", "");
    let mut census: Vec<String> = routes.lines().map(str::to_owned).collect();
    census.push(ip("-o -4 addr"));
    for (what, shown) in [("there", "-o link show"), ("up", "-o link show up")] {
        // The number, the name, and what was written on it.
        let links = ip(shown);
        let alias =
            |line: &str| line.split_once("alias ").map_or("", |(_, alias)| alias).to_owned();
        let name = |line: &str| line.split('<').next().unwrap_or(line).to_owned();
        census.extend(links.lines().map(|line| format!("{what} {}{}", name(line), alias(line))));
    }
    census.push(run(Command::new("nft").args(["list", "ruleset"]), "nft"));
    let mut settings: Vec<_> = fs::read_dir("/proc/sys/net/ipv4/conf").unwrap().collect();
    settings.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    for entry in settings {
        let path = entry.unwrap().path().join("forwarding");
        census.push(format!("{}: {}", path.display(), fs::read_to_string(&path).unwrap()));
    }
    census
}

/// A host of its own for this thread, with an uplink as by [`with_uplink`]. `None` if it may not have
/// that.
pub(super) fn uplinked() -> Option<Host> {
    empty_network()?;
    Some(with_uplink())
}

/// Host networks that are as they should be.
pub(super) fn made(wanted: &[HostNetwork]) -> HostNetworks {
    let mut networks = networks();
    networks.tell(1, wanted, Instant::now());
    assert!(states(&networks).values().all(Option::is_none), "{:?}", states(&networks));
    networks
}

/// An uplink `up0`, behind which is another host.
pub(super) fn with_uplink() -> Host {
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
pub(super) fn on_bridge(bridge: &str, address: &str, gateway: &str) -> Host {
    let inside = behind("port0", bridge, address);
    inside.ip(&format!("route add default via {gateway}"));
    inside
}

/// A machine that speaks with another host.
pub(super) struct Machine {
    pub(super) host: Host,
    socket: UdpSocket,
    other: UdpSocket,
}

impl Machine {
    /// On host network `nat0` or `nat1`; `outside` is behind the uplink.
    pub(super) fn on(bridge: &str, outside: &Host) -> Self {
        let number = bridge.strip_prefix("nat").unwrap();
        let host = on_bridge(bridge, &format!("10.7.{number}.2/24"), &format!("10.7.{number}.1"));
        let socket = host.socket(&format!("10.7.{number}.2:7"));
        Self { host, socket, other: outside.socket("203.0.113.2:7") }
    }

    /// The other one hears it, under this host's address, and is heard.
    pub(super) fn is_answered(&self) {
        assert_eq!(asks(&self.socket, &self.other), "203.0.113.1");
    }
}

/// A host on a bridge, behind this interface, which has an address as those of machines.
pub(super) fn behind(port: &str, bridge: &str, address: &str) -> Host {
    let inside = Host::new();
    ip(&format!("link add {port} type veth peer name eth0 netns {}", inside.0.id()));
    let number = port.as_bytes().last().unwrap();
    ip(&format!("link set {port} address fe:00:00:00:00:{number:02x}"));
    ip(&format!("link set {port} master {bridge}"));
    ip(&format!("link set {port} up"));
    // One that the kernel makes up begins as that of a host's side once in 64 times.
    inside.ip(&format!("link set eth0 address 02:00:00:00:00:{number:02x}"));
    inside.ip(&format!("addr add {address} dev eth0"));
    inside.ip("link set eth0 up");
    inside
}

/// Sends and is answered; returns as whom the other side saw the sender. It asks again until then: what
/// is sent before an interface has found its carrier is lost.
pub(super) fn asks(from: &UdpSocket, to: &UdpSocket) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (question, answer) = (format!("question {number}"), format!("answer {number}"));
        from.send_to(question.as_bytes(), to.local_addr().unwrap()).unwrap();
        let Some(seen) = hears(to, &question) else { continue };
        to.send_to(answer.as_bytes(), seen).unwrap();
        if hears(from, &answer).is_some() {
            return seen.ip().to_string();
        }
    }
    panic!("no answer within {PATIENCE:?}");
}

/// Who says this, if it comes soon. What was said earlier is left out.
fn hears(socket: &UdpSocket, text: &str) -> Option<SocketAddr> {
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut buffer = [0; 32];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((length, who)) if buffer[..length] == *text.as_bytes() => return Some(who),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The bridges that machines may be put on.
pub(super) fn offered(networks: &HostNetworks) -> Vec<String> {
    networks.bridges().map(str::to_owned).collect()
}

/// What `ip` shows of an interface: whether it is up, and more.
pub(super) fn flags(interface: &str) -> String {
    let shown = ip(&format!("-o link show dev {interface}"));
    let flags = shown.split(['<', '>']).nth(1).unwrap();
    flags.to_owned()
}

/// Waits until an interface is gone: the kernel removes it some time after the host behind it.
pub(super) fn gone(interface: &str) {
    let what = format!("{interface} is gone");
    until(&what, || (!ip("-br link").contains(interface)).then_some(()));
}

/// From now on, every order to the packet filter fails.
pub(super) fn break_nft(networks: &mut HostNetworks) {
    let program = vec!["/bin/false".into()];
    networks.rules = Rules::new(networks.mark.table(), Nft::of(program, PATIENCE));
}

/// No more.
pub(super) fn mend_nft(networks: &mut HostNetworks) {
    networks.rules = Rules::new(networks.mark.table(), Nft::of_host());
}
