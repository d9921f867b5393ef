//! What a host has of networks: counted before and after.

use std::collections::BTreeSet;

use xtask::house::wait_until;

use super::traffic::shell;

/// The interfaces and the nftables objects of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    /// Interfaces by name.
    pub links: BTreeSet<String>,
    /// Every line of the rule set that opens a table, a chain, a set or a map; without the table that
    /// keeps groups of machines apart, which all installations of a host share and none removes.
    pub filters: BTreeSet<String>,
}

impl Holdings {
    /// What there is now, where this thread is.
    pub fn now() -> Self {
        let links = shell("ip -o link show");
        let link = |line: &str| {
            let name = line.split(": ").nth(1)?;
            Some(name.split('@').next()?.to_owned())
        };
        let rules = shell("nft list ruleset");
        let shared = ["table bridge vmm-groups {", "chain between-machines {"];
        let opens = |line: &&str| line.ends_with('{') && !shared.contains(&line.trim());
        Self {
            links: links.lines().filter_map(link).collect(),
            filters: rules.lines().filter(opens).map(|line| line.trim().to_owned()).collect(),
        }
    }

    /// Interfaces of machines that are there.
    pub fn taps() -> usize {
        Self::now().links.iter().filter(|name| name.starts_with("vm")).count()
    }

    /// Waits until everything is as it was counted.
    #[track_caller]
    pub fn wait_for_again(&self) {
        if wait_until("nothing left over", || Self::now() == *self).is_err() {
            assert_eq!(Self::now(), *self, "left over");
        }
    }
}
