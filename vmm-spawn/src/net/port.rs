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

/// Whether a port is treated so, as far as this kernel has words for it: what came to Linux after
/// 5.17 may be missing.
///
/// # Errors
/// What is otherwise.
pub fn check(port: &[InfoBridgePort]) -> Result<(), &'static str> {
    use InfoBridgePort as Port;
    for wanted in settings() {
        let same = |it: &&Port| std::mem::discriminant(*it) == std::mem::discriminant(&wanted);
        let needed = !matches!(wanted, Port::Locked(_) | Port::MulticastMaxGroups(_));
        let right = match port.iter().find(same) {
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
