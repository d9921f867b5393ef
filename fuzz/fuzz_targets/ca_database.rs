//! An issuer's database. What is read of it keeps its own rules.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use vmm_ca::database::{Database, Decoded};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Decoded::Database(database)) = Database::decode(Path::new("ca.db"), bytes) {
        assert!(database.live(0).count() <= database.issued().len());
        assert!(database.revoked().iter().all(|(serial, revoked)| *serial == revoked.serial));
    }
});
