//! What is written on the interfaces of an installation, so that it finds them again and leaves
//! all others alone.

use std::path::Path;

use vmm_proto::id::MachineId;

use super::link::Link;
use crate::jail::cgroup::name_of;

/// Bytes of an alias at most, of the 255 that the kernel has room for.
const TAG_MAX: usize = 200;

/// The installation that interfaces are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    tag: String,
}

impl Owner {
    /// The one in this directory, which is absolute and without links.
    pub fn of_directory(dir: &Path) -> Self {
        let mut tag = name_of(dir);
        if tag.len() > TAG_MAX {
            // It is ASCII.
            let (whole, rest) = tag.split_at(TAG_MAX - 20);
            tag = format!("{whole}#{:016x}", digest(rest.as_bytes()));
        }
        Self { tag }
    }

    /// What is written on the taps of a machine.
    pub fn alias(&self, machine: MachineId) -> String {
        format!("{} {machine}", self.tag)
    }

    /// The machine that an interface is of, as text, if it is of this installation.
    pub fn of<'a>(&self, link: &'a Link) -> Option<&'a str> {
        link.alias.as_deref()?.strip_prefix(&self.tag)?.strip_prefix(' ')
    }
}

/// FNV-1a: enough to tell directories apart that nobody chose to confuse.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_known_again_by_its_installation_alone() {
        let (machine, text) = (MachineId([7; 16]), "07070707-0707-0707-0707-070707070707");
        let here = Owner::of_directory(Path::new("/run/vmm"));
        let alias = Some(here.alias(machine));
        assert_eq!(alias.as_deref(), Some(format!("vmm@-run-vmm {text}").as_str()));
        let link = Link { alias, ..Link::default() };
        assert_eq!(here.of(&link), Some(text));
        assert_eq!(Owner::of_directory(Path::new("/run/vmm2")).of(&link), None);
        assert_eq!(here.of(&Link::default()), None);
    }

    #[test]
    fn the_longest_directory_fits() {
        let long = |last: &str| Owner::of_directory(Path::new(&("/é".repeat(1000) + last)));
        assert!(long("a").alias(MachineId([7; 16])).len() < 255);
        assert_ne!(long("a"), long("b"));
    }
}
