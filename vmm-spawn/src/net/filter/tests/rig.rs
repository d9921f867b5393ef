//! A tap whose guest is the test.

use std::os::fd::OwnedFd;

use nftables::schema::{Chain, NfCmd, NfListObject, NfObject, Nftables, Rule, Table};
use nftables::stmt::{AnonymousCounter, Counter, Statement};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook};
use rustix::io::{Errno, write};
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::Interface;
use vmm_proto::resource::TapName;

use super::super::{FilterError, Nft, Rules};
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
    nft: Nft,
}

impl Rig {
    pub(super) fn new() -> Option<Self> {
        Some(Self { netlink: empty_network()?, taps: Vec::new(), nft: Nft::default() })
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

    /// Filters a tap as for this interface, and switches it on.
    pub(super) fn filter(
        &mut self,
        rules: &mut Rules,
        name: TapName,
        interface: &Interface,
    ) -> Result<(), FilterError> {
        let index = self.index(name);
        let machine = MachineId([7; 16]);
        let host_mac = [0xFE; 6];
        let facts = TapFacts { name, index, group: GROUP_BASE, machine, host_mac, interface };
        rules.apply(&facts)?;
        self.netlink.set_up(index, true).unwrap();
        Ok(())
    }

    /// Counts what comes from a tap after the filter has seen it, which is when it was written.
    pub(super) fn count(&mut self, tap: TapName) {
        let (family, table) = (NfFamily::NetDev, "passed");
        let chain = Chain {
            family,
            table: table.into(),
            name: "all".into(),
            _type: Some(NfChainType::Filter),
            hook: Some(NfHook::Ingress),
            prio: Some(0),
            dev: Some(tap.as_str().to_owned().into()),
            // The host itself is not to answer.
            policy: Some(NfChainPolicy::Drop),
            ..Chain::default()
        };
        let counter = Statement::Counter(Counter::Anonymous(Some(AnonymousCounter::default())));
        let rule = Rule {
            family,
            table: table.into(),
            chain: "all".into(),
            expr: vec![counter].into(),
            ..Rule::default()
        };
        let objects = [
            NfListObject::Table(Table { family, name: table.into(), handle: None }),
            NfListObject::Chain(chain),
            NfListObject::Rule(rule),
        ];
        let objects = objects.map(|it| NfObject::CmdObject(NfCmd::Add(it)));
        self.nft.order(&Nftables { objects: objects.to_vec().into() }).unwrap();
    }

    /// How many frames, and how many bytes of them, have come through a filter.
    pub(super) fn passed(&mut self) -> (u64, u64) {
        let table = self.nft.list("netdev", "passed").unwrap();
        let objects = table["nftables"].as_array().unwrap();
        let rule = objects.iter().find_map(|it| it.get("rule")).unwrap();
        let count = |what: &str| rule["expr"][0]["counter"][what].as_u64().unwrap();
        (count("packets"), count("bytes"))
    }

    /// Sends as the guest of a tap. What is too short to be a frame the kernel refuses.
    pub(super) fn send(&self, tap: usize, frame: &[u8]) {
        match write(&self.taps[tap].1, frame) {
            Ok(length) => assert_eq!(length, frame.len()),
            Err(error) => assert_eq!((error, frame.len() < 14), (Errno::INVAL, true)),
        }
    }
}
