//! Sends UDP datagrams from its network device `service` and counts what comes back.
//!
//! `--to=A` is who gets them, at `--port=N` (7, where they are echoed), over `--ipv4=A/P` with
//! `--ipv4-gateway=A`, or `--ipv6=A/P`. `--count=N` datagrams (5) with `--size=N` bytes (64), at most
//! `--window=N` of them unanswered (1); with 0, answers are not waited for. Ends with 0 if all were
//! answered, with 2 if nobody has the address, otherwise with 1.
#![no_std]
#![no_main]

extern crate alloc;

use core::net::IpAddr;
use core::time::Duration;

use frames::{Answer, Buffer, Host, Ipv4, Ipv6, TYPE_IPV4, TYPE_IPV6, UDP};
use samples::{HEADER_SIZE, Way, interface, resolve};
use solo5::{Arguments, Declared, Net, println, time};

solo5::unikernel!(main, [Declared::Net("service")]);

/// How long is waited for an answer after the last one: hosts may pause for seconds.
const PATIENCE: Duration = Duration::from_secs(10);
const OWN_PORT: u16 = 49152;

fn main(arguments: Arguments) -> i32 {
    let (net, settings) = interface(arguments, "service", true);
    let to = arguments.value_of("--to=").and_then(|to| core::str::from_utf8(to).ok()?.parse().ok());
    let Some(to) = to else {
        println!("sender: --to= wants an address");
        return 64;
    };
    let port = arguments.number_of("--port=").map_or(Some(7), |port| u16::try_from(port).ok());
    let Some(port) = port else {
        println!("sender: --port= wants a number below 65536");
        return 64;
    };
    let (ipv4, ipv6) = (settings.ipv4.map(|own| own.0), settings.ipv6.map(|own| own.0));
    let host = Host { mac: net.mac(), ipv4, ipv6 };
    let Some(way) = resolve(&net, &settings, &host, to, 10) else {
        println!("sender: nobody answers for {to}");
        return 2;
    };
    let number = |name, default| arguments.number_of(name).unwrap_or(default);
    let size = usize::try_from(number("--size=", 64)).unwrap_or(usize::MAX).min(1400);
    let mut sender = Sender {
        datagram: datagram(&host, way, to, port, size),
        room: alloc::vec![0; usize::from(net.mtu()).max(86) + HEADER_SIZE],
        net,
        host,
        port,
        sent: 0,
        answered: 0,
        lost: 0,
    };
    let count = number("--count=", 5);
    if sender.run(count, number("--window=", 1)).is_none() {
        println!("sender: the interface fails");
        return 1;
    }
    println!("sender: {} sent to {to}, {} answered", sender.sent, sender.answered);
    i32::from(sender.answered < count && number("--window=", 1) > 0)
}

fn datagram(host: &Host, way: Way, to: IpAddr, port: u16, size: usize) -> Buffer {
    let payload = |frame: &mut Buffer| {
        frame.udp(OWN_PORT, port, size);
        (0..size).for_each(|_| _ = frame.push(b"."));
    };
    match (way.from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut frame = Buffer::ethernet(way.mac, host.mac, TYPE_IPV4);
            Ipv4 { from, to, protocol: UDP, fragment: 0 }.write(&mut frame, payload);
            frame
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut frame = Buffer::ethernet(way.mac, host.mac, TYPE_IPV6);
            Ipv6 { from, to, next: UDP }.write(&mut frame, payload);
            frame
        }
        _ => unreachable!("the way is of the same family"),
    }
}

struct Sender {
    net: Net,
    host: Host,
    datagram: Buffer,
    room: alloc::vec::Vec<u8>,
    port: u16,
    sent: u64,
    answered: u64,
    lost: u64,
}

impl Sender {
    /// `None` when the interface fails.
    fn run(&mut self, count: u64, window: u64) -> Option<()> {
        let mut deadline = time::monotonic() + PATIENCE;
        loop {
            let before = self.answered;
            while self.receive()? {}
            if self.answered > before {
                deadline = time::monotonic() + PATIENCE;
            }
            // An answer that comes late is counted, but its place is not free twice.
            let waiting = self.sent.saturating_sub(self.answered + self.lost);
            let all_sent = self.sent == count;
            if all_sent && (window == 0 || waiting == 0) {
                return Some(());
            }
            if !all_sent && (window == 0 || waiting < window) {
                self.net.queue(self.datagram.bytes()).ok()?;
                self.sent += 1;
            } else if time::monotonic() >= deadline {
                self.lost += waiting;
                deadline = time::monotonic() + PATIENCE;
            } else {
                time::wait_until(deadline);
            }
        }
    }

    /// Takes one frame, if there is one.
    fn receive(&mut self) -> Option<bool> {
        let Some(len) = self.net.receive(&mut self.room).ok()? else { return Some(false) };
        if self.is_answer(len) {
            self.answered += 1;
        } else if let Some(Answer::Neighbour(len)) = self.host.answer(&mut self.room, len) {
            self.net.queue(&self.room[..len]).ok()?;
        }
        Some(true)
    }

    /// Whether it is a datagram from the port that we send to, to ours.
    fn is_answer(&self, len: usize) -> bool {
        let frame = &self.room[..len];
        let udp = match frame.get(12..14) {
            Some([0x08, 0x00]) if frame.get(23) == Some(&UDP) => 34,
            Some([0x86, 0xDD]) if frame.get(20) == Some(&UDP) => 54,
            _ => return false,
        };
        let ports = [self.port, OWN_PORT].map(u16::to_be_bytes);
        frame.get(udp..udp + 4) == Some(ports.as_flattened())
    }
}
