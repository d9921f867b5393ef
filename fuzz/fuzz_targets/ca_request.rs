//! Requests, as an issuer reads and shows them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm_ca::inspect::{Contents, to_json, to_text};
use vmm_ca::request::Request;

fuzz_target!(|bytes: &[u8]| {
    let _ = Request::parse(bytes);
    if let Ok(contents) = Contents::of(bytes) {
        let _ = (to_text("file", &contents, 0), to_json("file", &contents, 0));
    }
});
