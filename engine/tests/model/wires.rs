//! What should become of networks, computed the slow and plain way: all addresses of a subnet are
//! looked at one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vmm_engine::{Interface, KeptMachine, KeptPhase, KeptThen, View};
use vmm_proto::id::MachineId;
use vmm_proto::name::{MachineName, Path};
use vmm_proto::resource::{
    AddressRange, Arguments, Bridge, BridgeName, Bridges, DeviceName, Devices, Network,
};

use crate::naive;
use crate::world::{NODES, World};

/// One that several machines ask for.
const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

/// The choices of [`bridges`] that leave addresses of a family to the machines.
pub(crate) const NO_RANGE: u8 = 3;
pub(crate) const NO_RANGE6: u8 = 4;

fn bridge() -> BridgeName {
    BridgeName::parse("br").unwrap()
}

/// The last numbers of the first and of the last address of a node's usual range.
const fn usual(node: usize) -> (u8, u8) {
    match node {
        2 => (6, 13),
        3 => (4, 7),
        4 => (2, 5),
        5 => (4, 5),
        _ => (2, 9),
    }
}

/// The bridges of a node's certificate.
pub(crate) fn bridges(node: &str, choice: u8) -> Bridges {
    let index = NODES.iter().position(|known| *known == node).unwrap();
    let (first, last) = match choice {
        0 => (4, 12),
        1 => (2, 3),
        _ => usual(index),
    };
    let v4 = |last| IpAddr::from(Ipv4Addr::new(10, 0, 0, last));
    let v6 = |last: u8| IpAddr::from(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into()));
    let gateway = if choice == 2 { 254 } else { 1 };
    let range = AddressRange::new(v4(first), v4(last), v4(gateway), 24).unwrap();
    let range6 = AddressRange::new(v6(first), v6(last), v6(1), 64).unwrap();
    let (range, range6) =
        ((choice != NO_RANGE).then_some(range), (choice != NO_RANGE6).then_some(range6));
    Bridges::new(vec![Bridge::new(bridge(), range, range6).unwrap()]).unwrap()
}

/// What a machine asks for.
pub(crate) fn asked(choice: u8, number: u32) -> (Devices, Arguments) {
    let network = |device: &str, mac| {
        Network::new(DeviceName::parse(device).unwrap(), bridge(), mac).unwrap()
    };
    let (networks, words) = match choice {
        0..4 | 9.. => (vec![], vec![]),
        4 | 5 => (vec![network("n", None)], vec![]),
        6 => (vec![network("n", None), network("m", None)], vec![]),
        7 => (vec![network("n", None)], vec![format!("--ipv4=10.0.0.{}/24", 2 + number % 12)]),
        8 => (vec![network("n", Some(MAC))], vec!["--name".to_owned()]),
    };
    (Devices::new(networks, vec![]).unwrap(), Arguments::new(words).unwrap())
}

/// The addresses of an interface.
fn addresses(interface: &Interface) -> impl Iterator<Item = IpAddr> {
    let v4 = interface.address.map(|(at, _)| IpAddr::from(at));
    v4.into_iter().chain(interface.address6.map(|(at, _)| at.into()))
}

/// A machine and those that are kept with it.
fn with_others(machine: &KeptMachine) -> Vec<&KeptMachine> {
    let stop = match &machine.phase {
        KeptPhase::Starting { stop, .. } => stop.as_ref(),
        KeptPhase::Stopping(stop) => Some(stop),
        _ => None,
    };
    let successor = stop.and_then(|stop| match &stop.then {
        KeptThen::Replace { successor, .. } => Some(&**successor),
        _ => None,
    });
    let former = machine.probation.as_ref().map(|probation| &probation.former);
    let others = [successor, former].into_iter().flatten().flat_map(with_others);
    std::iter::once(machine).chain(others).collect()
}

/// Everything that is reserved, and for whom.
pub(crate) fn held(world: &World) -> Vec<(MachineName, Interface)> {
    let machines = world.current.values().flat_map(with_others);
    machines
        .flat_map(|it| it.interfaces.iter().map(|interface| (it.name.clone(), interface.clone())))
        .collect()
}

/// What the listed machine of a name has, and the one that comes back if it fails.
fn had(world: &World, name: &MachineName) -> Vec<Interface> {
    let listed = world.engine.machine(name).and_then(|view| world.current.get(&view.id));
    let former = listed.and_then(|it| it.probation.as_ref()).map(|probation| &probation.former);
    let both = listed.into_iter().chain(former);
    both.flat_map(|machine| machine.interfaces.iter().cloned()).collect()
}

/// The ranges of one family of all delegations of a path, outermost first.
fn ranges(world: &World, path: &Path, v4: bool) -> Vec<Option<AddressRange>> {
    let nodes =
        NODES.into_iter().filter(|node| !node.is_empty() && path.is_within(naive::path(node)));
    let range = |node| {
        let bridges = &world.known.get(node)?.grant.bridges;
        let bridge = bridges.get(&bridge())?;
        if v4 { bridge.range().copied() } else { bridge.range6().copied() }
    };
    nodes.map(range).collect()
}

/// What machines at a path may have of one family: every address of the subnet that is in all
/// ranges; nothing where it is not managed; an error where the delegations contradict each other.
fn pool(world: &World, path: &Path, v4: bool) -> Result<Option<BTreeSet<IpAddr>>, ()> {
    let ranges = ranges(world, path, v4);
    if ranges.iter().all(Option::is_none) {
        return Ok(None);
    }
    let ranges: Vec<AddressRange> = ranges.into_iter().collect::<Option<_>>().ok_or(())?;
    let same = |it: &AddressRange| {
        (it.gateway(), it.prefix()) == (ranges[0].gateway(), ranges[0].prefix())
    };
    if !ranges.iter().all(same) {
        return Err(());
    }
    let all = (0..=255_u8).map(|last| -> IpAddr {
        if v4 {
            Ipv4Addr::new(10, 0, 0, last).into()
        } else {
            Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into()).into()
        }
    });
    let inside = |at: &IpAddr| ranges.iter().all(|it| it.first() <= *at && *at <= it.last());
    let pool: BTreeSet<IpAddr> = all.filter(inside).collect();
    if pool.is_empty() { Err(()) } else { Ok(Some(pool)) }
}

/// Whether an address belongs to a delegation right below a path.
fn is_delegated_further(world: &World, path: &Path, at: IpAddr) -> bool {
    let below = NODES.into_iter().filter(|node| {
        let node = naive::path(node);
        node.depth() == path.depth() + 1 && node.is_within(path) && !path.is_host()
    });
    below.filter_map(|node| world.known.get(node)).any(|link| {
        let in_force = link.validity.contains(world.now_s()) && !world.is_revoked(link);
        let bridge = link.grant.bridges.get(&bridge()).unwrap();
        let ranges = [bridge.range(), bridge.range6()].into_iter().flatten();
        in_force && ranges.into_iter().any(|it| it.first() <= at && at <= it.last())
    })
}

/// The IPv4 address that a machine's own arguments set.
fn own(arguments: &Arguments) -> Option<IpAddr> {
    let word = arguments.words().iter().find_map(|word| word.strip_prefix("--ipv4="))?;
    word.strip_suffix("/24")?.parse().ok()
}

/// Whether a machine gets its networks in the place of what has its name now.
pub(crate) fn fits(
    world: &World,
    name: &MachineName,
    devices: &Devices,
    arguments: &Arguments,
) -> bool {
    let networks = devices.networks();
    let others: Vec<_> = held(world).into_iter().filter(|(it, _)| it != name).collect();
    let mac_is_free = networks
        .iter()
        .filter_map(|network| network.mac)
        .all(|mac| others.iter().all(|(_, it)| it.mac != mac));
    let had: BTreeSet<IpAddr> = had(world, name).iter().flat_map(addresses).collect();
    networks.is_empty()
        || mac_is_free
            && [true, false].into_iter().all(|v4| match pool(world, &name.path, v4) {
                Err(()) => false,
                Ok(None) => true,
                Ok(Some(mut pool)) => {
                    pool.retain(|at| {
                        let free = !others.iter().any(|(_, it)| addresses(it).any(|it| it == *at));
                        free && (had.contains(at) || !is_delegated_further(world, &name.path, *at))
                    });
                    let own = own(arguments).filter(|_| v4);
                    pool.len() >= networks.len() && own.is_none_or(|own| pool.contains(&own))
                }
            })
}

/// Whether a listed machine is sure to get its networks again: it has what it needs, and that still
/// fits.
pub(crate) fn stays(world: &World, view: &View<'_>) -> bool {
    view.spec.devices.networks().is_empty()
        || [true, false].into_iter().all(|v4| match pool(world, &view.name.path, v4) {
            Err(()) => false,
            Ok(None) => true,
            Ok(Some(pool)) => view.interfaces.iter().all(|interface| {
                let own = addresses(interface).find(|at| at.is_ipv4() == v4);
                own.is_some_and(|own| pool.contains(&own))
            }),
        })
}

/// Whether a machine has an address that something above it does not give any more, or has none
/// where something above it gives some by now.
pub(crate) fn is_beyond(world: &World, view: &View<'_>) -> bool {
    let gone =
        [true, false].into_iter().any(|v4| {
            let ranges = ranges(world, &view.name.path, v4);
            view.interfaces.iter().flat_map(addresses).filter(|at| at.is_ipv4() == v4).any(|at| {
                ranges.iter().any(|it| it.is_none_or(|it| at < it.first() || it.last() < at))
            })
        });
    gone || lacks_an_address(world, view)
}

/// Whether a machine has no address of a family that something above it manages by now.
pub(crate) fn lacks_an_address(world: &World, view: &View<'_>) -> bool {
    [true, false].into_iter().any(|v4| {
        let has = |it: &Interface| addresses(it).any(|at| at.is_ipv4() == v4);
        !view.interfaces.iter().all(has)
            && ranges(world, &view.name.path, v4).iter().any(Option::is_some)
    })
}

/// A start is ordered with these interfaces and words, and its name had `before` before that.
pub(crate) fn check_start(
    world: &World,
    (id, name): (MachineId, &MachineName),
    (interfaces, words): (&[Interface], &[String]),
    before: &[(MachineName, Interface)],
) {
    let spec = &world.deployed[&id];
    let networks = spec.devices.networks();
    assert_eq!(networks.len(), interfaces.len());
    let mut expected = Vec::new();
    for (network, interface) in networks.iter().zip(interfaces) {
        assert_eq!((&network.device, &network.bridge), (&interface.device, &interface.bridge));
        let had = before.iter().filter(|(it, _)| it == name).map(|(_, interface)| interface);
        let same: Vec<_> = had.clone().filter(|it| it.device == interface.device).collect();
        if let Some(mac) = network.mac {
            assert_eq!(interface.mac, mac);
        } else {
            assert_eq!(interface.mac[0], 2);
            let derived: Vec<_> = same.iter().filter(|it| it.mac[0] == 2).collect();
            assert!(derived.is_empty() || derived.iter().any(|it| it.mac == interface.mac));
        }
        let prefix =
            if networks.len() > 1 { format!("{}-", network.device) } else { String::new() };
        for v4 in [true, false] {
            let pool = pool(world, &name.path, v4).expect("it was refused");
            let at = addresses(interface).find(|at| at.is_ipv4() == v4);
            let (Some(pool), Some(at)) = (&pool, at) else {
                assert!(pool.is_none() && at.is_none(), "{pool:?} {at:?}");
                continue;
            };
            assert!(pool.contains(&at), "{at} of {name} is in {pool:?}");
            let own = own(&spec.arguments).filter(|_| v4);
            assert!(own.is_none_or(|own| own == at));
            let stays = |it: &&&Interface| addresses(it).any(|at| pool.contains(&at));
            let kept = same.iter().filter(stays).collect::<Vec<_>>();
            let as_before = kept.iter().any(|it| addresses(it).any(|it| it == at));
            assert!(own.is_some() || kept.is_empty() || as_before, "{at} of {name}: {kept:?}");
            let new = !had.clone().any(|it| addresses(it).any(|it| it == at));
            assert!(!new || !is_delegated_further(world, &name.path, at), "{at} of {name}");
            let (family, bits) = if v4 { ("ipv4", 24) } else { ("ipv6", 64) };
            if own.is_none() {
                expected.push(format!("--{prefix}{family}={at}/{bits}"));
            }
            let gateway = ranges(world, &name.path, v4)[0].unwrap().gateway();
            expected.push(format!("--{prefix}{family}-gateway={gateway}"));
        }
    }
    expected.extend_from_slice(spec.arguments.words());
    assert_eq!(words, expected);
}

/// On a bridge no two names have the same of anything, and no two processes.
pub(crate) fn invariant_nothing_is_given_twice(world: &World) {
    let mut owners: BTreeMap<String, MachineName> = BTreeMap::new();
    for (name, interface) in held(world) {
        let macs = std::iter::once(format!("{:?}", interface.mac));
        for what in addresses(&interface).map(|at| at.to_string()).chain(macs) {
            let owner = owners.entry(what.clone()).or_insert_with(|| name.clone());
            assert_eq!(*owner, name, "{what}");
        }
    }
    let interfaces = || world.processes.values().flat_map(|process| &*process.interfaces);
    let macs: BTreeSet<_> = interfaces().map(|it| it.mac).collect();
    assert_eq!(macs.len(), interfaces().count());
    let all: BTreeSet<_> = interfaces().flat_map(addresses).collect();
    assert_eq!(all.len(), interfaces().flat_map(addresses).count());
}

/// One number for each top-level delegation.
pub(crate) fn invariant_groups_are_those_of_the_delegations(world: &World) {
    let mut numbers: BTreeMap<_, u32> = BTreeMap::new();
    for (name, interface) in held(world) {
        let group = interface.group.unwrap();
        let number = *numbers.entry(name.path.labels().first().cloned()).or_insert(group);
        assert_eq!(number, group, "{name}");
    }
    let distinct: BTreeSet<_> = numbers.values().collect();
    assert_eq!(distinct.len(), numbers.len());
    assert!(numbers.values().all(|number| *number < 3), "the lowest free: {numbers:?}");
}

/// What is shown is what is kept, over restarts also, and what a process has is what is shown.
pub(crate) fn invariant_interfaces_are_shown_as_they_are(world: &World) {
    for view in world.list() {
        assert_eq!(view.interfaces, &*world.current[&view.id].interfaces);
        if let Some(process) = world.processes.get(&view.id) {
            assert_eq!(view.interfaces, &*process.interfaces);
        }
    }
}
