//! Manifests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm_tender_abi::Manifest;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::parse(bytes) {
        let again = Manifest::parse(&manifest.encode(|_| None));
        assert_eq!(again.as_ref().map(Manifest::devices), Ok(manifest.devices()));
    }
});
