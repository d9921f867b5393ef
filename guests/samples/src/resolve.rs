//! From an address to the hardware that has it.

use core::net::IpAddr;
use core::time::Duration;

use frames::{
    ADVERTISEMENT, Arp, BROADCAST, Buffer, Host, Mac, Neighbour, REPLY, REQUEST, SOLICITATION,
    Settings, TYPE_ARP, TYPE_IPV6, solicited_node,
};
use solo5::{Net, time};

use crate::HEADER_SIZE;

/// How long an answer is waited for before it is asked again.
const PATIENCE: Duration = Duration::from_millis(200);

/// How to send to somebody: from which address, to which hardware.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The own address of the same family.
    pub from: IpAddr,
    /// The neighbour or the gateway.
    pub mac: Mac,
}

/// Asks who has `to`, or the gateway on the way there, at most `attempts` times. Meanwhile who asks
/// for us is answered. `None`: nobody has it, or there is no own address to ask from.
pub fn resolve(
    net: &Net,
    settings: &Settings,
    host: &Host,
    to: IpAddr,
    attempts: u64,
) -> Option<Way> {
    let mut room = alloc::vec![0; usize::from(net.mtu()).max(86) + HEADER_SIZE];
    let (from, hop) = match to {
        IpAddr::V4(to) => (settings.ipv4?.0.into(), settings.next_hop(to)?.into()),
        IpAddr::V6(_) => (settings.ipv6?.0.into(), to),
    };
    for _ in 0..attempts {
        net.send(question(host, hop)?.bytes()).ok()?;
        let deadline = time::monotonic() + PATIENCE;
        while time::monotonic() < deadline {
            let Some(len) = net.receive(&mut room).ok()? else {
                time::wait_until(deadline);
                continue;
            };
            if let Some(mac) = told(&room[..len], hop) {
                return Some(Way { from, mac });
            }
            if let Some(frames::Answer::Neighbour(len)) = host.answer(&mut room, len) {
                net.send(&room[..len]).ok()?;
            }
        }
    }
    None
}

fn question(host: &Host, hop: IpAddr) -> Option<Buffer> {
    Some(match hop {
        IpAddr::V4(hop) => {
            let mut frame = Buffer::ethernet(BROADCAST, host.mac, TYPE_ARP);
            let (sender, target) = ((host.mac, host.ipv4?), ([0; 6], hop));
            Arp { operation: REQUEST, sender, target }.write(&mut frame);
            frame
        }
        IpAddr::V6(hop) => {
            let (node, mac) = solicited_node(hop);
            let mut frame = Buffer::ethernet(mac, host.mac, TYPE_IPV6);
            let asking = Neighbour { kind: SOLICITATION, target: hop, mac: Some(host.mac) };
            asking.write(&mut frame, host.ipv6?, node);
            frame
        }
    })
}

/// The hardware address that a frame says `hop` has.
fn told(frame: &[u8], hop: IpAddr) -> Option<Mac> {
    let (header, payload) = frame.split_at_checked(HEADER_SIZE)?;
    match (u16::from_be_bytes([header[12], header[13]]), hop) {
        (TYPE_ARP, IpAddr::V4(hop)) => {
            let arp = Arp::read(payload)?;
            (arp.operation == REPLY && arp.sender.1 == hop).then_some(arp.sender.0)
        }
        (TYPE_IPV6, IpAddr::V6(hop)) => {
            let message = Neighbour::read(payload.get(40..)?)?;
            (message.kind == ADVERTISEMENT && message.target == hop).then_some(message.mac)?
        }
        _ => None,
    }
}
