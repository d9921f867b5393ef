//! What may go through one tap.
//!
//! A frame passes when a rule says so, and on no other ground: what is too short for a comparison
//! is like what differs. So whatever hides what it is does not pass.
//!
//! On a network that manages addresses of any family, a machine has those that it was given, and
//! sends nothing of a family in which it has none. On one that manages none (a bare bridge), only
//! the hardware address is enforced; there too nothing is served that belongs to the network.
//!
//! What there is most of comes first: packets to one other, then TCP and UDP. The kernel loads one,
//! two or four bytes of a packet and compares them without calling anything, which is not so for
//! what is in the Ethernet header: that is loaded seldom, and much at once.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Limits;
use super::ip4;
use super::ip6;
use super::words::{
    Family, Hook, InChain, Policy, Program, Unit, Value, accept, any, drop, go_to, is, link,
    masked, number, over, packet, range,
};
use crate::net::link::Mac;

/// What the tables of taps are called, before the name of the tap.
pub const TABLE_PREFIX: &str = "vmm-";

/// Bytes that may come at once beyond a second's worth: a segment as long as the host's kernel makes
/// them.
const BURST_BYTES: u32 = 1 << 16;

/// Packets that may come at once, at least.
const BURST_PACKETS: u32 = 64;

/// In the address that a frame goes to: that of a group has this bit, which comes first on the wire.
const GROUP: u128 = 0x0100_0000_0000;

/// All bits of a hardware address.
const MAC: u128 = 0xffff_ffff_ffff;

/// What the rules of one tap follow from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The tap.
    pub name: &'a str,
    /// Its guest's hardware address.
    pub mac: Mac,
    /// Its guest's address, if it is managed.
    pub address: Option<Ipv4Addr>,
    /// The same of IPv6.
    pub address6: Option<Ipv6Addr>,
    /// How much may go through.
    pub limits: Limits,
}

impl Facts<'_> {
    /// Whether the network gives addresses to machines.
    pub fn managed(&self) -> bool {
        self.address.is_some() || self.address6.is_some()
    }

    /// The hardware address as a number.
    pub fn mac_number(&self) -> u128 {
        self.mac.iter().fold(0, |sum, &byte| sum << 8 | u128::from(byte))
    }
}

/// The name of a tap's table.
pub fn table_of(tap: &str) -> String {
    format!("{TABLE_PREFIX}{tap}")
}

/// All rules of a tap.
pub fn rules_for(facts: &Facts<'_>) -> Program {
    let mut program = Program::new(Family::NetDev, table_of(facts.name));
    if facts.address.is_some() || !facts.managed() {
        ip4::rules(&mut program, facts);
        arp(&mut program, facts);
    }
    if facts.address6.is_some() || !facts.managed() {
        ip6::rules(&mut program, facts);
    }
    types(&mut program, facts);
    groups(&mut program);
    from_guest(&mut program, facts);
    to_guest(&mut program, facts);
    program
}

/// What a guest sends. The kernel comes here before the bridge looks at a frame.
fn from_guest(program: &mut Program, facts: &Facts<'_>) {
    let mut chain = program.hook("from-guest", Hook::Ingress, Some(facts.name), Policy::Drop);
    limit(&mut chain, facts.limits);
    let mac = facts.mac_number();
    // Both addresses at once, and not the type with them: what the kernel has taken out of a frame, a
    // tag, it shows in front of the type alone.
    let to_one = masked(link(0, 96), GROUP << 48 | MAC);
    chain
        .rule("from its hardware address, to one", [is(to_one, number(mac)), go_to("types")])
        .rule("to a group", [is(link(48, 48), number(mac)), go_to("groups")]);
}

/// What comes to a guest: not what a bridge sends to all of its ports because it does not know
/// better.
fn to_guest(program: &mut Program, facts: &Facts<'_>) {
    let passes = || if facts.limits == Limits::default() { accept() } else { go_to("limited") };
    if facts.limits != Limits::default() {
        let mut chain = program.chain("limited");
        limit(&mut chain, facts.limits);
        chain.rule("as much as it may get", [accept()]);
    }
    let mut chain = program.hook("to-guest", Hook::Egress, Some(facts.name), Policy::Drop);
    let own = is(link(0, 48), number(facts.mac_number()));
    chain.rule("to its hardware address", [own, passes()]);
    chain.rule("to a group", [is(masked(link(0, 8), 1), number(1)), passes()]);
}

/// The kernel lets bytes come at once for a second, and beyond that the burst.
fn limit(chain: &mut InChain<'_>, limits: Limits) {
    if let Some(bytes) = limits.bytes_per_second() {
        chain.rule("too many bytes", [over(bytes, BURST_BYTES, Unit::Bytes), drop()]);
    }
    if let Some(packets) = limits.packets {
        let burst = (packets / 10).max(BURST_PACKETS);
        chain.rule("too many packets", [over(packets, burst, Unit::Packets), drop()]);
    }
}

/// To whom no machine sends.
fn groups(program: &mut Program) {
    program
        .chain("groups")
        .rule("bridge protocols", [is(link(0, 40), number(0x01_80c2_0000)), drop()])
        .rule(
            "discovery and spanning trees of Cisco",
            [is(link(0, 24), number(0x0001_000c)), drop()],
        )
        .rule("ring protection", [is(link(0, 24), number(0x0001_19a7)), drop()])
        .rule("others", [go_to("types")]);
}

/// What is in a frame. Tags count as what they are: the kernel shows them in their old place.
fn types(program: &mut Program, facts: &Facts<'_>) {
    let ether_type = || link(96, 16);
    let mut chain = program.chain("types");
    if facts.address.is_some() || !facts.managed() {
        chain.rule("IPv4", [is(ether_type(), number(0x0800)), go_to("ip4")]);
        chain.rule("ARP", [is(ether_type(), number(0x0806)), go_to("arp")]);
    }
    if facts.address6.is_some() || !facts.managed() {
        chain.rule("IPv6", [is(ether_type(), number(0x86dd)), go_to("ip6")]);
    }
    if !facts.managed() {
        chain.rule("frames with a length", [is(ether_type(), range(0, 0x5ff)), drop()]);
        chain.rule("what belongs to networks", [is(ether_type(), network_types()), drop()]);
        chain.rule("whatever else", [accept()]);
    }
}

/// Types of frames that tag or carry others, or that switches speak among themselves.
fn network_types() -> Value {
    any([
        number(0x22ea),        // MSRP
        number(0x22f3),        // TRILL
        number(0x8035),        // RARP
        number(0x8100),        // 802.1Q
        range(0x8808, 0x8809), // pause, LACP
        range(0x8863, 0x8864), // PPPoE
        number(0x88a8),        // 802.1ad
        number(0x88cc),        // LLDP
        number(0x88e3),        // MRP
        range(0x88e5, 0x88e7), // MACsec, 802.1ah
        number(0x888e),        // EAPOL
        range(0x88f5, 0x88f6), // MVRP, MMRP
        number(0x8902),        // CFM
        number(0x8926),        // VN-Tag
        number(0x893f),        // 802.1BR
        number(0x9000),        // loopback
        number(0x9100),        // older tags
        number(0x9200),
        number(0x9300),
    ])
}

/// RFC 826, Ethernet and IPv4 alone; RFC 5227 for probes.
fn arp(program: &mut Program, facts: &Facts<'_>) {
    // Hardware type, protocol type, both lengths, operation.
    const REQUEST: u128 = 0x0001_0800_0604_0001;
    const REPLY: u128 = REQUEST + 1;
    let mac = facts.mac_number();
    let mut chain = program.chain("arp");
    let header = || is(packet(0, 64), any([number(REQUEST), number(REPLY)]));
    let Some(address) = facts.address else {
        let own = is(packet(64, 48), number(mac));
        chain.rule("its hardware address has an address", [header(), own, accept()]);
        return;
    };
    let address = u128::from(u32::from(address));
    let own = is(packet(64, 80), number(mac << 32 | address));
    chain.rule("its hardware address has its address", [header(), own, accept()]);
    let probe = is(packet(0, 64), number(REQUEST));
    let nobody = is(packet(64, 80), number(mac << 32));
    let target = is(packet(192, 32), number(address));
    chain.rule("whether anybody has its address", [probe, nobody, target, accept()]);
}
