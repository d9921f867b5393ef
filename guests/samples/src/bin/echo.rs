//! Answers on its network device `service`: ARP requests and neighbour solicitations for its
//! addresses, pings, and UDP datagrams to port 7, which it sends back.
//!
//! `--ipv4=A/P` and `--ipv6=A/P` are its addresses, as in `--ipv4=10.0.0.2/24`, at least one of them.
//! With `--count=N` it ends after N echoes.
#![no_std]
#![no_main]

use solo5::{Arguments, Declared};

solo5::unikernel!(main, [Declared::Net("service")]);

fn main(arguments: Arguments) -> i32 {
    samples::echo::run(arguments, &["service"])
}
