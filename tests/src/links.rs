//! The connections between the daemons of an installation.

use std::collections::BTreeSet;
use std::path::Path;

use xtask::house::House;

/// Which daemons take connections that stay, and how many: of `vmmd`, and at `vmm-spawn` of
/// `vmm-console` too.
const LASTING: [(&str, usize); 3] = [("vmm-log", 1), ("vmm-stats", 1), ("vmm-spawn", 2)];

/// Whether all daemons have found each other. Before that, a count of descriptors says nothing.
pub fn are_made(house: &House) -> bool {
    LASTING.iter().all(|(name, count)| accepted(house, name) >= *count)
}

/// How many connections a daemon has accepted at its socket and holds.
fn accepted(house: &House, name: &str) -> usize {
    let Some(daemon) = house.daemon(name) else { return 0 };
    let part = name.strip_prefix("vmm-").unwrap_or(name);
    let socket = format!("run/{part}.sock");
    // Number, references, protocol, flags, type, state, inode, and the name that it was bound to.
    // Of the network that this thread is in, which need not be that of the process.
    let table = std::fs::read_to_string("/proc/thread-self/net/unix").unwrap_or_default();
    let connected = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [_, _, _, _, _, "03", inode, path] if path.ends_with(&socket) => {
                Some(format!("socket:[{inode}]"))
            }
            _ => None,
        }
    };
    let connected: BTreeSet<String> = table.lines().filter_map(connected).collect();
    let descriptors = std::fs::read_dir(Path::new(&format!("/proc/{}/fd", daemon.pid())));
    let links = descriptors.into_iter().flatten().flatten();
    let links = links.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_str().is_some_and(|link| connected.contains(link))).count()
}
