//! The table of groups when it is not as it should be.

use super::rig::{Rig, nft};
use crate::net::filter::{FilterError, Rules, groups, read_back, tables};
use crate::net::tests::Holder;

/// What somebody may have done to it.
const CHANGES: [&[&str]; 6] = [
    &["add chain bridge vmm-groups more"],
    &["add set bridge vmm-groups more { type ether_addr; }"],
    &["insert rule bridge vmm-groups between-machines accept"],
    &["flush chain bridge vmm-groups between-machines"],
    &["add table bridge vmm-groups { flags dormant; }"],
    // As an earlier version may have had it, which said something in other words.
    &[
        "flush chain bridge vmm-groups between-machines",
        "add rule bridge vmm-groups between-machines meta iifgroup 7 accept comment \"words\"",
    ],
];

#[test]
fn whatever_the_table_of_groups_is_it_becomes_what_was_meant() {
    let Some(_rig) = Rig::new() else { return };
    let rules = Rules::default();
    assert!(!rules.prepare().unwrap());
    assert!(rules.prepare().unwrap());
    for commands in CHANGES {
        for command in commands {
            nft(&[command]);
        }
        read_back::check(&groups::rules()).unwrap_err();
        assert!(!rules.prepare().unwrap(), "{commands:?}");
        read_back::check(&groups::rules()).unwrap();
    }
    nft(&["delete table bridge vmm-groups"]);
    assert!(!rules.prepare().unwrap());
    read_back::check(&groups::rules()).unwrap();
}

#[test]
fn whoever_else_makes_the_table_of_groups_at_the_same_time_does_no_harm() {
    let Some(_rig) = Rig::new() else { return };
    let groups = groups::rules();
    tables::make(&groups).unwrap();
    let again = tables::make(&groups).unwrap_err();
    assert_eq!(again.errno(), Some(rustix::io::Errno::EXIST));
    assert!(Rules::default().prepare().unwrap());
}

#[test]
fn what_somebody_holds_on_to_is_said() {
    let Some(_rig) = Rig::new() else { return };
    let rules = Rules::default();
    let held = Holder::of("bridge vmm-groups");
    let error = rules.prepare().unwrap_err();
    assert!(matches!(error, FilterError::Refused(_)), "{error}");
    assert!(error.to_string().contains("that the table vmm-groups goes"), "{error}");
    drop(held);
    assert!(!rules.prepare().unwrap());
}
