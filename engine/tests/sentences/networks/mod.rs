//! What machines get of the networks that they ask for.

mod addresses;
mod bridges;
mod macs;
mod ranges;
mod words;

use std::net::IpAddr;

use vmm_engine::{Effect, Interface, Refusal, Spec};
use vmm_proto::authority::Link;
use vmm_proto::id::MachineId;
use vmm_proto::resource::{
    AddressRange, Arguments, Bridge, BridgeName, Bridges, Delegation, DeviceName, Devices, Network,
};

use crate::stage::{Asked, ROOT, Stage, link, on_bridge, spec};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `10.0.0.2/10.0.0.5/10.0.0.1/24`: first, last, gateway and bits of the subnet.
fn range(text: &str) -> AddressRange {
    let parts: Vec<_> = text.split('/').collect();
    AddressRange::new(ip(parts[0]), ip(parts[1]), ip(parts[2]), parts[3].parse().unwrap()).unwrap()
}

fn bridge(name: &str, ranges: &[&str]) -> Bridge {
    let ranges: Vec<_> = ranges.iter().map(|text| range(text)).collect();
    let of = |v4: bool| ranges.iter().find(|range| range.first().is_ipv4() == v4).copied();
    Bridge::new(BridgeName::parse(name).unwrap(), of(true), of(false)).unwrap()
}

/// The same delegation, of 9 machines and of the next generation, with these ranges on bridge `ext`,
/// and a bridge `int` without any.
fn with(link: &Link, ranges: &[&str]) -> Link {
    let bridges = Bridges::new(vec![bridge("ext", ranges), bridge("int", &[])]).unwrap();
    let generation = link.grant.generation + 1;
    let (machines, memory_mib) = (9, 900);
    let grant = Delegation { bridges, generation, machines, memory_mib, ..link.grant.clone() };
    Link { grant, ..link.clone() }
}

const FOUR: &str = "10.0.0.2/10.0.0.5/10.0.0.1/24";
const SIX: &str = "fd00::2/fd00::ffff:ffff:ffff:ffff/fe80::1/64";

/// `dev`, with these ranges on `ext`.
fn dev(ranges: &[&str]) -> Vec<Link> {
    vec![with(&link(ROOT, "dev", 1, 1), ranges)]
}

/// `dev/LABEL`, with these ranges on `ext` below that `dev`.
fn below(dev: &[Link], label: &str, ranges: &[&str]) -> Vec<Link> {
    vec![dev[0].clone(), with(&link(dev[0].key, label, 1, 1), ranges)]
}

/// A machine with a network `net` on `ext`.
fn netted() -> Spec {
    Spec { devices: on_bridge("ext"), ..spec() }
}

/// A machine with a network `net` on `ext` and these arguments.
fn telling(words: &[&str]) -> Spec {
    Spec { arguments: told(words), ..netted() }
}

fn told(words: &[&str]) -> Arguments {
    Arguments::new(words.iter().map(ToString::to_string).collect()).unwrap()
}

fn network(device: &str, bridge: &str, mac: Option<[u8; 6]>) -> Network {
    let (device, bridge) = (DeviceName::parse(device).unwrap(), BridgeName::parse(bridge).unwrap());
    Network::new(device, bridge, mac).unwrap()
}

/// A machine with these networks, each a device and a bridge.
fn networks(all: &[(&str, &str)]) -> Spec {
    let all = all.iter().map(|(device, bridge)| network(device, bridge, None)).collect();
    Spec { devices: Devices::new(all, vec![]).unwrap(), ..spec() }
}

/// The interfaces and the arguments with which a machine is started.
fn started_with(effects: &[Effect], id: MachineId) -> (Vec<Interface>, Vec<String>) {
    let start = effects.iter().find_map(|effect| match effect {
        Effect::StartMachine { id: it, interfaces, arguments, .. } if *it == id => {
            Some((interfaces.to_vec(), arguments.words().to_vec()))
        }
        _ => None,
    });
    start.unwrap_or_else(|| panic!("no start of {id} in {effects:?}"))
}

/// The addresses of a listed machine, as `info` shows them.
fn addresses(stage: &Stage, machine: &str) -> Vec<String> {
    let interfaces = stage.view(machine).interfaces.iter();
    let text = |it: &Interface| {
        let v4 = it.address.map(|(at, prefix)| format!("{at}/{prefix}"));
        let v6 = it.address6.map(|(at, prefix)| format!("{at}/{prefix}"));
        [v4, v6].into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    interfaces.map(text).collect()
}

/// A refusal for its networks, in words; `code` is its short name.
fn refused(asked: &Asked, code: &str) -> String {
    let refusal = asked.refusal();
    assert!(matches!(refusal, Refusal::Network(_)), "{refusal}");
    assert_eq!(refusal.code(), code, "{refusal}");
    refusal.to_string()
}
