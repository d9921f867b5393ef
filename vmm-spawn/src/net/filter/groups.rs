//! Groups of machines on one bridge, which do not see each other.
//!
//! What a bridge sends on from one tap to another passes when both have the same group number
//! (`IFLA_GROUP`), and rules have no word for that: so it is dropped when the numbers differ in any
//! of their bits. That never changes, is the same for all installations of a host, and so is made
//! when it is missing and never removed. It holds as well for what goes to all ports.

use super::words::{
    Family, Hook, Policy, Program, accept, drop, from_group, is, is_not, masked, number, to_group,
};
use crate::net::tap::{GROUP_BASE, GROUPS_MAX};

/// The table.
const TABLE: &str = "vmm-groups";

/// The bits in which the numbers of groups differ.
const BITS: u32 = 16;

/// The rules.
pub fn rules() -> Program {
    const { assert!(GROUP_BASE.trailing_zeros() >= BITS && GROUPS_MAX < 1 << BITS) };
    let mut program = Program::new(Family::Bridge, TABLE.to_owned());
    let mut chain = program.hook("between-machines", Hook::Forward, None, Policy::Accept);
    let other_than_all =
        |group| is_not(masked(group, (!((1_u32 << BITS) - 1)).into()), number(GROUP_BASE.into()));
    chain
        .rule("from elsewhere", [other_than_all(from_group()), accept()])
        .rule("to elsewhere", [other_than_all(to_group()), accept()]);
    for bit in (0..BITS).map(|bit| 1_u128 << bit) {
        let is_there = |group| is(masked(group, bit), number(bit));
        let is_missing = |group| is(masked(group, bit), number(0));
        chain
            .rule("another group", [is_there(from_group()), is_missing(to_group()), drop()])
            .rule("another group", [is_missing(from_group()), is_there(to_group()), drop()]);
    }
    program
}
