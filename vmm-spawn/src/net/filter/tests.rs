//! With the kernel's own judgement, in network namespaces of their own, which only root can make.

mod rig;

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use rig::{MAC, Rig};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 2);
const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 2);

fn facts(address: Option<Ipv4Addr>, address6: Option<Ipv6Addr>, limits: Limits) -> Facts<'static> {
    Facts { name: "vm0000000000000", mac: MAC, address, address6, limits }
}

#[test]
fn the_kernel_has_the_rules_that_it_was_given() {
    let mut rules = Rules::default();
    for (address, address6) in
        [(Some(OWN), Some(OWN6)), (Some(OWN), None), (None, Some(OWN6)), (None, None)]
    {
        for limits in [
            Limits::default(),
            Limits { bandwidth: Some(1), packets: Some(1) },
            Limits { bandwidth: Some(1024), packets: None },
            Limits { bandwidth: None, packets: Some(Limits::PACKETS_MAX) },
            Limits { bandwidth: Some(Limits::BANDWIDTH_MAX), packets: Some(4096) },
        ] {
            let Some(mut rig) = Rig::new() else { return };
            let name = rig.add_tap(0);
            rules.prepare().unwrap();
            let facts = Facts { name: name.as_str(), ..facts(address, address6, limits) };
            rules.set(&frames::rules_for(&facts)).unwrap();
        }
    }
}
