//! Segments, interrupt gates and what happens on a trap.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::mem::size_of;

use crate::println;

const CODE: u16 = 0x08;
const DATA: u16 = 0x10;
const TASK: u16 = 0x18;

const TRAPS: usize = 32;
const TRAP_STACK_SIZE: usize = 16 * 1024;

/// A table that is filled once, before the CPU is told about it.
struct Table<T>(UnsafeCell<T>);

// SAFETY: there is one CPU and no interrupt.
unsafe impl<T> Sync for Table<T> {}

#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    offset_low: u16,
    selector: u16,
    stack: u8,
    kind: u8,
    offset_middle: u16,
    offset_high: u32,
    reserved: u32,
}

impl Gate {
    const ABSENT: Self = Self {
        offset_low: 0,
        selector: 0,
        stack: 0,
        kind: 0,
        offset_middle: 0,
        offset_high: 0,
        reserved: 0,
    };

    /// An interrupt gate on the trap stack.
    #[expect(clippy::cast_possible_truncation, reason = "an address cut into its parts")]
    fn new(handler: usize) -> Self {
        Self {
            offset_low: handler as u16,
            selector: CODE,
            stack: 1,
            kind: 0x8E,
            offset_middle: (handler >> 16) as u16,
            offset_high: (handler >> 32) as u32,
            reserved: 0,
        }
    }
}

#[repr(C, packed(4))]
struct TaskState {
    reserved: u32,
    ring_stacks: [u64; 3],
    reserved_2: u64,
    trap_stacks: [u64; 7],
    reserved_3: u64,
    reserved_4: u16,
    io_map: u16,
}

#[repr(C, packed)]
struct TableRegister {
    limit: u16,
    base: u64,
}

#[repr(C, align(16))]
struct TrapStack([u8; TRAP_STACK_SIZE]);

static SEGMENTS: Table<[u64; 5]> = Table(UnsafeCell::new([0; 5]));
static GATES: Table<[Gate; TRAPS]> = Table(UnsafeCell::new([Gate::ABSENT; TRAPS]));
static TRAP_STACK: Table<TrapStack> = Table(UnsafeCell::new(TrapStack([0; TRAP_STACK_SIZE])));
static TASK_STATE: Table<TaskState> = Table(UnsafeCell::new(TaskState {
    reserved: 0,
    ring_stacks: [0; 3],
    reserved_2: 0,
    trap_stacks: [0; 7],
    reserved_3: 0,
    reserved_4: 0,
    io_map: 104,
}));

// One entry of 16 bytes for each trap. The CPU pushes an error code for some of them; the others
// push 0, so that the frame of all looks alike.
global_asm!(
    ".text",
    ".balign 16",
    "solo5_trap_entries:",
    ".irp number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    ".balign 16",
    ".if ((1 << \\number) & 0x60227D00) == 0",
    "push 0",
    ".endif",
    "mov edi, \\number",
    "jmp solo5_trap",
    ".endr",
    "solo5_trap:",
    "mov rax, cr2",
    "push rax",
    "mov rsi, rsp",
    "and rsp, -16",
    "call {report}",
    report = sym report_trap,
);

unsafe extern "C" {
    #[link_name = "solo5_trap_entries"]
    static TRAP_ENTRIES: u8;
}

/// What is on the stack after a trap, and what the tender is shown.
#[repr(C)]
struct TrapFrame {
    cr2: u64,
    error_code: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

const NAMES: [&str; TRAPS] = {
    let mut names = ["reserved trap"; TRAPS];
    names[0] = "divide error";
    names[1] = "debug";
    names[2] = "non-maskable interrupt";
    names[3] = "breakpoint";
    names[4] = "overflow";
    names[5] = "bound range exceeded";
    names[6] = "invalid opcode";
    names[7] = "device not available";
    names[8] = "double fault";
    names[10] = "invalid TSS";
    names[11] = "segment not present";
    names[12] = "stack fault";
    names[13] = "general protection";
    names[14] = "page fault";
    names[16] = "floating-point error";
    names[17] = "alignment check";
    names[18] = "machine check";
    names[19] = "SIMD floating-point error";
    names
};

extern "C" fn report_trap(number: usize, frame: &TrapFrame) -> ! {
    let name = NAMES.get(number).unwrap_or(&"trap");
    println!(
        "Solo5: trap: {name} ({number}) error={:#x} rip={:#x} rsp={:#x} rflags={:#x} cr2={:#x}",
        frame.error_code, frame.rip, frame.rsp, frame.rflags, frame.cr2
    );
    super::halt(255, core::ptr::from_ref(frame).addr() as u64)
}

/// Gives the CPU tables of this program's own instead of the tender's, which it cannot read.
///
/// # Safety
/// To be called once, first of all.
pub(super) unsafe fn start() {
    clear_thread_pointer();
    let stack_top = TRAP_STACK.0.get().addr() + TRAP_STACK_SIZE;
    // SAFETY: nothing else uses the table yet.
    unsafe { (*TASK_STATE.0.get()).trap_stacks[0] = stack_top as u64 };
    let task = TASK_STATE.0.get().addr() as u64;
    let segments =
        [0, 0x00AF_9900_0000_FFFF, 0x00CF_9300_0000_FFFF, task_descriptor(task), task >> 32];
    // SAFETY: nothing else uses the table yet.
    unsafe { SEGMENTS.0.get().write(segments) };
    let entries = (&raw const TRAP_ENTRIES).addr();
    let gates = core::array::from_fn(|number| Gate::new(entries + 16 * number));
    // SAFETY: nothing else uses the table yet.
    unsafe { GATES.0.get().write(gates) };
    // SAFETY: the tables are complete and stay where they are.
    unsafe { load_tables() };
}

/// The lower half of the descriptor of an available 64-bit task state at `base`.
fn task_descriptor(base: u64) -> u64 {
    let limit = size_of::<TaskState>() as u64 - 1;
    limit | (base & 0xFF_FFFF) << 16 | 0x89 << 40 | (base >> 24 & 0xFF) << 56
}

/// Thread-local storage does not exist, its use shall fault.
fn clear_thread_pointer() {
    const FS_BASE: u32 = 0xC000_0100;
    // SAFETY: nothing uses thread-local storage.
    unsafe {
        asm!("wrmsr", in("ecx") FS_BASE, in("eax") 0, in("edx") 0, options(nostack, nomem));
    }
}

/// # Safety
/// The tables hold what the CPU expects.
unsafe fn load_tables() {
    let register = |base: usize, size: usize| TableRegister {
        limit: u16::try_from(size - 1).unwrap_or(u16::MAX),
        base: base as u64,
    };
    let segments = register(SEGMENTS.0.get().addr(), size_of::<[u64; 5]>());
    let gates = register(GATES.0.get().addr(), size_of::<[Gate; TRAPS]>());
    // SAFETY: code and data segments are what they were, so execution goes on as before.
    unsafe {
        asm!(
            "lgdt [{segments}]",
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ds, {data:e}",
            "mov es, {data:e}",
            "mov ss, {data:e}",
            "ltr {task:x}",
            "lidt [{gates}]",
            segments = in(reg) &raw const segments,
            gates = in(reg) &raw const gates,
            code = const CODE,
            data = in(reg) u32::from(DATA),
            task = in(reg) TASK,
            scratch = out(reg) _,
        );
    }
}
