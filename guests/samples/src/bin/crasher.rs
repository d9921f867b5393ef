//! Ends badly, in the way that its argument says:
//!
//! - `abort`, `panic`: ends by its own decision, with status 255
//! - `fault`: writes to address 0
//! - `exec-data`: executes its data; `exec-heap`: executes its heap; `write-text`: writes its code
//! - `oom`: allocates until there is no more
//! - `loop`: never ends
//! - spt only: `syscall` makes a forbidden system call, `x32` and `int80` permitted ones in the
//!   manner of other architectures, `write-stderr` a permitted one with a forbidden argument,
//!   `write-high` with one whose lower half is permitted
//! - hvt only: `port` writes to a port where nothing is, `port-in` reads from a port, `port-byte`
//!   writes only a byte, `call-0` makes a hypercall that does not exist, `call-net` one for a
//!   device that it does not have, `struct-in-text`, `poll-in-text`, `struct-low`, `struct-end`
//!   pass hypercall structures where none can be, `puts-beyond` prints what is not memory,
//!   `halt-cookie` halts with a bad cookie, `triple` faults without any table, `hlt` stops the CPU
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;

use core::arch::asm;
use core::hint::black_box;
use core::ptr;

use solo5::{Arguments, println};

solo5::unikernel!(main);

fn main(arguments: Arguments) -> i32 {
    let how = arguments.words().next().unwrap_or_default();
    match how {
        b"abort" => solo5::abort(),
        b"panic" => panic!("as requested"),
        b"fault" => store(0),
        b"exec-data" => execute_data(),
        b"exec-heap" => execute_heap(),
        b"write-text" => store(main as *const () as usize),
        b"oom" => exhaust_memory(),
        b"loop" => forever(),
        _ => {
            if !target::crash(how) {
                println!("crasher: tell me how to crash");
                return 64;
            }
        }
    }
    println!("crasher: still here");
    0
}

/// Stores a byte where nothing can be stored.
fn store(address: usize) {
    let target: *mut u8 = ptr::with_exposed_provenance_mut(address);
    // SAFETY: there is none; that is what the test is about.
    unsafe { target.write_volatile(0xCC) };
}

fn execute_data() {
    // ret
    static mut CODE: [u8; 1] = [0xC3];
    let code = &raw mut CODE;
    // SAFETY: if this could be called, it would return at once.
    unsafe { asm!("call {}", in(reg) code, clobber_abi("C")) };
}

fn execute_heap() {
    // ret
    let code = black_box(alloc::vec![0xC3u8; 16]);
    // SAFETY: if this can be called, it returns at once.
    unsafe { asm!("call {}", in(reg) code.as_ptr(), clobber_abi("C")) };
}

fn exhaust_memory() {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    loop {
        blocks.push(black_box(alloc::vec![0xAA; 1024 * 1024]));
    }
}

fn forever() {
    loop {
        core::hint::spin_loop();
    }
}

#[cfg(solo5_spt)]
mod target {
    use core::arch::asm;

    use solo5::raw::syscall;

    const WRITE: usize = 1;
    const GETPID: usize = 39;
    const X32: usize = 0x4000_0000;

    pub(super) fn crash(how: &[u8]) -> bool {
        let text = b"crasher: escaped\n";
        let write = |fd: usize| (WRITE, [fd, text.as_ptr().addr(), text.len(), 0, 0, 0]);
        let (number, arguments) = match how {
            b"syscall" => (GETPID, [0; 6]),
            b"x32" => (X32 | WRITE, write(1).1),
            b"write-stderr" => write(2),
            b"write-high" => write(1 << 32 | 1),
            b"int80" => return call_32_bit(),
            _ => return false,
        };
        // SAFETY: the kernel reads the bytes of a slice, if anything.
        unsafe { syscall(number, arguments) };
        true
    }

    /// The exit of 32-bit programs.
    fn call_32_bit() -> bool {
        // SAFETY: the process ends, one way or the other.
        unsafe { asm!("int 0x80", inout("eax") 1 => _) };
        true
    }
}

#[cfg(solo5_hvt)]
mod target {
    use core::arch::asm;

    use solo5::raw::{hypercall, out32};

    const WALLTIME: u16 = 1;
    const PUTS: u16 = 2;
    const POLL: u16 = 3;
    const NET_READ: u16 = 7;
    const HALT: u16 = 8;

    pub(super) fn crash(how: &[u8]) -> bool {
        let text = super::main as *const () as usize;
        let beyond = [1u64 << 40, 16];
        match how {
            // SAFETY: nothing listens there.
            b"port" => unsafe { out32(0x3F8, 0) },
            b"port-in" => read_port(),
            b"port-byte" => write_byte_to_port(),
            b"call-0" => call(0, text),
            b"call-net" => call(NET_READ, beyond.as_ptr().addr()),
            b"struct-in-text" => call(WALLTIME, text),
            b"poll-in-text" => call(POLL, text),
            b"struct-low" => call(WALLTIME, 0x2000),
            b"struct-end" => call(WALLTIME, 0xFFFF_FFF8),
            b"puts-beyond" => call(PUTS, beyond.as_ptr().addr()),
            b"halt-cookie" => call(HALT, beyond.as_ptr().addr()),
            b"triple" => triple_fault(),
            b"hlt" => halt_cpu(),
            _ => return false,
        }
        true
    }

    fn call(number: u16, structure: usize) {
        // SAFETY: the tender is expected to refuse.
        unsafe { hypercall(number, structure) };
    }

    fn read_port() {
        // SAFETY: nothing answers there.
        unsafe { asm!("in eax, dx", in("dx") 0x501u16, out("eax") _) };
    }

    fn write_byte_to_port() {
        // SAFETY: nothing listens to bytes there.
        unsafe { asm!("out dx, al", in("dx") 0x502u16, in("al") 0u8) };
    }

    fn triple_fault() {
        let empty = [0u64; 2];
        // SAFETY: the guest ends here: without gates, a trap has nowhere to go.
        unsafe { asm!("lidt [{}]", "ud2", in(reg) &raw const empty) };
    }

    fn halt_cpu() {
        // SAFETY: the guest ends here: there are no interrupts to wake it.
        unsafe { asm!("hlt") };
    }
}
