//! How a bridge treats the port of a machine.

use netlink_packet_route::link::{BridgeMulticastRouterType, InfoBridgePort};

/// Multicast groups that a guest may join, where the kernel counts them: a bridge whose table is
/// full stops to look at groups at all, for everybody.
const MULTICAST_GROUPS_MAX: u32 = 64;

/// What is set.
pub fn settings() -> Vec<InfoBridgePort> {
    use InfoBridgePort as Port;
    vec![
        // What is behind it is known: nothing is learned, and nothing else is looked for there.
        Port::Learning(false),
        Port::UnicastFlood(false),
        // Only what comes from the address that is known to be there passes.
        Port::Locked(true),
        // It is no bridge: neither a part of the spanning tree, nor its root.
        Port::Guard(true),
        Port::Protect(true),
        Port::MulticastRouter(BridgeMulticastRouterType::Disabled),
        Port::MulticastMaxGroups(MULTICAST_GROUPS_MAX),
        // Groups of machines are kept apart by rules, all others reach each other.
        Port::Isolated(false),
        Port::HairpinMode(false),
    ]
}

/// What this kernel has no words for, as any port of any bridge shows: what came to Linux after
/// 5.17, and so may be missing.
pub fn lacking(port: &[InfoBridgePort]) -> Vec<&'static str> {
    use InfoBridgePort as Port;
    let optional = [
        (
            Port::Locked(true),
            "bridges do not know locked ports (Linux 5.18): the filter alone keeps machines from \
             sending from other hardware addresses",
        ),
        (
            Port::MulticastMaxGroups(MULTICAST_GROUPS_MAX),
            "bridges do not bound multicast groups (Linux 6.3): a machine may join so many that a \
             bridge stops to tell groups apart",
        ),
    ];
    let known = |it: &Port| port.iter().any(|found| is_same(found, it));
    optional.into_iter().filter(|(it, _)| !known(it)).map(|(_, what)| what).collect()
}

fn is_same(one: &InfoBridgePort, other: &InfoBridgePort) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// Whether a port is treated so, as far as this kernel has words for it ([`lacking`]).
///
/// # Errors
/// What is otherwise.
pub fn check(port: &[InfoBridgePort]) -> Result<(), &'static str> {
    use InfoBridgePort as Port;
    for wanted in settings() {
        let needed = !matches!(wanted, Port::Locked(_) | Port::MulticastMaxGroups(_));
        let right = match port.iter().find(|it| is_same(it, &wanted)) {
            Some(found) => *found == wanted,
            None => !needed,
        };
        if !right {
            return Err(match wanted {
                Port::Learning(_) => "the bridge learns from it",
                Port::UnicastFlood(_) => "the bridge floods it",
                Port::Locked(_) => "the bridge takes other addresses from it",
                Port::Guard(_) | Port::Protect(_) => "it may be a part of the spanning tree",
                Port::Isolated(_) | Port::HairpinMode(_) => "what it may reach is wrong",
                _ => "it may disturb multicast",
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use InfoBridgePort as Port;

    use super::*;

    #[test]
    fn what_a_kernel_has_no_words_for_is_named_and_what_is_otherwise_refused() {
        let all = settings();
        assert_eq!((lacking(&all), check(&all)), (Vec::new(), Ok(())));
        let without = |left_out: fn(&Port) -> bool| -> Vec<Port> {
            all.iter().filter(|it| !left_out(it)).cloned().collect()
        };
        let older = without(|it| matches!(it, Port::MulticastMaxGroups(_)));
        assert_eq!((lacking(&older).len(), check(&older)), (1, Ok(())));
        assert!(lacking(&older)[0].contains("Linux 6.3"));
        let oldest = without(|it| matches!(it, Port::MulticastMaxGroups(_) | Port::Locked(_)));
        assert_eq!((lacking(&oldest).len(), check(&oldest)), (2, Ok(())));
        let wrong = without(|it| matches!(it, Port::Learning(_)));
        assert_eq!(check(&wrong), Err("the bridge learns from it"));
        let mut open = without(|it| matches!(it, Port::Locked(_)));
        open.push(Port::Locked(false));
        assert_eq!(check(&open), Err("the bridge takes other addresses from it"));
    }
}
