//! `vmm-spawn` dies at each step of making and removing host networks: the next one comes to the same
//! as if none had died, and nothing is left over.

use std::fs;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use rustix::process::geteuid;
use vmm_proto::message::spawn::{FromSpawn, HostNetwork, Role, ToSpawn};
use vmm_spawn::failpoint::OF_NETWORKS;
use vmm_testkit::{skipped, until};

use crate::harness::Daemon;

fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split(' ')).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// Everything about this host that a host network could change; but not whether there is a carrier, nor
/// what comes with it, such as routes of IPv6: the kernel finds that out in its own time.
fn census() -> Vec<String> {
    let mut census = vec![run("nft", "list ruleset")];
    let routes = run("ip", "-4 route show table all").replace(" linkdown", "");
    census.extend(routes.lines().map(String::from));
    // Both begin with the number of the interface.
    for what in ["-o -4 addr", "-o link show up"] {
        for line in run("ip", what).lines() {
            let name_on = line.split_once(": ").map_or(line, |(_, rest)| rest);
            let (name, more) = name_on.split_once('<').unwrap_or((name_on, ""));
            census.push(name.to_owned() + more.split_once("alias").map_or("", |(_, alias)| alias));
        }
    }
    for entry in fs::read_dir("/proc/sys/net/ipv4/conf").unwrap() {
        let path = entry.unwrap().path().join("forwarding");
        census.push(format!("{}: {}", path.display(), fs::read_to_string(&path).unwrap().trim()));
    }
    census.sort();
    census
}

fn network(number: u8, uplink: Option<&str>) -> HostNetwork {
    let uplink = uplink.map(str::to_owned);
    let address = [10, 7, number, 1].into();
    HostNetwork { name: format!("nat{number}"), address, prefix: 24, uplink }
}

/// Tells which there are to be; returns what is wrong, or nothing if the daemon died of it.
fn tell(daemon: &Daemon, networks: &[HostNetwork]) -> Option<Vec<String>> {
    let mut supervisor = until("a daemon", || daemon.try_join(Role::Supervisor));
    let told = ToSpawn::HostNetworks { number: 1, networks: networks.to_vec() };
    assert!(supervisor.try_send(&told, &[]));
    match supervisor.try_receive()?.0 {
        FromSpawn::HostNetworks { number: 1, states, .. } => {
            Some(states.into_iter().filter_map(|state| state.problem).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn comes_to(daemon: &Daemon, networks: &[HostNetwork]) {
    assert_eq!(tell(daemon, networks), Some(Vec::new()), "{}", daemon.log());
}

#[test]
fn dying_at_any_step_of_making_or_removing_a_host_network_changes_nothing_of_what_comes_of_it() {
    if !geteuid().is_root() {
        return skipped("host networks, which only root can make");
    }
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    run("ip", "link add up0 type veth peer name far0");
    run("ip", "link set up0 up");
    run("ip", "addr add 203.0.113.1/24 dev up0");
    run("ip", "route add default via 203.0.113.2");
    let both = [network(0, Some("up0")), network(1, None)];
    let mut daemon = Daemon::start();
    let before = census();
    for (from, to, not_at) in [
        (&both[..0], &both[..], &["network-removed"][..]),
        (&both[..], &both[1..], &["network-made"]),
        (&both[..], &both[..0], &["network-made", "network-opened", "network-up"]),
    ] {
        comes_to(&daemon, to);
        let with = census();
        comes_to(&daemon, &[]);
        assert_eq!(census(), before);
        for name in OF_NETWORKS {
            let what = format!("{name}, from {} to {}", from.len(), to.len());
            comes_to(&daemon, from);
            daemon.again(Some(name));
            assert_eq!(tell(&daemon, to).is_none(), !not_at.contains(&name), "{what}");
            daemon.again(None);
            comes_to(&daemon, to);
            assert_eq!(census(), with, "{what}");
            comes_to(&daemon, &[]);
            assert_eq!(census(), before, "{what}");
        }
    }
}
