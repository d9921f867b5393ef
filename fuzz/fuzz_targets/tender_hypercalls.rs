//! Hypercalls, on guest memory full of arbitrary bytes.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use vmm_tender::fuzzing::Guest;

thread_local! {
    static GUEST: RefCell<Guest> = RefCell::new(Guest::new());
}

fuzz_target!(|bytes: &[u8]| GUEST.with_borrow_mut(|guest| guest.make_calls(bytes)));
