//! Machines on networks: each test has a network namespace of its own, in which it and its daemon
//! are the host.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use vmm_proto::message::Exit;
use vmm_proto::message::spawn::{FromSpawn, Interface, Role, Start, ToSpawn};
use vmm_proto::resource::TapName;
use vmm_spawn::net::link::Link;
use vmm_spawn::net::netlink::Netlink;
use vmm_spawn::net::owner::Owner;
use vmm_spawn::net::tun;
use vmm_testkit::{skipped, until};

use crate::harness::{Client, Daemon, id, program, run_of, start};
use crate::jail::hostile;

/// A network, as this test's thread and what it starts are in it.
struct Host(Netlink);

impl Host {
    /// With these bridges.
    fn new(bridges: &[&str]) -> Option<Self> {
        if !geteuid().is_root() {
            skipped("machines on networks, which only root can have");
            return None;
        }
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let mut this = Self(Netlink::open().unwrap());
        for bridge in bridges {
            this.make_bridge(bridge);
        }
        Some(this)
    }

    fn make_bridge(&mut self, name: &str) {
        let mut order = LinkMessage::default();
        order.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        self.0.order(RouteNetlinkMessage::NewLink(order), NLM_F_CREATE | NLM_F_EXCL).unwrap();
        let index = self.link(name).index;
        self.0.set_up(index, true).unwrap();
    }

    fn remove(&mut self, name: &str) {
        let index = self.link(name).index;
        self.0.delete_link(index).unwrap();
    }

    fn link(&mut self, name: &str) -> Link {
        self.0.link(name).unwrap().unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// The taps that there are, by name.
    fn taps(&mut self) -> Vec<Link> {
        let links = self.0.links().unwrap();
        let mut taps: Vec<_> =
            links.into_iter().filter(|link| link.kind == Some(InfoKind::Tun)).collect();
        taps.sort_by(|one, other| one.name.cmp(&other.name));
        taps
    }

    /// No machine has left anything.
    #[track_caller]
    fn is_empty(&mut self) {
        assert_eq!(self.taps(), []);
        assert_eq!(filters(), [""; 0]);
    }

    fn becomes_empty(&mut self) {
        let empty = || (self.taps().is_empty() && filters().is_empty()).then_some(());
        until("all taps and their filters are gone", empty);
    }
}

/// The tables of rules about single interfaces: each outlives its interface.
fn filters() -> Vec<String> {
    let output = Command::new("/usr/sbin/nft").args(["list", "tables", "netdev"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn network(device: &str, bridge: &str, last: u8) -> Interface {
    let (device, bridge) = (device.to_owned(), bridge.to_owned());
    let mac = [2, 0, 0, 0, 0, last];
    Interface { device, bridge, mac, address: None, address6: None, group: None }
}

impl Client {
    fn start_on(&self, number: u8, image: &File, arguments: &[&str], networks: &[Interface]) {
        let start = Start { networks: networks.to_vec(), ..start(id(number), arguments) };
        self.send_with(&ToSpawn::Start(start), &[image.as_fd()]);
    }

    fn run_on(
        &mut self,
        number: u8,
        image: &File,
        arguments: &[&str],
        networks: &[Interface],
    ) -> u32 {
        self.start_on(number, image, arguments, networks);
        match self.next() {
            FromSpawn::Started { id: started, pid, .. } if started == id(number) => pid,
            other => panic!("{other:?}"),
        }
    }

    fn refused_on(&mut self, number: u8, image: &File, networks: &[Interface]) -> String {
        self.start_on(number, image, &[], networks);
        self.start_fails(id(number))
    }

    fn stop(&mut self, number: u8) {
        let id = id(number);
        self.send(&ToSpawn::Stop { id, run: run_of(id), force: true });
        self.exit(id);
        self.send(&ToSpawn::EndSeen { id, run: run_of(id) });
    }
}

/// A program that owns the table of groups, which nobody else may change as long as it runs.
struct Holder {
    nft: Child,
    /// Open as long as it may print something.
    _prints: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    fn new() -> Self {
        let mut nft = Command::new("/usr/sbin/nft");
        let mut nft = nft.arg("-i").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let words = b"add table bridge vmm-groups { flags owner; }\nlist tables bridge\n";
        nft.stdin.as_mut().unwrap().write_all(words).unwrap();
        let mut lines = BufReader::new(nft.stdout.take().unwrap()).lines();
        assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("vmm-groups")));
        Self { nft, _prints: lines }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.nft.kill().unwrap();
        self.nft.wait().unwrap();
    }
}

#[test]
fn without_filters_nothing_fails_but_the_starts_of_machines_on_networks() {
    let Some(mut host) = Host::new(&["ext"]) else { return };
    let held = Holder::new();
    let daemon = Daemon::start_for(&["--bridge", "ext"]);
    daemon.logs("as it is, no machine starts on a bridge");
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", WAIT);
    let networks = [network("service", "ext", 1)];
    let said = supervisor.refused_on(1, &image, &networks);
    assert!(said.contains("what machines send cannot be filtered"), "{said}");
    host.is_empty();
    supervisor.run_on(2, &image, &[], &[]);
    supervisor.stop(2);
    drop(held);
    supervisor.run_on(1, &image, &[], &networks);
    supervisor.stop(1);
}

/// Runs until it is ended.
const WAIT: &str = "say ready; while :; do /bin/sleep 60; done";

#[test]
fn a_machine_has_its_taps_until_it_ends() {
    let Some(mut host) = Host::new(&["a-15-bytes-long", "ext"]) else { return };
    let index = host.link("ext").index;
    host.0.change_link(index, vec![LinkAttribute::Mtu(1400)]).unwrap();
    let daemon = Daemon::start_for(&["--bridge", "a-15-bytes-long", "--bridge", "ext"]);
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    assert_eq!(supervisor.bridges, ["a-15-bytes-long", "ext"]);
    let census = daemon.census();
    let image = daemon.image("image", &format!("echo $nets; {WAIT}"));
    let networks = [network("service", "a-15-bytes-long", 1), network("storage", "ext", 2)];
    supervisor.run_on(1, &image, &[], &networks);
    let (_, ring) = console.ring();
    let taps = host.taps();
    let names = [0, 1].map(|index| TapName::of(id(1), index).to_string());
    assert_eq!(taps.iter().map(|tap| tap.name.clone()).collect::<Vec<_>>(), names);
    for (tap, (bridge, mtu)) in taps.iter().zip([("a-15-bytes-long", 1500), ("ext", 1400)]) {
        assert_eq!((tap.is_up, tap.mtu), (true, mtu));
        assert_eq!(tap.controller, Some(host.link(bridge).index));
    }
    // Its own copies are closed: what the daemon has more are those of any machine, but for the moment
    // in which it asks the kernel something.
    daemon.comes_back_to((census.0 + 5, census.1 + 1));
    let text = until("its words", || Some(ring.text()).filter(|text| text.ends_with('\n')));
    let words: Vec<_> = text.split_whitespace().collect();
    let [net, mac, mtu, net2, mac2, mtu2] = words[..] else { panic!("{text}") };
    assert!(net.starts_with("--net=service=@") && net2.starts_with("--net=storage=@"), "{text}");
    assert_eq!(mac, "--net-mac=service=02:00:00:00:00:01");
    assert_eq!(mac2, "--net-mac=storage=02:00:00:00:00:02");
    assert_eq!([mtu, mtu2], ["--net-mtu=service=1500", "--net-mtu=storage=1400"]);
    supervisor.stop(1);
    host.is_empty();
    supervisor.send(&ToSpawn::Forget { id: id(1) });
    daemon.comes_back_to(census);
}

#[test]
fn taps_go_with_a_tender_that_is_killed() {
    let Some(mut host) = Host::new(&["ext"]) else { return };
    let daemon = Daemon::start_for(&["--bridge", "ext"]);
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", WAIT);
    let pid = supervisor.run_on(1, &image, &[], &[network("service", "ext", 1)]);
    assert_eq!(host.taps().len(), 1);
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(supervisor.exit(id(1)).0, Exit::Signal(9));
    host.is_empty();
}

#[test]
fn machines_keep_their_taps_when_the_daemon_is_killed_and_lose_them_at_their_end() {
    let Some(mut host) = Host::new(&["ext"]) else { return };
    let mut daemon = Daemon::start_for(&["--bridge", "ext"]);
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", WAIT);
    supervisor.run_on(1, &image, &[], &[network("service", "ext", 1)]);
    let before = host.taps();
    daemon.kill();
    // Of timers of the port, the kernel says another thing each time.
    let numbers = |taps: &[Link]| taps.iter().map(|tap| (tap.index, tap.is_up)).collect::<Vec<_>>();
    assert_eq!(numbers(&host.taps()), numbers(&before));
    // What earlier ones have left, of a machine that does not run any more, and of others.
    let held = [("left", true), ("foreign", false)].map(|(name, ours)| {
        let descriptor = tun::make(name).unwrap();
        let dir = if ours { daemon.dir.path().join("run") } else { PathBuf::from("/elsewhere") };
        let dir = if ours { dir.canonicalize().unwrap() } else { dir };
        let alias = LinkAttribute::IfAlias(Owner::of_directory(&dir).alias(id(7)));
        let index = host.link(name).index;
        host.0.change_link(index, vec![alias]).unwrap();
        descriptor
    });
    daemon.again(None);
    let names: Vec<_> = host.taps().into_iter().map(|tap| tap.name).collect();
    assert_eq!(names, ["foreign".to_owned(), before[0].name.clone()]);
    drop(held);
    // A child that another thread starts has it, too, until it is another program.
    let gone = || (host.taps().iter().all(|tap| tap.name != "foreign")).then_some(());
    until("the foreign tap is gone", gone);
    let mut supervisor = daemon.supervisor();
    assert_eq!(supervisor.known, 1);
    assert!(matches!(supervisor.next(), FromSpawn::Known { pid: Some(_), .. }));
    supervisor.stop(1);
    host.is_empty();
}

/// What the program of that name prints, in the same network.
fn nft(arguments: &[&str]) -> String {
    let output = Command::new("/usr/sbin/nft").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_machine_is_filtered_again_after_a_flush_by_its_daemon_and_by_the_next_one() {
    let Some(_host) = Host::new(&["ext"]) else { return };
    let mut daemon = Daemon::start_for(&["--bridge", "ext"]);
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", WAIT);
    supervisor.run_on(1, &image, &[], &[network("service", "ext", 1)]);
    let rules = nft(&["list", "ruleset"]);
    assert!(rules.contains(TapName::of(id(1), 0).as_str()) && rules.contains("vmm-groups"));
    nft(&["flush", "ruleset"]);
    daemon.logs("its filter is made again while its machine runs: it was gone");
    until("all rules", || (nft(&["list", "ruleset"]) == rules).then_some(()));
    daemon.kill();
    nft(&["flush", "ruleset"]);
    daemon.again(None);
    // Before anybody can join.
    assert_eq!(nft(&["list", "ruleset"]), rules);
}

#[test]
fn dying_between_tap_and_process_leaves_neither() {
    let Some(mut host) = Host::new(&["ext"]) else { return };
    for point in ["start-recorded", "start-tapped", "start-launched", "end-drained", "end-reaped"] {
        let mut daemon = Daemon::start_for(&["--bridge", "ext"]);
        let image = daemon.image("image", "say ready");
        daemon.again(Some(point));
        daemon.logs("listening on");
        let supervisor = until("the daemon is joined", || daemon.try_join(Role::Supervisor));
        supervisor.start_on(1, &image, &[], &[network("service", "ext", 1)]);
        assert!(!daemon.ended().success(), "{point}");
        daemon.again(None);
        host.becomes_empty();
    }
}

#[test]
fn a_start_that_fails_leaves_no_tap() {
    let Some(mut host) = Host::new(&["ext", "other", "unlisted"]) else { return };
    let daemon = Daemon::start_for(&["--bridge", "ext", "--bridge", "other", "--bridge", "gone"]);
    daemon.logs("bridge \"gone\" does not exist: no machine starts on it until then");
    let mut supervisor = daemon.supervisor();
    let census = daemon.census();
    let image = daemon.image("image", "echo >&$status no; exit 1");
    assert_eq!(supervisor.refused_on(1, &image, &[network("service", "ext", 1)]), "no");
    host.is_empty();
    supervisor.send(&ToSpawn::EndSeen { id: id(1), run: run_of(id(1)) });
    let first = network("service", "ext", 1);
    for (second, reason) in [
        (network("storage", "unlisted", 2), "\"unlisted\" is not one that machines may be put on"),
        (network("storage", "gone", 2), "network \"storage\": bridge \"gone\" does not exist"),
        (network("service", "other", 2), "the device \"service\" has two networks"),
        (network("a-b", "other", 2), "\"a-b\" is not the name of a device"),
        (network("storage", "ext", 1), "the hardware address 02:00:00:00:00:01 already"),
    ] {
        let said = supervisor.refused_on(1, &image, &[first.clone(), second]);
        assert!(said.contains(reason), "{said}");
        host.is_empty();
    }
    let many: Vec<_> =
        (0..64).map(|number| network(&format!("n{number}"), "ext", number)).collect();
    let said = supervisor.refused_on(1, &image, &many);
    assert_eq!(said, "a machine has at most 63 network interfaces, not 64");
    supervisor.send(&ToSpawn::Forget { id: id(1) });
    daemon.comes_back_to(census);
}

#[test]
fn as_many_taps_as_a_machine_can_have_are_passed_on() {
    let Some(mut host) = Host::new(&["ext"]) else { return };
    let daemon = Daemon::start_for(&["--bridge", "ext"]);
    let mut supervisor = daemon.supervisor();
    let count = "say ready; set -- /proc/self/fd/*; [ $# -ge 66 ] || exit 1; exit 0";
    let image = daemon.image("image", count);
    let all: Vec<_> =
        (0..63).map(|number| network(&format!("n{number}"), "ext", number + 1)).collect();
    supervisor.run_on(1, &image, &[], &all);
    assert_eq!(supervisor.exit(id(1)).0, Exit::Code(0));
    host.is_empty();
}

#[test]
fn a_restart_storm_on_a_bridge_leaves_nothing_behind() {
    const MACHINES: u8 = 50;
    let Some(mut host) = Host::new(&["ext"]) else { return };
    let daemon = Daemon::start_for(&["--bridge", "ext"]);
    let mut supervisor = daemon.supervisor();
    let census = daemon.census();
    let links = host.0.links().unwrap().len();
    let image = daemon.image("image", WAIT);
    for round in 0..3 {
        for number in 1..=MACHINES {
            supervisor.start_on(number, &image, &[], &[network("service", "ext", number)]);
        }
        for _ in 1..=MACHINES {
            assert!(matches!(supervisor.next(), FromSpawn::Started { .. }));
        }
        let bridge = host.link("ext").index;
        let taps = host.taps();
        assert_eq!(taps.len(), usize::from(MACHINES), "{round}");
        assert!(taps.iter().all(|tap| tap.is_up && tap.controller == Some(bridge)));
        for number in 1..=MACHINES {
            let id = id(number);
            supervisor.send(&ToSpawn::Stop { id, run: run_of(id), force: true });
        }
        for _ in 1..=MACHINES {
            let message = supervisor.next();
            let FromSpawn::Exited { id, run, .. } = message else { panic!("{message:?}") };
            supervisor.send(&ToSpawn::EndSeen { id, run });
        }
        host.is_empty();
    }
    for number in 1..=MACHINES {
        supervisor.send(&ToSpawn::Forget { id: id(number) });
    }
    daemon.comes_back_to(census);
    assert_eq!(host.0.links().unwrap().len(), links);
}

#[test]
fn machines_run_on_without_their_bridge_and_start_on_it_when_it_is_back() {
    let Some(mut host) = Host::new(&["ext"]) else { return };
    let daemon = Daemon::start_for(&["--bridge", "ext"]);
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", WAIT);
    let networks = [network("service", "ext", 1)];
    supervisor.run_on(1, &image, &[], &networks);
    host.remove("ext");
    // A switch that is gone takes nobody with it.
    assert_eq!(host.taps().len(), 1);
    let gone = "network \"service\": bridge \"ext\" does not exist on this host";
    assert_eq!(supervisor.refused_on(2, &image, &[network("service", "ext", 2)]), gone);
    daemon.logs("not started: network \"service\": bridge \"ext\" does not exist");
    supervisor.stop(1);
    assert_eq!(supervisor.refused_on(1, &image, &networks), gone);
    host.make_bridge("ext");
    supervisor.run_on(1, &image, &[], &networks);
    assert_eq!(host.taps()[0].controller, Some(host.link("ext").index));
}

#[test]
fn a_tender_that_turns_against_its_tap_gains_nothing() {
    let Some(mut host) = Host::new(&["ext"]) else { return };
    let daemon = Daemon::start_with_options(hostile(), &["--bridge", "ext"]);
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "");
    supervisor.run_on(1, &image, &["keep-tap"], &[network("service", "ext", 1)]);
    assert_eq!(supervisor.exit(id(1)).0, Exit::Code(0));
    let text = console.ring().1.text();
    for said in [
        "have the tap outlive this: done\n",
        "enter the tap's network: Operation not permitted\n",
        "make another tap: No such file or directory\n",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    host.is_empty();
    daemon.logs("its tap did not end with it, and is removed");
}

#[test]
fn bridges_need_a_privileged_daemon() {
    let Some(_host) = Host::new(&["ext"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let spawn = dir.path().join("vmm-spawn");
    // Not by this process: what it writes could be open in a child that another thread starts.
    assert!(Command::new("cp").args([&program(), &spawn]).status().unwrap().success());
    let output = Command::new(&spawn)
        .args([Path::new("--dir"), &dir.path().join("run")])
        .args(["--tender", "/bin/sh", "--bridge", "ext"])
        .uid(65_533)
        .gid(65_533)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--bridge needs root, or the capability CAP_NET_ADMIN"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}
