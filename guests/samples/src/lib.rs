//! What the samples for networks have in common.
#![no_std]

extern crate alloc;

pub mod echo;
mod resolve;

use frames::{Mac, Settings, Unreadable};
use solo5::{Arguments, Net, println};

pub use resolve::{Way, resolve};

/// The size of an Ethernet header.
pub const HEADER_SIZE: usize = 14;

/// An interface and what the arguments say of it. `only`: the guest has no other one. What is wrong
/// ends the guest with a message.
pub fn interface(arguments: Arguments, name: &str, only: bool) -> (Net, Settings) {
    let Some(net) = Net::named(name) else {
        println!("there is no network device '{name}'");
        solo5::exit(1);
    };
    match Settings::read(arguments.words(), name, only) {
        Ok(settings) => (net, settings),
        Err(Unreadable(word)) => {
            let word = core::str::from_utf8(word).unwrap_or("a word");
            println!("{word}: no such address, as in --ipv4=10.0.0.2/24 or --ipv6=fd00::2/64");
            solo5::exit(64);
        }
    }
}

/// A hardware address, to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown(pub Mac);

impl core::fmt::Display for Shown {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}
