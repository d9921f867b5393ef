//! Rule 8: revocation lists, each refused for its own reason, or taken although it is unusual; and
//! what they then take back.

mod accepted;
mod entries;
mod fields;
mod force;
mod issuers;
mod scene;

use scene::Case;

use crate::case::all_are_refused;

tables! {
    a_list_whose_issuers_chain_is_wrong_is_refused: issuers::chains, issuers::certificates;
    a_list_by_somebody_else_is_refused: issuers::others;
    a_list_with_a_wrong_signature_is_refused: fields::signatures;
    a_list_out_of_its_time_is_refused: fields::times;
    a_list_with_wrong_extensions_is_refused: fields::extensions;
    what_is_no_list_is_refused: fields::shapes;
    a_list_with_a_wrong_entry_is_refused: entries::cases;
}

#[test]
fn there_are_enough_lists_and_each_has_its_own_name() {
    let cases = all();
    crate::named_apart(cases.iter().map(|case| case.name.as_str()), 100);
}
