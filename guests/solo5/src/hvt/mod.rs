//! The hardware virtualized target: calls to the tender through I/O ports, and the CPU's tables.

mod cpu;
mod ring;

use core::arch::asm;
use core::arch::x86_64::_rdtsc;
use core::ptr::with_exposed_provenance;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::device::{Failure, Handle};
use crate::start::BootInfo;
pub use ring::net_ring;
use ring::{Ring, inbox};

const WALLTIME: u16 = 1;
const PUTS: u16 = 2;
const POLL: u16 = 3;
const BLOCK_WRITE: u16 = 4;
const BLOCK_READ: u16 = 5;
const NET_WRITE: u16 = 6;
const NET_READ: u16 = 7;
const HALT: u16 = 8;
const PORT_BASE: u16 = 0x500;

const NANOSECONDS: u64 = 1_000_000_000;

/// Nanoseconds per cycle of the time stamp counter, times 2^32.
static NANOSECONDS_PER_CYCLE: AtomicU64 = AtomicU64::new(0);
/// Counter at the start.
static FIRST_CYCLE: AtomicU64 = AtomicU64::new(0);

#[repr(C)]
struct RawBootInfo {
    mem_size: u64,
    kernel_end: u64,
    cpu_cycle_freq: u64,
    command_line: u64,
    manifest: u64,
    host_features: u32,
    guest_features: u32,
    net_ring: u64,
}

#[repr(C)]
struct Puts {
    data: u64,
    len: u64,
}

#[repr(C)]
struct Poll {
    timeout: u64,
    ready_set: u64,
    ready: i32,
}

#[repr(C)]
struct BlockCall {
    handle: u64,
    offset: u64,
    data: u64,
    len: u64,
    result: i32,
}

#[repr(C)]
struct NetCall {
    handle: u64,
    data: u64,
    len: u64,
    result: i32,
}

#[repr(C)]
struct Halt {
    cookie: u64,
    exit_status: i32,
}

/// Writes `value` to an I/O port.
///
/// # Safety
/// What listens there may access memory; it must leave alone what is borrowed.
pub unsafe fn out32(port: u16, value: u32) {
    // SAFETY: the caller vouches for the effects.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack)) };
}

/// Makes call `number` with the structure at address `structure`.
///
/// # Safety
/// As the call demands.
pub unsafe fn hypercall(number: u16, structure: usize) {
    // Guest memory ends at 4 GiB.
    #[expect(clippy::cast_possible_truncation, reason = "all addresses fit into 32 bits")]
    let address = structure as u32;
    // SAFETY: the caller vouches for the effects.
    unsafe { out32(PORT_BASE + number, address) };
}

/// # Safety
/// `boot_info` is the address that the tender passed at the entry point, and the CPU is in the
/// state in which the tender started it.
pub(crate) unsafe fn start(boot_info: usize) -> BootInfo {
    // SAFETY: the CPU is in its first state, and nothing else sets up its tables.
    unsafe { cpu::start() };
    // SAFETY: the tender stored its boot information there.
    let info = unsafe { &*with_exposed_provenance::<RawBootInfo>(boot_info) };
    start_clock(info.cpu_cycle_freq);
    // Tenders before 0.11 have the manifest's head in this place, in which the address is 0.
    ring::start(info.host_features, info.net_ring);
    BootInfo {
        mem_size: usize::try_from(info.mem_size).unwrap_or(usize::MAX),
        command_line: usize::try_from(info.command_line).unwrap_or_default(),
        manifest: usize::try_from(info.manifest).unwrap_or_default(),
    }
}

fn start_clock(frequency: u64) {
    let scale = (u128::from(NANOSECONDS) << 32).checked_div(u128::from(frequency));
    let Some(scale) = scale.and_then(|scale| u64::try_from(scale).ok()) else {
        crate::println!("Solo5: a clock of {frequency} Hz is of no use");
        abort();
    };
    NANOSECONDS_PER_CYCLE.store(scale, Ordering::Relaxed);
    FIRST_CYCLE.store(cycles(), Ordering::Relaxed);
}

fn cycles() -> u64 {
    // SAFETY: reading the counter has no effects.
    unsafe { _rdtsc() }
}

pub(crate) fn console_write(bytes: &[u8]) {
    let puts = Puts { data: bytes.as_ptr().addr() as u64, len: bytes.len() as u64 };
    // SAFETY: the tender reads the structure and the bytes of a slice.
    unsafe { hypercall(PUTS, (&raw const puts).addr()) };
}

pub(crate) fn monotonic() -> u64 {
    let elapsed = cycles().wrapping_sub(FIRST_CYCLE.load(Ordering::Relaxed));
    let scale = NANOSECONDS_PER_CYCLE.load(Ordering::Relaxed);
    let nanoseconds = (u128::from(elapsed) * u128::from(scale)) >> 32;
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}

pub(crate) fn wall() -> u64 {
    let mut nanoseconds = 0u64;
    // SAFETY: the tender writes the time into a variable of ours.
    unsafe { hypercall(WALLTIME, (&raw mut nanoseconds).addr()) };
    nanoseconds
}

/// Waits until the deadline or until a device has something; the set of those that have.
pub(crate) fn wait_until(deadline: u64) -> u64 {
    flush();
    if let Some(handle) = inbox::ready() {
        return 1 << handle;
    }
    let timeout = deadline.saturating_sub(monotonic());
    let mut poll = Poll { timeout, ready_set: 0, ready: 0 };
    // SAFETY: the tender reads and writes a variable of ours.
    unsafe { hypercall(POLL, (&raw mut poll).addr()) };
    poll.ready_set
}

pub(crate) fn raw_handle(handle: Handle) -> u64 {
    handle.number
}

pub(crate) fn block_write(handle: Handle, offset: u64, block: &[u8]) -> Result<(), Failure> {
    let (data, len) = (block.as_ptr().addr() as u64, block.len() as u64);
    let mut call = BlockCall { handle: handle.number, offset, data, len, result: 0 };
    // SAFETY: the tender reads the bytes of a slice and writes a variable of ours.
    unsafe { hypercall(BLOCK_WRITE, (&raw mut call).addr()) };
    outcome(call.result).map(|_| ())
}

pub(crate) fn block_read(handle: Handle, offset: u64, block: &mut [u8]) -> Result<(), Failure> {
    let (data, len) = (block.as_mut_ptr().addr() as u64, block.len() as u64);
    let mut call = BlockCall { handle: handle.number, offset, data, len, result: 0 };
    // SAFETY: the tender writes the bytes of a slice and a variable of ours.
    unsafe { hypercall(BLOCK_READ, (&raw mut call).addr()) };
    outcome(call.result).map(|_| ())
}

pub(crate) fn net_write(handle: Handle, frame: &[u8]) -> Result<(), Failure> {
    net_queue(handle, frame)?;
    flush();
    Ok(())
}

/// Has a frame sent with what is sent or waited for next.
pub(crate) fn net_queue(handle: Handle, frame: &[u8]) -> Result<(), Failure> {
    let Some(ring) = Ring::offered() else { return net_write_at_once(handle, frame) };
    if ring.queue(handle.number, frame) {
        return Ok(());
    }
    ring.kick();
    net_write_at_once(handle, frame)
}

/// Has everything sent that waits for that.
pub(crate) fn flush() {
    if let Some(ring) = Ring::offered() {
        ring.kick();
    }
}

fn net_write_at_once(handle: Handle, frame: &[u8]) -> Result<(), Failure> {
    let (data, len) = (frame.as_ptr().addr() as u64, frame.len() as u64);
    let mut call = NetCall { handle: handle.number, data, len, result: 0 };
    // SAFETY: the tender reads the bytes of a slice and writes a variable of ours.
    unsafe { hypercall(NET_WRITE, (&raw mut call).addr()) };
    outcome(call.result).map(|_| ())
}

pub(crate) fn net_read(handle: Handle, room: &mut [u8]) -> Result<Option<usize>, Failure> {
    if let Some(ring) = Ring::offered() {
        return inbox::receive(ring, handle.number, room);
    }
    let (data, len) = (room.as_mut_ptr().addr() as u64, room.len() as u64);
    let mut call = NetCall { handle: handle.number, data, len, result: 0 };
    // SAFETY: the tender writes the bytes of a slice and a variable of ours.
    unsafe { hypercall(NET_READ, (&raw mut call).addr()) };
    let there = outcome(call.result)?;
    Ok(there.then(|| usize::try_from(call.len).unwrap_or(usize::MAX).min(room.len())))
}

/// Whether it was done, or there was nothing to be done.
fn outcome(result: i32) -> Result<bool, Failure> {
    match result {
        0 => Ok(true),
        1 => Ok(false),
        2 => Err(Failure::InvalidArgument),
        _ => Err(Failure::Unspecified),
    }
}

pub(crate) fn exit(status: i32) -> ! {
    flush();
    halt(status, 0)
}

pub(crate) fn abort() -> ! {
    exit(255)
}

/// Ends the guest; `cookie` is 0 or the address of a trap frame.
fn halt(exit_status: i32, cookie: u64) -> ! {
    let halt = Halt { cookie, exit_status };
    loop {
        // SAFETY: the tender ends the guest.
        unsafe { hypercall(HALT, (&raw const halt).addr()) };
    }
}
