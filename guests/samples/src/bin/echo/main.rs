//! Answers on its network device `service`: ARP requests for its address, ICMP echo requests
//! (ping), and UDP datagrams to port 7, which it sends back.
//!
//! `--ipv4=A/P` is its address, as in `--ipv4=10.0.0.2/24`. With `--count=N` it ends after N
//! answers, ARP not counted.
#![no_std]
#![no_main]

mod packets;

extern crate alloc;

use core::time::Duration;

use packets::{Answer, Host};
use solo5::{Arguments, Declared, Net, println, time};

solo5::unikernel!(main, [Declared::Net("service")]);

const HEADER_SIZE: usize = 14;

fn main(arguments: Arguments) -> i32 {
    let Some(net) = Net::named("service") else {
        println!("echo: there is no network device 'service'");
        return 1;
    };
    let Some((address, prefix)) = arguments.value_of("--ipv4=").and_then(packets::parse_network)
    else {
        println!("echo: an address is wanted, as in --ipv4=10.0.0.2/24");
        return 64;
    };
    let host = Host { mac: net.mac(), address };
    let [a, b, c, d] = address;
    let [m0, m1, m2, m3, m4, m5] = net.mac();
    println!(
        "echo: {a}.{b}.{c}.{d}/{prefix} at {m0:02x}:{m1:02x}:{m2:02x}:{m3:02x}:{m4:02x}:{m5:02x}, MTU {}",
        net.mtu()
    );
    serve(&net, &host, arguments.number_of("--count="))
}

fn serve(net: &Net, host: &Host, count: Option<u64>) -> i32 {
    let mut room = alloc::vec![0; usize::from(net.mtu()) + HEADER_SIZE];
    let mut answered = 0;
    while count.is_none_or(|count| answered < count) {
        let len = match net.receive(&mut room) {
            Ok(Some(len)) => len,
            Ok(None) => {
                time::wait_until(Duration::MAX);
                continue;
            }
            Err(failure) => {
                println!("echo: cannot receive: {failure:?}");
                return 1;
            }
        };
        let frame = &mut room[..len];
        let (answer, len) = match host.answer(frame) {
            Some(Answer::Neighbour(len)) => (&frame[..len], 0),
            Some(Answer::Echo(len)) => (&frame[..len], 1),
            None => continue,
        };
        // A frame that is lost is asked for again.
        match net.queue(answer) {
            Ok(()) => answered += len,
            Err(failure) => println!("echo: an answer was lost: {failure:?}"),
        }
    }
    0
}
