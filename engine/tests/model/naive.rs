//! What should be, computed the slow and plain way.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use vmm_engine::{Amount, ImageId, Need, State, View};
use vmm_proto::authority::Link;
use vmm_proto::id::MachineId;
use vmm_proto::name::{MachineName, Path, Target};
use vmm_proto::resource::CpuSet;

use crate::wires;
use crate::world::{HOST_MACHINES, HOST_MEMORY, NODES, World, host_cpus};

/// The path of a node.
pub(crate) fn path(node: &str) -> &'static Path {
    static PATHS: LazyLock<[(&str, Path); NODES.len()]> =
        LazyLock::new(|| NODES.map(|node| (node, Path::parse(node).unwrap())));
    PATHS.iter().find(|(known, _)| *known == node).map(|(_, path)| path).unwrap()
}

/// The nodes at and above a path, the host included.
fn above(path: &Path) -> Vec<&'static str> {
    NODES.into_iter().filter(|node| path.is_within(self::path(node))).collect()
}

/// Machines and MiB that are allowed at a node, as far as the host has been told.
pub(crate) fn bounds(world: &World, node: &'static str) -> Option<(u32, u64)> {
    if node.is_empty() {
        return Some((HOST_MACHINES, HOST_MEMORY));
    }
    let grant = &world.known.get(node)?.grant;
    Some((grant.machines.into(), grant.memory_mib.into()))
}

fn cpus(world: &World, node: &'static str) -> CpuSet {
    world.known.get(node).map_or(host_cpus(), |link| link.grant.cpus.clone())
}

/// The listed machines below a node.
pub(crate) fn below<'a>(world: &'a World, node: &str) -> impl Iterator<Item = View<'a>> {
    world.engine.machines(&Target::Below(path(node).clone()))
}

/// What one listed machine holds: as much as the largest of it, its successor and its former.
fn held_by(world: &World, view: &View<'_>) -> Amount {
    if !view.state.is_live() {
        return Amount::default();
    }
    let memory = |id: &MachineId| world.deployed.get(id).map_or(0, |spec| spec.memory_mib);
    let others = [view.successor, view.former].into_iter().flatten();
    let largest = others.map(|id| memory(&id)).fold(memory(&view.id), u32::max);
    Amount { machines: 1, memory_mib: largest.into() }
}

/// What the machines below a node hold, but for the one of that name.
pub(crate) fn held(world: &World, node: &'static str, except: Option<&MachineName>) -> Amount {
    let mut sum = Amount::default();
    for view in below(world, node).filter(|view| Some(view.name) != except) {
        let amount = held_by(world, &view);
        sum.machines += amount.machines;
        sum.memory_mib += amount.memory_mib;
    }
    sum
}

/// What really runs, or is about to, below a node.
pub(crate) fn running_processes(world: &World, node: &'static str) -> Amount {
    let mut sum = Amount::default();
    for process in world.processes.values() {
        if process.name.path.is_within(path(node)) {
            sum.machines += 1;
            sum.memory_mib += u64::from(process.memory_mib);
        }
    }
    sum
}

/// Whether a machine fits above, instead of what has its name now.
pub(crate) fn fits(world: &World, name: &MachineName, memory_mib: u32, wanted: &CpuSet) -> bool {
    let own = world.engine.machine(name).map(|view| held_by(world, &view)).unwrap_or_default();
    above(&name.path).into_iter().all(|node| {
        let others = held(world, node, Some(name));
        let memory = others.memory_mib + own.memory_mib.max(memory_mib.into());
        bounds(world, node).is_some_and(|(machines, memory_mib)| {
            others.machines < machines && memory <= memory_mib
        }) && wanted.outside(&cpus(world, node)).next().is_none()
    })
}

/// Whether a machine that runs would not be admitted beside the others by now.
pub(crate) fn is_over_quota(world: &World, view: &View<'_>) -> bool {
    above(&view.name.path).into_iter().any(|node| {
        let used = held(world, node, None);
        bounds(world, node).is_some_and(|(machines, memory_mib)| {
            used.machines > machines || used.memory_mib > memory_mib
        }) || view.spec.cpus.outside(&cpus(world, node)).next().is_some()
    }) || wires::is_beyond(world, view)
}

/// Whether all delegations of a path are known and valid now.
pub(crate) fn chain_is_valid(world: &World, path: &Path) -> bool {
    above(path).into_iter().filter(|node| !node.is_empty()).all(|node| {
        let good = |link: &Link| link.validity.contains(world.now_s()) && !world.is_revoked(link);
        world.known.get(node).is_some_and(good)
    })
}

/// Whether the delegations of a path, as far as they are known, hold one that was revoked.
pub(crate) fn is_revoked(world: &World, path: &Path) -> bool {
    above(path)
        .into_iter()
        .filter_map(|node| world.known.get(node))
        .any(|link| world.is_revoked(link))
}

/// Whether a presented chain is accepted; if so, it is the newest from now on.
pub(crate) fn present(world: &mut World, links: &[Link]) -> bool {
    let now = world.now_s();
    let nodes: Vec<&'static str> = (1..=links.len())
        .filter_map(|depth| {
            let labels = links[..depth].iter().map(|link| link.label.clone()).collect();
            let path = Path::new(labels).unwrap();
            NODES.into_iter().find(|node| *self::path(node) == path)
        })
        .collect();
    for (node, link) in nodes.iter().zip(links) {
        let stale = world.known.get(node).is_some_and(|known| {
            link.grant.generation < known.grant.generation
                || link.grant.generation == known.grant.generation && link.grant != known.grant
        });
        if stale || !link.validity.contains(now) || world.is_revoked(link) {
            return false;
        }
    }
    for (node, link) in nodes.into_iter().zip(links) {
        let lasts_longer = world.known.get(node).is_none_or(|known| {
            link.grant.generation > known.grant.generation
                || link.validity.not_after > known.validity.not_after
                || world.is_revoked(known)
        });
        if lasts_longer {
            world.known.insert(node, link.clone());
        }
    }
    true
}

/// Whether a deploy is admitted, but for its image. `links` were accepted already.
pub(crate) fn admits(world: &World, name: &MachineName, need: &Need, replace: bool) -> bool {
    let Need { memory_mib, cpus, devices, arguments } = need;
    let gives_way = world.engine.machine(name).is_none_or(|view| {
        let dead = matches!(view.state, State::Exited | State::Failed | State::Revoked);
        (dead || replace) && view.successor.is_none()
    });
    let open = !world.engine.is_draining();
    open && gives_way
        && chain_is_valid(world, &name.path)
        && fits(world, name, *memory_mib, cpus)
        && wires::fits(world, name, devices, arguments)
}

/// The images of listed machines and of those that wait to take their places.
pub(crate) fn images_in_use(world: &World) -> BTreeSet<ImageId> {
    let of = |id: MachineId| world.deployed.get(&id).map(|spec| spec.image);
    world
        .list()
        .iter()
        .flat_map(|view| [Some(view.id), view.successor, view.former])
        .flatten()
        .filter_map(of)
        .collect()
}

/// Bytes of the image files below a node.
pub(crate) fn image_bytes(world: &World, node: &'static str) -> u64 {
    let below = world.files.values().filter(|file| path(file.node).is_within(path(node)));
    below.map(|file| u64::from(file.size)).sum()
}

/// Whether an image of that size may be uploaded below a node.
pub(crate) fn image_fits(world: &World, node: &str, size: u32) -> bool {
    above(path(node)).into_iter().all(|node| {
        let bytes = image_bytes(world, node) + u64::from(size);
        let count = world.files.values().filter(|file| path(file.node).is_within(path(node)));
        let count = u32::try_from(count.count()).unwrap();
        bounds(world, node).is_some_and(|(machines, memory_mib)| {
            bytes <= memory_mib << 20 && count < 2 * machines + 2
        })
    })
}
