//! The network ring of an hvt guest: entries, counters and kicks as the bytes have them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm_tender::fuzzing::play_ring;

fuzz_target!(|bytes: &[u8]| play_ring(bytes));
