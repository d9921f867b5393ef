//! Sends from its network device `service` one frame of each sort that pretends to come from somebody
//! else or to be somebody else's business, and honest ones beside them, each marked with
//! `vmm-says:NAME;`, and says what it has sent. It is there to be stopped by a host.
//!
//! `--ipv4=A/P` and `--ipv6=A/P` are its own addresses. It pretends to be whoever has `--victim=A`
//! and `--victim6=A`, of whose hardware address it asks first; `--victim-mac=M` is another one. It
//! speaks to `--to-mac=M` (everybody), `--rounds=N` times (1).
#![no_std]
#![no_main]

use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use frames::lies::{self, Scene};
use frames::{BROADCAST, Host, Mac};
use samples::{interface, resolve};
use solo5::{Arguments, Declared, println};

solo5::unikernel!(main, [Declared::Net("service")]);

/// How often it asks who has the victim's address, a fifth of a second each.
const ATTEMPTS: u64 = 25;

fn main(arguments: Arguments) -> i32 {
    let (net, settings) = interface(arguments, "service", true);
    let (ipv4, ipv6) = (settings.ipv4.map(|own| own.0), settings.ipv6.map(|own| own.0));
    let host = Host { mac: net.mac(), ipv4, ipv6 };
    let victim = parsed(arguments, "--victim=").unwrap_or(Ipv4Addr::new(10, 0, 0, 1));
    let victim_mac = mac(arguments, "--victim-mac=");
    // An answer also says that the network is there: it may take a while to come up.
    let way = resolve(&net, &settings, &host, victim.into(), ATTEMPTS);
    let scene = Scene {
        mac: host.mac,
        ipv4,
        ipv6,
        to: mac(arguments, "--to-mac=").unwrap_or(BROADCAST),
        victim_mac: victim_mac.or(way.map(|way| way.mac)).unwrap_or([2, 0, 0, 0, 0, 1]),
        victim,
        victim6: parsed(arguments, "--victim6=")
            .unwrap_or(Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, 1)),
    };
    for _ in 0..arguments.number_of("--rounds=").unwrap_or(1) {
        for sort in lies::sorts() {
            let Some(frame) = sort.frame(&scene) else { continue };
            match net.send(frame.bytes()) {
                Ok(()) => println!("liar: sent {}", sort.name),
                Err(failure) => println!("liar: could not send {}: {failure:?}", sort.name),
            }
        }
    }
    println!("liar: done");
    0
}

/// What stands behind `name`; what cannot be read ends the guest.
fn value<T>(
    arguments: Arguments,
    name: &str,
    read: impl FnOnce(&'static str) -> Option<T>,
) -> Option<T> {
    let value = arguments.value_of(name)?;
    let value = core::str::from_utf8(value).ok().and_then(read);
    if value.is_none() {
        println!("liar: {name} wants an address");
        solo5::exit(64);
    }
    value
}

fn parsed<T: FromStr>(arguments: Arguments, name: &str) -> Option<T> {
    value(arguments, name, |text| text.parse().ok())
}

fn mac(arguments: Arguments, name: &str) -> Option<Mac> {
    value(arguments, name, |text| {
        let mut parts = text.split(':').map(|part| u8::from_str_radix(part, 16).ok());
        let mut mac = [0; 6];
        for byte in &mut mac {
            *byte = parts.next()??;
        }
        parts.next().is_none().then_some(mac)
    })
}
