//! Bridges on which all machines see each other: what a change of that does to machines that run.

use std::collections::BTreeMap;

use vmm_engine::{Keep, KeptMachine, KeptPhase};
use vmm_proto::resource::BridgeName;

/// Says on which bridges machines run on as the bridges of peers were when they were started: a change
/// counts from the next start of each on.
pub(crate) fn warn_of_changes(kept: &[Keep], peers: &[BridgeName]) {
    for (bridge, machines) in changed(kept, peers) {
        let (do_see, is_named) = if peers.contains(bridge) {
            ("do not see those of other delegations", "is among --bridge-peers now")
        } else {
            ("see those of all delegations", "is not among --bridge-peers any more")
        };
        tracing::warn!(
            "{machines} machines that run on bridge {bridge} still {do_see}, though it {is_named}; that \
             changes when each of them is restarted"
        );
    }
}

/// How many machines that run were started when a bridge was (not) one of peers, and now it is not (is).
fn changed<'k>(kept: &'k [Keep], peers: &[BridgeName]) -> BTreeMap<&'k BridgeName, usize> {
    let mut changed = BTreeMap::new();
    let machines = kept.iter().filter_map(|keep| match keep {
        Keep::Machine(machine) => Some(machine),
        _ => None,
    });
    for machine in machines.filter(|machine| may_run(machine)) {
        let mut bridges: Vec<_> = machine
            .interfaces
            .iter()
            .filter(|it| it.group.is_none() != peers.contains(&it.bridge))
            .map(|it| &it.bridge)
            .collect();
        bridges.sort_unstable();
        bridges.dedup();
        for bridge in bridges {
            *changed.entry(bridge).or_default() += 1;
        }
    }
    changed
}

/// Whether its interfaces are those of a process.
const fn may_run(machine: &KeptMachine) -> bool {
    matches!(machine.phase, KeptPhase::Running | KeptPhase::Stopping(_))
}

#[cfg(test)]
mod tests {
    use vmm_engine::Interface;
    use vmm_proto::resource::DeviceName;

    use super::*;
    use crate::journal::samples::machine;

    fn bridge(name: &str) -> BridgeName {
        BridgeName::parse(name).unwrap()
    }

    fn on(phase: KeptPhase, all: &[(&str, Option<u32>)]) -> Keep {
        let interface = |(name, group): &(&str, Option<u32>)| Interface {
            device: DeviceName::parse("net").unwrap(),
            bridge: bridge(name),
            mac: [2; 6],
            address: None,
            address6: None,
            group: *group,
        };
        let interfaces = all.iter().map(interface).collect();
        Keep::Machine(Box::new(KeptMachine { interfaces, ..machine(1, phase) }))
    }

    #[test]
    fn machines_that_run_as_bridges_of_peers_were_are_counted_by_bridge() {
        let waiting = KeptPhase::Queued;
        let kept = [
            on(KeptPhase::Running, &[("a", None), ("a", None), ("b", Some(0))]),
            on(KeptPhase::Running, &[("a", None), ("b", None), ("c", Some(1))]),
            on(waiting, &[("a", None), ("b", Some(0))]),
        ];
        let [a, b] = ["a", "b"].map(bridge);
        let peers = |peers: &[&str]| peers.iter().map(|name| bridge(name)).collect::<Vec<_>>();
        assert_eq!(changed(&kept, &peers(&["b"])), BTreeMap::from([(&a, 2), (&b, 1)]));
        assert_eq!(changed(&kept[1..], &peers(&["a", "b"])), BTreeMap::new());
    }
}
