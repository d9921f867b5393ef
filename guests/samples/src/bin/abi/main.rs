//! Walks the edges of every call and prints what it got, one line each. It has a network device
//! `service` and a block device `storage`, which it overwrites.
//!
//! `--forbidden=NAME` makes one call instead that must end the guest; if it goes on, it says
//! `abi: still here` and exits with 65. The names are in `forbidden` of the two targets.
#![no_std]
#![no_main]

#[cfg(solo5_hvt)]
#[path = "hvt.rs"]
mod target;
#[cfg(solo5_spt)]
#[path = "spt.rs"]
mod target;

use core::time::Duration;

use solo5::{Arguments, Block, Declared, Net, println, time};

solo5::unikernel!(main, [Declared::Net("service"), Declared::Block("storage")]);

/// Takes a block of any size.
static mut BUFFER: [u8; 32768] = [0x5A; 32768];

fn main(arguments: Arguments) -> i32 {
    let (Some(net), Some(disk)) = (Net::named("service"), Block::named("storage")) else {
        println!("abi: devices are missing");
        return 1;
    };
    if let Some(what) = arguments.value_of("--forbidden=") {
        if !target::forbidden(what, &net, &disk) {
            println!("abi: what is forbidden?");
            return 64;
        }
        println!("abi: still here");
        return 65;
    }
    println!("service: mac {:02x?} mtu {}", net.mac(), net.mtu());
    println!("storage: capacity {} block size {}", disk.capacity(), disk.block_size());
    let wrong = (Net::named("storage").is_some(), Block::named("other").is_some());
    println!("devices of other names or types: {wrong:?}");
    waiting();
    target::edges(&net, &disk);
    0
}

fn waiting() {
    let start = time::monotonic();
    println!("wait for nothing: {}", time::wait_until(start));
    let deadline = start + Duration::from_millis(20);
    time::sleep_until(deadline);
    println!("wait for 20 ms: {}", time::monotonic() >= deadline);
    let wall = time::wall();
    println!("the day is past 2020: {}", wall.as_secs() > 1_577_836_800);
}

/// Blocks at the edges of a device: what they are, offset and length.
fn blocks(disk: &Block) -> [(&'static str, u64, u64); 9] {
    let (capacity, size) = (disk.capacity(), u64::from(disk.block_size()));
    [
        ("first block", 0, size),
        ("last block", capacity - size, size),
        ("off by 24 bytes", capacity - size - 24, size),
        ("no bytes", 0, 0),
        ("last 24 bytes", capacity - 24, 24),
        ("past the end", capacity, size),
        ("over the end", capacity - size + 1, size),
        ("all around", u64::MAX, 2),
        ("everything and more", 0, u64::MAX),
    ]
}
