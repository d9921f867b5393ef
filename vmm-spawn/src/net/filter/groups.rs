//! Groups of machines on one bridge, which do not see each other.
//!
//! What a bridge sends on from one tap to another passes when both have the same group number
//! (`IFLA_GROUP`), and rules have no word for that: so it is dropped when the numbers differ in any
//! of their bits. That never changes, is the same for all installations of a host, and so is made
//! when it is missing and never removed. It holds as well for what goes to all ports.

use nftables::expr::{Expression, Meta, MetaKey, NamedExpression};
use nftables::types::{NfChainPolicy, NfFamily, NfHook};

use super::words::{Program, accept, drop, is, is_not, masked, number, range};
use crate::net::tap::{GROUP_BASE, GROUPS_MAX};

/// The table.
const TABLE: &str = "vmm-groups";

/// The bits in which the numbers of groups differ.
const BITS: u32 = 16;

/// The rules.
pub fn rules() -> Program {
    const { assert!(GROUP_BASE.trailing_zeros() >= BITS && GROUPS_MAX < 1 << BITS) };
    let mut program = Program::new(NfFamily::Bridge, TABLE.to_owned());
    let mut chain = program.hook("between-machines", NfHook::Forward, None, NfChainPolicy::Accept);
    let group = |key| Expression::Named(NamedExpression::Meta(Meta { key }));
    let (from, to) = (MetaKey::Iifgroup, MetaKey::Oifgroup);
    let all = || range(GROUP_BASE, GROUP_BASE | ((1 << BITS) - 1));
    chain
        .rule("from elsewhere", [is_not(group(from), all()), accept()])
        .rule("to elsewhere", [is_not(group(to), all()), accept()]);
    for bit in (0..BITS).map(|bit| 1 << bit) {
        // With more bits than the one: zero has a name, and others may have one on this host, and what
        // is at one end of a number is printed as the beginning of it.
        let mask = GROUP_BASE | bit;
        let is_there = |key| is(masked(group(key), mask), number((GROUP_BASE | bit).into()));
        let is_missing = |key| is(masked(group(key), mask), number(GROUP_BASE.into()));
        chain
            .rule("another group", [is_there(from), is_missing(to), drop()])
            .rule("another group", [is_missing(from), is_there(to), drop()]);
    }
    program
}
