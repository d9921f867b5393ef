//! As `echo`, on two network devices, `front` and `back`. Its addresses are `--front-ipv4=A/P`,
//! `--back-ipv6=A/P`, and so on.
#![no_std]
#![no_main]

use solo5::{Arguments, Declared};

solo5::unikernel!(main, [Declared::Net("front"), Declared::Net("back")]);

fn main(arguments: Arguments) -> i32 {
    samples::echo::run(arguments, &["front", "back"])
}
