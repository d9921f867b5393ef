//! Computes with floating-point numbers, and looks whether the registers for them hold what they
//! should: at the start, and after calls of the tender.
//!
//! With `--trap`, a division by zero ends it.
#![no_std]
#![no_main]

use core::arch::asm;
use core::arch::x86_64::{_mm_cvtsd_f64, _mm_set_sd, _mm_sqrt_sd};
use core::hint::black_box;

use solo5::{Arguments, println};

solo5::unikernel!(main);

/// Calls that the registers have to survive.
const ROUNDS: u64 = 100;

fn main(arguments: Arguments) -> i32 {
    let (mxcsr, control) = state();
    println!("fpu: mxcsr {mxcsr:#x} control {control:#x}");
    println!("fpu: e {}", (0..18).rev().fold(1.0, |e, n| 1.0 + e / f64::from(n + 1)));
    println!("fpu: sqrt 2 {}", square_root(black_box(2.0)));
    println!("fpu: 1/3 {}", black_box(1.0f32) / black_box(3.0f32));
    if let Some(round) = (0..ROUNDS).find(|&round| !survive(round)) {
        println!("fpu: registers have changed in round {round}");
        return 1;
    }
    println!("fpu: registers survived {ROUNDS} calls");
    if arguments.words().any(|word| word == b"--trap") {
        trap();
        println!("fpu: still here");
    }
    0
}

/// MXCSR and the x87 control word.
fn state() -> (u32, u16) {
    let (mut mxcsr, mut control) = (0u32, 0u16);
    // SAFETY: the instructions write two variables of ours.
    unsafe {
        asm!(
            "stmxcsr [{}]",
            "fnstcw [{}]",
            in(reg) &raw mut mxcsr,
            in(reg) &raw mut control,
            options(nostack, preserves_flags),
        );
    }
    (mxcsr, control)
}

fn square_root(number: f64) -> f64 {
    // SAFETY: every processor with 64 bits has SSE2.
    unsafe { _mm_cvtsd_f64(_mm_sqrt_sd(_mm_set_sd(0.0), _mm_set_sd(number))) }
}

/// Fills all 16 vector registers and one of x87, asks for the time of day, and compares.
fn survive(round: u64) -> bool {
    let filling: [[u64; 2]; 16] =
        core::array::from_fn(|number| [round << 32 | number as u64, !round ^ number as u64]);
    let mut found = [[0u64; 2]; 16];
    let number = round as f64 + 0.25;
    let mut number_found = 0f64;
    let mut time = [0u64; 2];
    // SAFETY: the tender, or the kernel, writes to `time`; the other instructions read and write
    // variables of ours, and what they leave of the x87 stack is what it was.
    unsafe {
        asm!(
            "fld qword ptr [{number}]",
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "movups xmm\\n, [{filling} + 16 * \\n]",
            ".endr",
            target::call!(),
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "movups [{found} + 16 * \\n], xmm\\n",
            ".endr",
            "fstp qword ptr [{number_found}]",
            number = in(reg) &raw const number,
            filling = in(reg) &raw const filling,
            found = in(reg) &raw mut found,
            number_found = in(reg) &raw mut number_found,
            inout("rax") target::number(&raw mut time) => _,
            in("rdx") target::PORT,
            in("rdi") target::CLOCK,
            in("rsi") &raw mut time,
            out("rcx") _,
            out("r11") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            options(nostack),
        );
    }
    found == filling && number_found == number && time[0] != 0
}

/// Divides by zero after asking for a trap in that case, of x87.
fn trap() {
    let divide_by_zero_traps = 0x37Bu16;
    // SAFETY: no code that runs after the trap expects another state.
    unsafe {
        asm!(
            "fldcw [{}]",
            "fld1",
            "fldz",
            "fdivp",
            "fwait",
            in(reg) &raw const divide_by_zero_traps,
            options(nostack),
        );
    }
}

#[cfg(solo5_hvt)]
mod target {
    /// The hypercall for the time of day.
    macro_rules! call {
        () => {
            "out dx, eax"
        };
    }
    pub(super) use call;

    pub(super) const PORT: u64 = 0x501;
    pub(super) const CLOCK: u64 = 0;

    /// What the accumulator has to hold: the address of the structure.
    pub(super) fn number(time: *mut [u64; 2]) -> u64 {
        time.expose_provenance() as u64
    }
}

#[cfg(solo5_spt)]
mod target {
    /// The system call for the time of day.
    macro_rules! call {
        () => {
            "syscall"
        };
    }
    pub(super) use call;

    pub(super) const PORT: u64 = 0;
    pub(super) const CLOCK: u64 = 0;

    /// What the accumulator has to hold: the number of `clock_gettime`.
    pub(super) fn number(_time: *mut [u64; 2]) -> u64 {
        228
    }
}
