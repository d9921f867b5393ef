//! What is written on the interfaces of an installation, so that it finds them again and leaves
//! all others alone.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::Interface;

use super::digest::{OF_NOTHING, digest};
use super::link::{Link, Mac};
use super::tap::hex;
use crate::jail::cgroup::name_of;

/// Bytes of what stands for the installation at most, of the 255 that the kernel has room for: a
/// machine and the identity of its guest take 110.
const TAG_MAX: usize = 140;

/// Who the guest of a tap is on its network: what its filter follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its hardware address.
    pub mac: Mac,
    /// Its address, if it is managed.
    pub address: Option<Ipv4Addr>,
    /// The same of IPv6.
    pub address6: Option<Ipv6Addr>,
}

impl Identity {
    /// As it was asked for.
    pub fn of(interface: &Interface) -> Self {
        let Interface { mac, address, address6, .. } = *interface;
        Self { mac, address, address6 }
    }

    /// Out of words, all of which must make sense.
    fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut mac = Mac::default();
        let mut digits = words.next()?.split(':');
        for byte in &mut mac {
            *byte = u8::from_str_radix(digits.next()?, 16).ok()?;
        }
        let mut this = Self { mac, address: None, address6: None };
        for word in words {
            match word.parse() {
                Ok(address) => this.address = Some(address),
                Err(_) => this.address6 = Some(word.parse().ok()?),
            }
        }
        digits.next().is_none().then_some(this)
    }
}

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
            tag = format!("{whole}#{:016x}", digest(rest.as_bytes(), OF_NOTHING));
        }
        Self { tag }
    }

    /// What is written on whatever is of the installation as a whole.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// What is written on the taps of a machine.
    pub fn alias(&self, machine: MachineId) -> String {
        format!("{} {machine}", self.tag)
    }

    /// The same with who its guest is there, so that it can be filtered again by whoever finds it.
    pub fn alias_with(&self, machine: MachineId, identity: Identity) -> String {
        let Identity { mac, address, address6 } = identity;
        let mut alias = format!("{} {}", self.alias(machine), hex(&mac));
        // Nothing fails to be written into a text.
        let _ = address.iter().try_for_each(|address| write!(alias, " {address}"));
        let _ = address6.iter().try_for_each(|address| write!(alias, " {address}"));
        alias
    }

    /// The machine that an interface is of, as text, if it is of this installation.
    pub fn of<'a>(&self, link: &'a Link) -> Option<&'a str> {
        self.words(link)?.next()
    }

    /// Who the guest of a tap of this installation is, if that is written on it.
    pub fn identity(&self, link: &Link) -> Option<Identity> {
        Identity::parse(self.words(link)?.skip(1))
    }

    fn words<'a>(&self, link: &'a Link) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
        Some(link.alias.as_deref()?.strip_prefix(&self.tag)?.strip_prefix(' ')?.split(' '))
    }
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

    fn longest() -> Identity {
        let address6 = "2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap();
        let address = Some(Ipv4Addr::new(255, 255, 255, 254));
        Identity { mac: [0xfd; 6], address, address6: Some(address6) }
    }

    #[test]
    fn the_longest_directory_fits() {
        let long = |last: &str| Owner::of_directory(Path::new(&("/é".repeat(1000) + last)));
        assert!(long("a").alias_with(MachineId([7; 16]), longest()).len() <= 255);
        assert_ne!(long("a"), long("b"));
    }

    #[test]
    fn who_a_guest_is_can_be_read_from_its_tap() {
        let (machine, all) = (MachineId([7; 16]), longest());
        let here = Owner::of_directory(Path::new("/run/vmm"));
        for identity in [
            all,
            Identity { address: None, ..all },
            Identity { address6: None, ..all },
            Identity { address: None, address6: None, ..all },
        ] {
            let alias = Some(here.alias_with(machine, identity));
            let link = Link { alias, ..Link::default() };
            assert_eq!(here.of(&link), Some(machine.to_string().as_str()));
            assert_eq!(here.identity(&link), Some(identity));
        }
        for wrong in ["", " 02:00:00:00:00", " 02:00:00:00:00:01:02", " 02:00:00:00:00:01 it"] {
            let alias = Some(here.alias(machine) + wrong);
            assert_eq!(here.identity(&Link { alias, ..Link::default() }), None, "{wrong}");
        }
    }
}
