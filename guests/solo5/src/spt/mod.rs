//! The seccomp process target: a handful of Linux system calls.

use core::arch::asm;
use core::ptr::with_exposed_provenance;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::device::{Failure, Handle};
use crate::start::BootInfo;

const READ: usize = 0;
const WRITE: usize = 1;
const PREAD: usize = 17;
const PWRITE: usize = 18;
const ARCH_PRCTL: usize = 158;
const CLOCK_GETTIME: usize = 228;
const EXIT_GROUP: usize = 231;
const EPOLL_PWAIT: usize = 281;
const TIMERFD_SETTIME: usize = 286;

const STDOUT: usize = 1;
const ARCH_SET_FS: usize = 0x1002;
const CLOCK_REALTIME: usize = 0;
const CLOCK_MONOTONIC: usize = 1;
const TIMER_ABSTIME: usize = 1;
const INTERRUPTED: isize = -4;
const AGAIN: isize = -11;
const HANDLES: usize = 64;
const NANOSECONDS: u64 = 1_000_000_000;

static EPOLL: AtomicUsize = AtomicUsize::new(0);
static TIMER: AtomicUsize = AtomicUsize::new(0);

#[repr(C)]
struct RawBootInfo {
    mem_size: u64,
    kernel_end: u64,
    command_line: u64,
    manifest: u64,
    epoll_fd: i32,
    timer_fd: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Timespec {
    seconds: u64,
    nanoseconds: u64,
}

#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Event {
    events: u32,
    data: u64,
}

/// Makes a system call. Unused arguments are ignored.
///
/// # Safety
/// As the call demands: what it reads must be readable, what it writes must not be borrowed.
pub unsafe fn syscall(number: usize, a: [usize; 6]) -> isize {
    let result;
    // SAFETY: the caller vouches for the effects; registers are clobbered as declared.
    unsafe {
        asm!(
            "syscall",
            inout("rax") number => result,
            in("rdi") a[0],
            in("rsi") a[1],
            in("rdx") a[2],
            in("r10") a[3],
            in("r8") a[4],
            in("r9") a[5],
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result
}

/// # Safety
/// `boot_info` is the address that the tender passed at the entry point.
pub(crate) unsafe fn start(boot_info: usize) -> BootInfo {
    // The tender's thread-local storage is none of ours: use of it shall fault.
    // SAFETY: this program has no thread-local storage.
    unsafe { syscall(ARCH_PRCTL, [ARCH_SET_FS, 0, 0, 0, 0, 0]) };
    // SAFETY: the tender stored its boot information there.
    let info = unsafe { &*with_exposed_provenance::<RawBootInfo>(boot_info) };
    EPOLL.store(info.epoll_fd.cast_unsigned() as usize, Ordering::Relaxed);
    TIMER.store(info.timer_fd.cast_unsigned() as usize, Ordering::Relaxed);
    BootInfo {
        mem_size: usize::try_from(info.mem_size).unwrap_or(usize::MAX),
        command_line: usize::try_from(info.command_line).unwrap_or_default(),
        manifest: usize::try_from(info.manifest).unwrap_or_default(),
    }
}

pub(crate) fn console_write(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the kernel reads the bytes of a slice.
        let written =
            unsafe { syscall(WRITE, [STDOUT, bytes.as_ptr().addr(), bytes.len(), 0, 0, 0]) };
        match usize::try_from(written) {
            Ok(written) if written > 0 => bytes = &bytes[written..],
            _ if written == INTERRUPTED => {}
            // The console takes nothing any more; a guest has no way to complain about that.
            _ => return,
        }
    }
}

fn clock(clock: usize) -> u64 {
    let mut now = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: the kernel writes the time into a variable of ours.
    unsafe { syscall(CLOCK_GETTIME, [clock, (&raw mut now).addr(), 0, 0, 0, 0]) };
    now.seconds * NANOSECONDS + now.nanoseconds
}

pub(crate) fn monotonic() -> u64 {
    clock(CLOCK_MONOTONIC)
}

pub(crate) fn wall() -> u64 {
    clock(CLOCK_REALTIME)
}

/// Waits until the deadline or until a device has something; the set of those that have.
pub(crate) fn wait_until(deadline: u64) -> u64 {
    let interval = Timespec { seconds: 0, nanoseconds: 0 };
    // A deadline of exactly 0 would disarm the timer.
    let at =
        Timespec { seconds: deadline / NANOSECONDS, nanoseconds: (deadline % NANOSECONDS) | 1 };
    let setting = [interval, at];
    let timer = TIMER.load(Ordering::Relaxed);
    // SAFETY: the kernel reads two timespecs of ours.
    unsafe {
        syscall(TIMERFD_SETTIME, [timer, TIMER_ABSTIME, setting.as_ptr().addr(), 0, 0, 0]);
    }
    let mut events = [Event { events: 0, data: 0 }; HANDLES];
    let epoll = EPOLL.load(Ordering::Relaxed);
    let arguments = [epoll, events.as_mut_ptr().addr(), events.len(), usize::MAX, 0, 0];
    let ready = loop {
        // SAFETY: the kernel writes at most that many events into variables of ours.
        let ready = unsafe { syscall(EPOLL_PWAIT, arguments) };
        if ready != INTERRUPTED {
            break usize::try_from(ready).unwrap_or_default();
        }
    };
    // The timer's event has no handle.
    let handles =
        events.iter().take(ready).map(|event| event.data).filter(|&data| data < HANDLES as u64);
    handles.fold(0, |set, handle| set | 1 << handle)
}

pub(crate) fn raw_handle(handle: Handle) -> u64 {
    u64::from(handle.descriptor.cast_unsigned())
}

fn descriptor(handle: Handle) -> usize {
    handle.descriptor.cast_unsigned() as usize
}

pub(crate) fn block_write(handle: Handle, offset: u64, block: &[u8]) -> Result<(), Failure> {
    let (data, len) = (block.as_ptr().addr(), block.len());
    // SAFETY: the kernel reads the bytes of a slice.
    let done =
        unsafe { device_call(PWRITE, [descriptor(handle), data, len, to_usize(offset), 0, 0]) };
    whole(done, len)
}

pub(crate) fn block_read(handle: Handle, offset: u64, block: &mut [u8]) -> Result<(), Failure> {
    let (data, len) = (block.as_mut_ptr().addr(), block.len());
    // SAFETY: the kernel writes the bytes of a slice.
    let done =
        unsafe { device_call(PREAD, [descriptor(handle), data, len, to_usize(offset), 0, 0]) };
    whole(done, len)
}

pub(crate) fn net_write(handle: Handle, frame: &[u8]) -> Result<(), Failure> {
    let (data, len) = (frame.as_ptr().addr(), frame.len());
    // SAFETY: the kernel reads the bytes of a slice.
    let done = unsafe { device_call(WRITE, [descriptor(handle), data, len, 0, 0, 0]) };
    whole(done, len)
}

/// The kernel takes one frame a call: there is nothing to wait for.
pub(crate) fn net_queue(handle: Handle, frame: &[u8]) -> Result<(), Failure> {
    net_write(handle, frame)
}

pub(crate) fn net_read(handle: Handle, room: &mut [u8]) -> Result<Option<usize>, Failure> {
    let (data, len) = (room.as_mut_ptr().addr(), room.len());
    // SAFETY: the kernel writes the bytes of a slice.
    let done = unsafe { device_call(READ, [descriptor(handle), data, len, 0, 0, 0]) };
    match usize::try_from(done) {
        Ok(0) => Ok(None),
        Ok(received) => Ok(Some(received)),
        Err(_) if done == AGAIN => Ok(None),
        Err(_) => Err(Failure::Unspecified),
    }
}

/// Makes a system call until no signal interrupts it.
///
/// # Safety
/// As for [`syscall`].
unsafe fn device_call(number: usize, arguments: [usize; 6]) -> isize {
    loop {
        // SAFETY: the caller vouches for the effects.
        let result = unsafe { syscall(number, arguments) };
        if result != INTERRUPTED {
            return result;
        }
    }
}

/// Whether all `len` bytes were taken.
fn whole(done: isize, len: usize) -> Result<(), Failure> {
    if usize::try_from(done) == Ok(len) { Ok(()) } else { Err(Failure::Unspecified) }
}

/// Both have 64 bits here.
fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

pub(crate) fn exit(status: i32) -> ! {
    loop {
        // SAFETY: the process ends.
        unsafe { syscall(EXIT_GROUP, [status.cast_unsigned() as usize, 0, 0, 0, 0, 0]) };
    }
}

pub(crate) fn abort() -> ! {
    exit(255)
}
