//! What the host networks of one installation are known by, so that it finds them again and leaves
//! everything else alone.

use std::path::Path;

use crate::jail::cgroup::name_of;
use crate::net::digest::{OF_NOTHING, digest};
use crate::net::link::{Link, Mac};

/// The marks of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    number: u64,
}

impl Mark {
    /// Those of the one in this directory, which is absolute and without links.
    pub fn of_directory(dir: &Path) -> Self {
        Self { number: digest(name_of(dir).as_bytes(), OF_NOTHING) }
    }

    /// The name of its table of rules.
    pub fn table(&self) -> String {
        format!("vmm_networks_{:016x}", self.number)
    }

    /// What is written on its bridges.
    pub fn alias(&self) -> String {
        format!("host network of vmm-spawn {:016x}", self.number)
    }

    /// The hardware address of a bridge of this name: the same each time, so that machines that run
    /// find the host again after the bridge was made anew; and what a bridge is known by that was
    /// made, and not yet written upon.
    pub fn mac(&self, name: &str) -> Mac {
        let mut mac = [0; 6];
        mac.copy_from_slice(&digest(name.as_bytes(), self.number).to_be_bytes()[2..]);
        // Local, and of one interface.
        mac[0] = 0x02;
        mac
    }

    /// Whether an interface was made by this installation as a host network.
    pub fn is_on(&self, link: &Link) -> bool {
        link.is_bridge()
            && match &link.alias {
                Some(alias) => *alias == self.alias(),
                None => !link.is_up && link.mac == Some(self.mac(&link.name)),
            }
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::InfoKind;

    use super::*;

    #[test]
    fn a_bridge_is_known_again_by_its_installation_alone() {
        let (here, there) = ("/run/vmm", "/run/vmm2");
        let [here, there] = [here, there].map(|dir| Mark::of_directory(Path::new(dir)));
        let bridge = Link { kind: Some(InfoKind::Bridge), name: "nat0".into(), ..Link::default() };
        let marked = Link { alias: Some(here.alias()), is_up: true, ..bridge.clone() };
        assert!(here.is_on(&marked) && !there.is_on(&marked));
        let fresh = Link { mac: Some(here.mac("nat0")), ..bridge.clone() };
        assert!(here.is_on(&fresh) && !there.is_on(&fresh));
        for other in [
            Link { kind: Some(InfoKind::Dummy), ..marked },
            Link { is_up: true, ..fresh.clone() },
            Link { alias: Some("mine".into()), ..fresh },
            bridge,
        ] {
            assert!(!here.is_on(&other), "{other:?}");
        }
    }
}
