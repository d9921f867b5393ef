//! System calls: the kernel answers with a number, or the filter ends the guest.

use solo5::raw::{RawHandle, syscall};
use solo5::{Block, Net, println};

const READ: usize = 0;
const WRITE: usize = 1;
const PREAD: usize = 17;
const PWRITE: usize = 18;
const ARCH_PRCTL: usize = 158;
const CLOCK_GETTIME: usize = 228;
const EPOLL_PWAIT: usize = 281;
const TIMERFD_SETTIME: usize = 286;

pub(super) fn edges(net: &Net, disk: &Block) {
    let (net, storage) = (number(net.raw()), number(disk.raw()));
    let size = u64::from(disk.block_size());
    for (what, offset, len) in super::blocks(disk) {
        // The filter permits whole blocks on the device, and nothing else.
        if len == size && offset <= disk.capacity() - size {
            let written = call(PWRITE, [storage, buffer(), number(len), number(offset)]);
            let read = call(PREAD, [storage, buffer(), number(len), number(offset)]);
            println!("block, {what}: write {written} read {read}");
        }
    }
    println!("net, nothing there: read {}", call(READ, [net, buffer(), 1514, 0]));
    for (what, len) in [("no bytes", 0), ("13 bytes", 13), ("60 bytes", 60)] {
        println!("net, {what}: write {}", call(WRITE, [net, buffer(), len, 0]));
    }
    println!("clock, nowhere to store: {}", call(CLOCK_GETTIME, [0, 8, 0, 0]));
}

/// Makes one call that the filter refuses by ending the guest.
pub(super) fn forbidden(what: &[u8], net: &Net, disk: &Block) -> bool {
    const CONSOLE: usize = 1;
    const HIGH: usize = 1 << 32;
    let (net, storage) = (number(net.raw()), number(disk.raw()));
    let size = usize::from(disk.block_size());
    let last = number(disk.capacity()) - size;
    let data = buffer();
    let (nr, arguments) = match what {
        b"read-console" => (READ, [CONSOLE, data, 1, 0]),
        b"read-input" => (READ, [0, data, 1, 0]),
        b"read-storage" => (READ, [storage, data, size, 0]),
        b"read-high" => (READ, [HIGH | net, data, 1514, 0]),
        b"write-storage" => (WRITE, [storage, data, size, 0]),
        b"write-high" => (WRITE, [HIGH | net, data, 60, 0]),
        b"pread-service" => (PREAD, [net, data, size, 0]),
        b"pread-past" => (PREAD, [storage, data, size, last + 1]),
        b"pread-negative" => (PREAD, [storage, data, size, usize::MAX]),
        b"pread-long" => (PREAD, [storage, data, size + 1, 0]),
        b"pread-short" => (PREAD, [storage, data, size - 1, 0]),
        b"pread-high" => (PREAD, [HIGH | storage, data, size, 0]),
        b"pwrite-past" => (PWRITE, [storage, data, size, last + 1]),
        b"pwrite-long" => (PWRITE, [storage, data, HIGH | size, 0]),
        b"pwrite-high" => (PWRITE, [HIGH | storage, data, size, 0]),
        b"clock-other" => (CLOCK_GETTIME, [2, data, 0, 0]),
        b"epoll-other" => (EPOLL_PWAIT, [net, data, 1, 0]),
        b"timer-other" => (TIMERFD_SETTIME, [net, 0, data, 0]),
        b"segment-other" => (ARCH_PRCTL, [0x1001, 0, 0, 0]),
        _ => return false,
    };
    call(nr, arguments);
    true
}

fn call(nr: usize, [a, b, c, d]: [usize; 4]) -> isize {
    // SAFETY: the kernel reads and writes the buffer, which nothing borrows, or nothing.
    unsafe { syscall(nr, [a, b, c, d, 0, 0]) }
}

fn buffer() -> usize {
    (&raw mut super::BUFFER).addr()
}

/// Both have 64 bits here.
fn number(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
