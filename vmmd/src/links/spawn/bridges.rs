//! The bridges of the host that machines may be put on.

use std::collections::BTreeSet;

use vmm_proto::resource::BridgeName;

/// Those that a grant can name; others are of no use to anyone.
pub(super) fn offered(names: &[String]) -> BTreeSet<BridgeName> {
    let known = |name: &String| {
        BridgeName::parse(name).inspect_err(|error| tracing::warn!("vmm-spawn: {error}")).ok()
    };
    names.iter().filter_map(known).collect()
}

/// Says which bridges are named for peers and are neither offered nor a host network's: that does no
/// harm, and may be a slip.
pub(super) fn warn_of_absent(peers: &[BridgeName], there: &BTreeSet<BridgeName>) {
    for peer in absent(peers, there) {
        tracing::warn!(
            "--bridge-peers {peer}: vmm-spawn has no bridge of that name for machines, and no host \
             network is called so; give vmm-spawn --bridge {peer}, add such a network, or leave this \
             out"
        );
    }
}

fn absent<'p>(
    peers: &'p [BridgeName],
    offered: &BTreeSet<BridgeName>,
) -> impl Iterator<Item = &'p BridgeName> {
    peers.iter().filter(|peer| !offered.contains(*peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_that_no_grant_can_name_is_not_offered() {
        let names = ["int", "ext", "-x", "sixteen-letters-", "", "int"].map(str::to_owned);
        let offered: Vec<_> = offered(&names).iter().map(ToString::to_string).collect();
        assert_eq!(offered, ["ext", "int"]);
    }

    #[test]
    fn a_bridge_of_peers_that_is_not_there_is_told() {
        let peers = ["ext", "gone"].map(|name| BridgeName::parse(name).unwrap());
        let offered = offered(&["ext".to_owned()]);
        assert!(absent(&peers, &offered).eq(&peers[1..]));
    }
}
