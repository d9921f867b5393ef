//! Network namespaces as hosts: one on which the daemons run, and one that is the rest of the world,
//! at the other ends of cables that are plugged into the host's bridges. Nothing of it can be seen in
//! the network of whoever runs the tests, and all of it ends with them.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test fails by panicking")]

mod holdings;
mod place;
mod tenants;
pub mod traffic;
mod wire;

use std::fs::File;
use std::process::{Command, Stdio};
use vmm_testkit::skipped;

pub use holdings::Holdings;
pub use place::Place;
pub use tenants::{BOTH_ON_EXT, Besides, Tenants, Traffic, address, of_bridge, of_bridge6};
pub use wire::{Direction, Wire};

use crate::setup::programs;

/// A host with bridges, and the world.
///
/// The first bridge has the networks 10.0.0.0/24 and `fd00::/64`, the second one 10.0.1.0/24 and
/// `fd00:0:0:1::/64`, and so on. In each, the host ends with .1 and `::1`, the world with .250 and
/// `::fa`.
#[derive(Debug)]
pub struct Site {
    host: Place,
    world: Place,
}

impl Site {
    /// With these bridges. Where there can be none, that is said loudly, and there is none; with
    /// `CI=true` that is a failure.
    pub fn with(bridges: &[&str]) -> Option<Self> {
        if let Some(obstacle) = obstacle() {
            skipped(&format!("networks: {obstacle}"));
            return None;
        }
        // Not by the first test that runs in a namespace, from which no registry can be reached.
        programs();
        let world = Place::new("");
        let cable = |(index, bridge): (usize, &&str)| {
            format!(
                "ip link add {bridge} type bridge
                 ip link add port{index} type veth peer name {bridge} netns {}
                 ip link set port{index} master {bridge} up
                 ip addr add 10.0.{index}.1/24 dev {bridge}
                 ip addr add fd00:0:0:{index}::1/64 dev {bridge} nodad
                 ip link set {bridge} up\n",
                world.pid()
            )
        };
        let script: String = bridges.iter().enumerate().map(cable).collect();
        let host = Place::new(&(WHOLE_FRAMES.to_owned() + &script));
        for (index, bridge) in bridges.iter().enumerate() {
            world.shell(&format!(
                "ip addr add 10.0.{index}.250/24 dev {bridge}
                 ip addr add fd00:0:0:{index}::fa/64 dev {bridge} nodad
                 ip link set {bridge} up"
            ));
        }
        Some(Self { host, world })
    }

    /// Does `work` on the host. What it starts runs there, too.
    pub fn on_host<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.host.inside(work)
    }

    /// Does `work` in the rest of the world.
    pub fn in_world<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.world.inside(work)
    }
}

/// Where bridges hand frames to the IP layer, what lies behind a packet is cut off: there are the marks
/// by which frames are found.
const WHOLE_FRAMES: &str = "
    for family in iptables ip6tables arptables; do
        setting=/proc/sys/net/bridge/bridge-nf-call-$family
        [ ! -e $setting ] || echo 0 >$setting
    done\n";

/// Why there can be no networks here.
fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can make them".to_owned());
    }
    if let Err(error) = File::options().read(true).write(true).open("/dev/net/tun") {
        return Some(format!("/dev/net/tun cannot be opened: {error}"));
    }
    let missing = |program: &&str| {
        let command = &mut Command::new(program);
        command.arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
    };
    let program = ["ip", "nft", "ping", "unshare"].into_iter().find(missing)?;
    Some(format!("{program} cannot be run"))
}
