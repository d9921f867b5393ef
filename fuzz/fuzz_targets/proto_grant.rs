//! Grants in DER. What is accepted has exactly one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm_proto::grant::Grant;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(grant) = Grant::from_der(bytes) {
        assert_eq!(grant.to_der(), bytes);
    }
});
