//! A tap whose guest is the test.

use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::io::{Errno, write};
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::Interface;
use vmm_proto::resource::TapName;

use super::super::{FilterError, Rules};
use crate::net::netlink::Netlink;
use crate::net::tap::{GROUP_BASE, TapFacts};
use crate::net::tests::empty_network;
use crate::net::tun;

/// The guest's hardware address.
pub(super) const MAC: [u8; 6] = [0x02, 0x11, 0x22, 0x33, 0x44, 0x55];

/// A network namespace with taps.
pub(super) struct Rig {
    pub(super) netlink: Netlink,
    pub(super) taps: Vec<(TapName, OwnedFd)>,
}

impl Rig {
    pub(super) fn new() -> Option<Self> {
        Some(Self { netlink: empty_network()?, taps: Vec::new() })
    }

    /// A tap that is down.
    pub(super) fn add_tap(&mut self, index: u16) -> TapName {
        let name = TapName::of(MachineId([7; 16]), index);
        self.taps.push((name, tun::make(name.as_str()).unwrap()));
        name
    }

    pub(super) fn index(&mut self, name: TapName) -> u32 {
        self.netlink.link(name.as_str()).unwrap().unwrap().index
    }

    /// What the filter of a tap follows from.
    pub(super) fn facts<'a>(&mut self, name: TapName, interface: &'a Interface) -> TapFacts<'a> {
        let (index, machine) = (self.index(name), MachineId([7; 16]));
        TapFacts { name, index, group: GROUP_BASE, machine, host_mac: [0xFE; 6], interface }
    }

    /// Filters a tap as for this interface, and switches it on.
    pub(super) fn filter(
        &mut self,
        rules: &Rules,
        name: TapName,
        interface: &Interface,
    ) -> Result<(), FilterError> {
        let facts = self.facts(name, interface);
        let index = facts.index;
        rules.apply(&facts)?;
        self.netlink.set_up(index, true).unwrap();
        Ok(())
    }

    /// Sends as the guest of a tap. What is too short to be a frame the kernel refuses.
    pub(super) fn send(&self, tap: usize, frame: &[u8]) {
        match write(&self.taps[tap].1, frame) {
            Ok(length) => assert_eq!(length, frame.len()),
            Err(error) => assert_eq!((error, frame.len() < 14), (Errno::INVAL, true)),
        }
    }
}

/// Counts what comes from a tap after the filter has seen it, which is when it was written.
pub(super) fn count(tap: TapName) {
    nft(&["add", "table", "netdev", "passed"]);
    // The host itself is not to answer.
    let chain = format!("{{ type filter hook ingress device {tap} priority 0; policy drop; }}");
    nft(&["add", "chain", "netdev", "passed", "every", &chain]);
    nft(&["add", "rule", "netdev", "passed", "every", "counter"]);
}

/// How many frames, and how many bytes of them, have come through a filter.
pub(super) fn passed() -> (u64, u64) {
    let printed = nft(&["-j", "list", "table", "netdev", "passed"]);
    let table: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let objects = table["nftables"].as_array().unwrap();
    let rule = objects.iter().find_map(|it| it.get("rule")).unwrap();
    let count = |what: &str| rule["expr"][0]["counter"][what].as_u64().unwrap();
    (count("packets"), count("bytes"))
}

/// What the program of that name does and prints, in the same network.
pub(super) fn nft(arguments: &[&str]) -> String {
    let output = Command::new("/usr/sbin/nft").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
