//! Chains of a forge that shares no code with the suite, held against the certificate profile:
//! each refused for its own reason, or accepted although it is unusual.
//!
//! A case is a chain that is accepted and one change to it. The change alone makes it refused, and
//! for the reason that stands beside it, so a case cannot pass by accident.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::too_many_lines, reason = "a table is as long as it has rows")]

/// Every table of refusals, each a test by itself.
macro_rules! tables {
    ($($name:ident: $($table:path),+;)+) => {
        $(
            #[test]
            fn $name() {
                $(all_are_refused(&$table());)+
            }
        )+

        fn all() -> Vec<Case> {
            [$($($table(),)+)+].into_iter().flatten().collect()
        }
    };
}

mod accepted;
mod bounds;
mod case;
mod fields;
mod grants;
mod list;
mod lists;
mod names;
mod noise;
mod roots;
mod scene;
mod server;
mod validity;

use std::collections::BTreeSet;

use case::all_are_refused;
use scene::Case;

/// Asserts that there are at least so many names, and none twice.
fn named_apart<'n>(names: impl Iterator<Item = &'n str>, at_least: usize) {
    let mut seen = BTreeSet::new();
    for name in names {
        assert!(seen.insert(name), "two cases are called \"{name}\"");
    }
    println!("{} cases", seen.len());
    assert!(seen.len() >= at_least, "{} cases", seen.len());
}

tables! {
    a_list_that_is_not_the_path_is_refused: list::order, list::extra, list::detours;
    a_chain_out_of_its_time_is_refused: validity::cases;
    a_wrong_version_or_serial_is_refused: fields::version_and_serial;
    a_wrong_usage_is_refused: fields::usages;
    wrong_basic_constraints_are_refused: fields::constraints;
    wrong_key_identifiers_are_refused: fields::key_identifiers;
    wrong_extensions_are_refused: fields::extensions;
    wrong_algorithms_and_signatures_are_refused: fields::algorithms;
    a_subject_that_is_no_label_is_refused: names::cases;
    a_wrong_root_is_refused: roots::cases;
    a_missing_or_misplaced_grant_is_refused: grants::extension;
    wrong_permissions_are_refused: grants::permissions;
    a_wrong_delegation_is_refused: grants::delegation_fields, grants::bridges;
    a_wrong_machine_is_refused: grants::machine_fields;
    a_delegation_larger_than_its_issuer_is_refused: bounds::quantities, bounds::ranges;
    a_delegation_for_another_host_is_refused: bounds::hosts;
}

#[test]
fn there_are_enough_cases_and_each_has_its_own_name() {
    let cases = all();
    named_apart(cases.iter().map(|case| case.name.as_str()), 150);
}
