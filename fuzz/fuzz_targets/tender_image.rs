//! Image files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm_tender_abi::Image;

fuzz_target!(|file: &[u8]| {
    if let Ok(image) = Image::read(file) {
        let _ = image.check_fits(1 << 22);
        assert!(image.minimal_memory() >= image.kernel_end() || image.segments().is_empty());
    }
});
