//! Image files, and the names of functions in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm_tender_abi::{Image, SymbolTable};

fuzz_target!(|file: &[u8]| {
    if let Ok(image) = Image::read(file) {
        let _ = image.check_fits(1 << 22);
        assert!(image.minimal_memory() >= image.kernel_end() || image.segments().is_empty());
    }
    if let Ok(Some(symbols)) = SymbolTable::find(file) {
        let found = symbols.resolve(file, &[0x10_0000, 0x10_0123, u64::MAX]);
        assert!(found.is_ok_and(|found| found.iter().flatten().all(|it| it.to_string().len() < 128)));
    }
});
