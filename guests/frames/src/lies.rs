//! Frames that pretend to come from somebody else, or to be somebody else's business; and honest ones
//! of the same sorts beside them. Each ends with a mark, by which it is found on the wire.

mod addresses;
mod link;
mod services;

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::{Buffer, Mac};

/// Who speaks, to whom, and who is impersonated.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// The speaker's hardware address.
    pub mac: Mac,
    /// The speaker's address.
    pub ipv4: Option<Ipv4Addr>,
    /// The speaker's address.
    pub ipv6: Option<Ipv6Addr>,
    /// Where frames are sent to.
    pub to: Mac,
    /// Whose hardware address is pretended.
    pub victim_mac: Mac,
    /// Whose address is pretended.
    pub victim: Ipv4Addr,
    /// Whose address is pretended.
    pub victim6: Ipv6Addr,
}

/// A sort of frame.
#[derive(Clone, Copy, Debug)]
pub struct Sort {
    /// Its name, which is in its mark.
    pub name: &'static str,
    /// Whether it says nothing but the truth.
    pub honest: bool,
    write: fn(&Scene) -> Option<Buffer>,
}

impl Sort {
    const fn honest(name: &'static str, write: fn(&Scene) -> Option<Buffer>) -> Self {
        Self { name, honest: true, write }
    }

    const fn lie(name: &'static str, write: fn(&Scene) -> Option<Buffer>) -> Self {
        Self { name, honest: false, write }
    }

    /// The frame with its mark, `vmm-says:NAME;`. `None` if the speaker has no address of that family.
    pub fn frame(&self, scene: &Scene) -> Option<Buffer> {
        let mut frame = (self.write)(scene)?;
        for part in [MARK, self.name.as_bytes(), b";"] {
            frame.push(part);
        }
        Some(frame)
    }
}

/// How a mark begins.
pub const MARK: &[u8] = b"vmm-says:";

/// All sorts, by what they are about.
pub fn sorts() -> impl Iterator<Item = Sort> {
    let all = [link::SORTS, addresses::SORTS, services::SORTS];
    all.into_iter().flatten().copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_sort_has_a_name_of_its_own_and_ends_with_its_mark() {
        let scene = Scene {
            mac: [2, 0, 0, 0, 0, 9],
            ipv4: Some(Ipv4Addr::new(10, 0, 0, 2)),
            ipv6: Some("fd00::2".parse().unwrap()),
            to: crate::BROADCAST,
            victim_mac: [2, 0, 0, 0, 0, 1],
            victim: Ipv4Addr::new(10, 0, 0, 1),
            victim6: "fd00::1".parse().unwrap(),
        };
        let mut names = BTreeSet::new();
        for sort in sorts() {
            assert!(names.insert(sort.name), "{}", sort.name);
            let frame = sort.frame(&scene).unwrap();
            let mark = format!("vmm-says:{};", sort.name);
            assert!(frame.bytes().ends_with(mark.as_bytes()), "{}", sort.name);
            let own = frame.bytes()[6..12] == scene.mac;
            assert!(own || sort.name.starts_with("mac-"), "{}", sort.name);
            assert_eq!(sort.honest, sort.name.starts_with("honest-"), "{}", sort.name);
        }
        assert!(names.len() > 30, "{names:?}");
    }
}
