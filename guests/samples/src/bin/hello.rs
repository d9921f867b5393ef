//! Says hello and shows its arguments.
//!
//! Prints `Hello from NAME`, with the NAME of `--name=NAME` or `hello`, then each of its
//! arguments on a line of its own. Exits with the N of `--exit=N`, or 0.
#![no_std]
#![no_main]

use solo5::{Arguments, console, print};

solo5::unikernel!(main);

fn main(arguments: Arguments) -> i32 {
    print!("Hello from ");
    print_line(arguments.value_of("--name=").unwrap_or(b"hello"));
    let status = arguments.number_of("--exit=").unwrap_or(0);
    arguments.words().for_each(print_line);
    i32::try_from(status).unwrap_or(i32::MAX)
}

/// Arguments are bytes: what is no UTF-8 is printed as it came.
fn print_line(bytes: &[u8]) {
    console::write(bytes);
    print!("\n");
}
