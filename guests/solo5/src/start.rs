//! From the tender's jump to the program's `main`.

use core::ffi::CStr;
use core::ptr::with_exposed_provenance;

use crate::arguments::{Arguments, Verbosity, verbosity};
use crate::{device, exit, heap, println, target};

/// Least memory above the image, for heap and stack.
const FREE_MIN: usize = 512 * 1024;

/// What is kept for the stack, which grows down from the top of memory.
const STACK_SIZE: usize = 256 * 1024;

unsafe extern "C" {
    /// Where the image ends, by the linker script.
    static _end: u8;
}

/// What both targets tell a guest at its start.
pub(crate) struct BootInfo {
    pub(crate) mem_size: usize,
    pub(crate) command_line: usize,
    pub(crate) manifest: usize,
}

/// Prepares memory, clock and traps, calls `main`, and exits with what it returns.
///
/// # Safety
/// To be called once, at the entry point, with the address that the tender passed.
pub unsafe fn start(boot_info: usize, main: fn(Arguments) -> i32) -> ! {
    // SAFETY: the caller's promise is the one that is asked for.
    let info = unsafe { target::start(boot_info) };
    // SAFETY: the tender stores a NUL-terminated command line there, which nobody changes.
    let line = unsafe { CStr::from_ptr(with_exposed_provenance(info.command_line)) };
    let arguments = Arguments::new(line.to_bytes());

    device::start(info.manifest);

    let image_end = (&raw const _end).addr().next_multiple_of(4096);
    if info.mem_size < image_end + FREE_MIN {
        println!("Solo5: not enough memory: the image ends at {image_end:#x}");
        crate::abort();
    }
    let heap_end = info.mem_size - STACK_SIZE;
    if verbosity() >= Verbosity::Debug {
        let mem_size = info.mem_size;
        println!("Solo5: heap [{image_end:#x},{heap_end:#x}), stack up to {mem_size:#x}");
    }
    heap::start(image_end, heap_end);
    exit(main(arguments))
}
