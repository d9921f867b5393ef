//! Answers on any number of interfaces.

use alloc::vec::Vec;
use core::time::Duration;

use frames::{Answer, Host};
use solo5::{Arguments, Net, println, time};

use crate::{HEADER_SIZE, Shown, interface};

/// Answers on these interfaces until the guest is ended, or with `--count=N` until N echoes were
/// sent. Returns the guest's status.
pub fn run(arguments: Arguments, names: &[&str]) -> i32 {
    let mut places = Vec::with_capacity(names.len());
    for name in names {
        let Some(place) = Place::new(arguments, name, names.len() == 1) else { return 64 };
        places.push(place);
    }
    serve(&mut places, arguments.number_of("--count="))
}

/// An interface on which is answered.
struct Place {
    net: Net,
    host: Host,
    room: Vec<u8>,
}

impl Place {
    /// Says who answers there.
    fn new(arguments: Arguments, name: &str, only: bool) -> Option<Self> {
        let (net, settings) = interface(arguments, name, only);
        let (mac, mtu) = (Shown(net.mac()), net.mtu());
        let prefix = if only { "" } else { name };
        let gap = if only { "" } else { " " };
        match (settings.ipv4, settings.ipv6) {
            (None, None) => {
                println!("echo: {prefix}{gap}an address is wanted, as in --ipv4=10.0.0.2/24");
                return None;
            }
            (Some((a, p)), None) => {
                println!("echo: {prefix}{gap}{a}/{p} at {mac}, MTU {mtu}");
            }
            (None, Some((a, p))) => {
                println!("echo: {prefix}{gap}{a}/{p} at {mac}, MTU {mtu}");
            }
            (Some((a, p)), Some((b, q))) => {
                println!("echo: {prefix}{gap}{a}/{p} {b}/{q} at {mac}, MTU {mtu}");
            }
        }
        let (ipv4, ipv6) = (settings.ipv4.map(|own| own.0), settings.ipv6.map(|own| own.0));
        let host = Host { mac: net.mac(), ipv4, ipv6 };
        // An advertisement may be longer than the solicitation was.
        let room = alloc::vec![0; usize::from(net.mtu()).max(86) + HEADER_SIZE];
        Some(Self { net, host, room })
    }

    /// Takes one frame, if there is one, and counts echoes.
    fn turn(&mut self, answered: &mut u64) -> Result<bool, ()> {
        let len = match self.net.receive(&mut self.room) {
            Ok(Some(len)) => len,
            Ok(None) => return Ok(false),
            Err(failure) => {
                println!("echo: cannot receive: {failure:?}");
                return Err(());
            }
        };
        let (len, echoes) = match self.host.answer(&mut self.room, len) {
            Some(Answer::Neighbour(len)) => (len, 0),
            Some(Answer::Echo(len)) => (len, 1),
            None => return Ok(true),
        };
        // A frame that is lost is asked for again.
        match self.net.queue(&self.room[..len]) {
            Ok(()) => *answered += echoes,
            Err(failure) => println!("echo: an answer was lost: {failure:?}"),
        }
        Ok(true)
    }
}

fn serve(places: &mut [Place], count: Option<u64>) -> i32 {
    let mut answered = 0;
    loop {
        let mut idle = true;
        for place in &mut *places {
            match place.turn(&mut answered) {
                Ok(busy) => idle &= !busy,
                Err(()) => return 1,
            }
            if count.is_some_and(|count| answered >= count) {
                return 0;
            }
        }
        if idle {
            time::wait_until(Duration::MAX);
        }
    }
}
