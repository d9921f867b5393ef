//! Write a unikernel in Rust for the Solo5 `hvt` and `spt` tenders, from one source.
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! use solo5::{Arguments, println};
//!
//! solo5::unikernel!(main);
//!
//! fn main(_arguments: Arguments) -> i32 {
//!     println!("Hello, world");
//!     0
//! }
//! ```
//!
//! The target is chosen by the configuration file that cargo is given: `--config .cargo/hvt.toml` or
//! `--config .cargo/spt.toml`. A guest has one thread, no interrupts, and memory from its image to the
//! top; half a MiB of that must be free at least, of which 256 KiB are stack.
#![no_std]

#[cfg(not(any(solo5_hvt, solo5_spt)))]
compile_error!("choose a target: cargo build --release --config .cargo/hvt.toml (or spt.toml)");

mod arguments;
pub mod console;
mod device;
mod heap;
#[cfg(solo5_hvt)]
mod hvt;
mod memory;
pub mod note;
#[cfg(solo5_spt)]
mod spt;
mod start;
pub mod time;

pub use arguments::{Arguments, Verbosity, Words, verbosity};
pub use device::{Block, Declared, Failure, Net};
pub use start::start;

#[cfg(solo5_hvt)]
use hvt as target;
#[cfg(solo5_spt)]
use spt as target;

/// What only one of the two targets has, for tests of a tender.
pub mod raw {
    pub use crate::device::RawHandle;
    #[cfg(solo5_hvt)]
    pub use crate::hvt::{hypercall, net_ring, out32};
    #[cfg(solo5_spt)]
    pub use crate::spt::syscall;
}

/// Ends the guest; the machine's exit status are the lowest 8 bits of `status`.
pub fn exit(status: i32) -> ! {
    target::exit(status)
}

/// Ends the guest with the status for a broken program, 255.
pub fn abort() -> ! {
    target::abort()
}

/// Makes `main`, a `fn(Arguments) -> i32`, the program of a unikernel, and declares its devices:
/// `unikernel!(main)`, or `unikernel!(main, [Declared::Net("service")])`.
#[macro_export]
macro_rules! unikernel {
    ($main:path) => {
        $crate::unikernel!($main, []);
    };
    ($main:path, $devices:expr) => {
        #[used]
        #[unsafe(link_section = ".interp")]
        static SOLO5_INTERPRETER: $crate::note::Interpreter = $crate::note::INTERPRETER;

        #[used]
        #[unsafe(link_section = ".note.solo5.abi")]
        static SOLO5_ABI: $crate::note::AbiNote = $crate::note::ABI;

        #[used]
        #[unsafe(link_section = ".note.solo5.manifest")]
        static SOLO5_MANIFEST: $crate::note::ManifestNote<{ SOLO5_DEVICES.len() + 1 }> =
            $crate::note::ManifestNote::new(SOLO5_DEVICES);

        const SOLO5_DEVICES: &[$crate::Declared] = &$devices;

        #[unsafe(no_mangle)]
        extern "C" fn _start(boot_info: usize) -> ! {
            let main: fn($crate::Arguments) -> i32 = $main;
            // SAFETY: this is the entry point, to which the tender passes that address, once.
            unsafe { $crate::start(boot_info, main) }
        }
    };
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("{info}");
    abort()
}
