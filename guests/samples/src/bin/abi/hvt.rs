//! Hypercalls: the tender answers with a result code, or ends the guest.

mod ring;

use solo5::raw::{RawHandle, hypercall};
use solo5::{Block, Net, println};

const PUTS: u16 = 2;
const POLL: u16 = 3;
const BLOCK_WRITE: u16 = 4;
const BLOCK_READ: u16 = 5;
const NET_WRITE: u16 = 6;
const NET_READ: u16 = 7;

pub(super) fn edges(net: &Net, disk: &Block) {
    let data = buffer();
    for (what, offset, len) in super::blocks(disk) {
        let written = call(BLOCK_WRITE, [disk.raw(), offset, data, len, 9])[4];
        let read = call(BLOCK_READ, [disk.raw(), offset, data, len, 9])[4];
        println!("block, {what}: write {written} read {read}");
    }
    let (net_handle, disk_handle) = (net.raw(), disk.raw());
    for (what, handle) in [
        ("no handle", 0),
        ("a device of the other type", net_handle),
        ("no device", 63),
        ("past all handles", 64),
        ("33 bits", 1 << 32 | disk_handle),
    ] {
        let written = call(BLOCK_WRITE, [handle, 0, data, 512, 9])[4];
        let read = call(BLOCK_READ, [handle, 0, data, 512, 9])[4];
        println!("block, {what}: write {written} read {read}");
    }
    for (what, handle) in [
        ("no handle", 0),
        ("a device of the other type", disk_handle),
        ("no device", 63),
        ("past all handles", 64),
        ("33 bits", 1 << 32 | net_handle),
    ] {
        let written = call(NET_WRITE, [handle, data, 60, 9])[3];
        let read = call(NET_READ, [handle, data, 1514, 9])[3];
        println!("net, {what}: write {written} read {read}");
    }
    for (what, len) in [("no bytes", 0), ("13 bytes", 13), ("60 bytes", 60)] {
        println!("net, {what}: write {}", call(NET_WRITE, [net_handle, data, len, 9])[3]);
    }
    println!("puts, no bytes: {}", call(PUTS, [data, 0])[1]);
    println!("poll, no time: {:?}", call(POLL, [0, 9, 0]));
    ring::edges(net_handle, disk_handle);
}

/// Makes one call that the tender refuses by ending the guest.
pub(super) fn forbidden(what: &[u8], net: &Net, disk: &Block) -> bool {
    const LOW: u64 = 0x1_0000;
    let text = edges as *const () as u64;
    let past = 0xFFFF_F000;
    let data = buffer();
    match what {
        b"read-text" => call(BLOCK_READ, [disk.raw(), 0, text, 512, 9])[4],
        b"read-low" => call(BLOCK_READ, [disk.raw(), 0, LOW, 512, 9])[4],
        b"receive-text" => call(NET_READ, [net.raw(), text, 512, 9])[3],
        b"send-past" => call(NET_WRITE, [net.raw(), past, 512, 9])[3],
        b"block-past" => call(BLOCK_WRITE, [disk.raw(), 0, past, 512, 9])[4],
        b"around" => call(NET_WRITE, [net.raw(), data, u64::MAX, 9])[3],
        b"structure-in-text" => structure(BLOCK_READ, text),
        b"net-structure-in-text" => structure(NET_READ, text),
        _ => return ring::forbidden(what, net.raw(), text),
    };
    true
}

fn structure(number: u16, address: u64) -> u64 {
    // SAFETY: the tender is expected to refuse.
    unsafe { hypercall(number, usize::try_from(address).unwrap_or_default()) };
    0
}

/// Makes a call with a structure of these words and returns what they are afterwards.
fn call<const N: usize>(number: u16, mut words: [u64; N]) -> [u64; N] {
    // SAFETY: the tender reads and writes the words, and the buffer, which nothing borrows.
    unsafe { hypercall(number, words.as_mut_ptr().addr()) };
    // The results are 32 bits.
    if let Some(last) = words.last_mut().filter(|_| number != PUTS) {
        *last &= 0xFFFF_FFFF;
    }
    words
}

fn buffer() -> u64 {
    (&raw mut super::BUFFER).addr() as u64
}
