//! Where bridges hand what they pass on to the rules of IPv4, as container engines want it.

use std::fs;
use std::io::ErrorKind;
use std::process::Command;
use vmm_testkit::skipped;

use super::rig::{Machine, asks, behind, ip, made, network, on_bridge, uplinked};
use crate::net::tests::empty_network;

/// Has this host's bridges do so. Whether they can.
fn handed_on() -> bool {
    let setting = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    if !fs::exists(setting).unwrap() {
        // Whether that was of use is seen by what comes of it.
        let _ = Command::new("modprobe").arg("br_netfilter").status();
    }
    let done = fs::write(setting, "1");
    if let Err(error) = &done {
        skipped(&format!("bridges that hand on what they pass on, by br_netfilter: {error}"));
    }
    done.is_ok()
}

#[test]
fn machines_of_one_network_reach_each_other_by_its_bridge_and_not_by_its_host() {
    let Some(outside) = uplinked().filter(|_| handed_on()) else { return };
    let _networks = made(&[network("nat0", [10, 7, 0, 1], Some("up0"))]);
    let one = Machine::on("nat0", &outside);
    let two = behind("port1", "nat0", "10.7.0.3/24");
    let (asking, asked) = (one.host.socket("10.7.0.2:8"), two.socket("10.7.0.3:7"));
    assert_eq!(asks(&asking, &asked), "10.7.0.2");
    one.is_answered();

    // What is sent to the host in another one's place is not passed on, on whose hardware address it
    // ever comes: it would be from a machine that the bridge keeps away.
    let shown = ip("-o link show dev nat0");
    let (_, bridge) = shown.split_once("link/ether ").unwrap();
    let bridge = bridge.split(' ').next().unwrap();
    for (number, mac) in (0..).zip([bridge, "fe:00:00:00:00:30"]) {
        one.host.ip(&format!("neigh replace 10.7.0.3 lladdr {mac} dev eth0"));
        let (lie, served) =
            (format!("10.7.0.2:{}", 20 + number), format!("10.7.0.3:{}", 20 + number));
        let served_at = two.socket(&served);
        one.host.socket(&lie).send_to(b"lie", &served).unwrap();
        // It is behind this, which has arrived.
        one.is_answered();
        served_at.set_nonblocking(true).unwrap();
        let nothing = served_at.recv_from(&mut [0; 16]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock, "{mac}");
    }
}

#[test]
fn a_bridge_that_leads_out_passes_on_what_it_passed_on_before() {
    if empty_network().is_none() || !handed_on() {
        return;
    }
    ip("link add br0 type bridge");
    ip("addr add 192.168.9.1/24 dev br0");
    ip("link set br0 up");
    let _networks = made(&[network("nat0", [10, 7, 0, 1], Some("br0"))]);
    let (one, two) =
        (behind("port1", "br0", "192.168.9.2/24"), behind("port2", "br0", "192.168.9.3/24"));
    let (asking, asked) = (one.socket("192.168.9.2:7"), two.socket("192.168.9.3:7"));
    assert_eq!(asks(&asking, &asked), "192.168.9.2");
    let inside = on_bridge("nat0", "10.7.0.2/24", "10.7.0.1");
    assert_eq!(asks(&inside.socket("10.7.0.2:7"), &asked), "192.168.9.1");

    // The host is no router for what is on it.
    let shown = ip("-o link show dev br0");
    let (_, bridge) = shown.split_once("link/ether ").unwrap();
    one.ip(&format!("neigh replace 192.168.9.3 lladdr {} dev eth0", &bridge[..17]));
    let served = two.socket("192.168.9.3:9");
    one.socket("192.168.9.2:9").send_to(b"lie", "192.168.9.3:9").unwrap();
    one.ip("neigh del 192.168.9.3 dev eth0");
    assert_eq!(asks(&asking, &asked), "192.168.9.2");
    served.set_nonblocking(true).unwrap();
    assert_eq!(served.recv_from(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
}
