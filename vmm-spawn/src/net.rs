//! Networks: the taps of machines, on the bridges of the host.
//!
//! ```text
//!   Networks ── which bridges
//!     ├ watch ── that filters stay as long as machines run, and nothing longer
//!     │   └ news ── the kernel's word that somebody has changed rules
//!     └ tap ── one interface of one machine: made, set up, filtered, read back, up
//!         ├ tun ── the descriptor that frames go through
//!         ├ link, fdb ── what interfaces are, and what a bridge knows
//!         │   └ netlink ── one question or order at a time
//!         ├ plug, port ── on its bridge, how that treats it
//!         ├ owner ── what is written on them
//!         ├ announce ── whose their addresses are now
//!         └ filter ── what they may send
//!   HostNetworks ── private networks that are made here
//!     └ nft ── rules of the packet filter, by a program that has bounds
//! ```
//!
//! A tap is not persistent: the kernel removes it with the last process that has its descriptor,
//! which is the machine's own. What could be left all the same is found by its name and by what is
//! written on it.

pub mod announce;
pub mod digest;
pub mod fdb;
pub mod filter;
pub mod host;
pub mod link;
pub mod netlink;
pub mod news;
pub mod nft;
pub mod owner;
pub mod plug;
pub mod port;
pub mod tap;
#[cfg(test)]
pub(crate) mod tests;
pub mod tun;
pub mod watch;

use std::collections::BTreeSet;
use std::path::Path;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};
use tracing::{error, info, warn};
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::{Interface, MAX_INTERFACES};
use vmm_proto::resource::{BridgeName, DeviceName, TapName};

use filter::{Limits, Rules};
use netlink::Netlink;
use news::News;
use owner::{Identity, Owner};
use tap::{Maker, Tap, TapError};
use watch::Watch;

/// Why a machine has no networks, or this process none to give.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This process may not make any.
    #[error(
        "--bridge needs root, or the capability CAP_NET_ADMIN: without it no tap can be made \
         (start without --bridge, and machines have no networks)"
    )]
    Powerless,
    /// There is no device for taps.
    #[error("--bridge needs {path}: {error}", path = tun::TUN)]
    NoTun {
        /// Why it cannot be used.
        error: Errno,
    },
    /// {0}
    #[error(transparent)]
    Kernel(#[from] netlink::Error),
    /// Nothing could be filtered.
    #[error("what machines send cannot be filtered, so that none has a network: {0}")]
    Filter(#[from] filter::FilterError),
    /// A filter could not be removed.
    #[error("its filter stays, as the kernel does not take {0}")]
    FilterStays(filter::kernel::Refused),
    /// A bridge that machines may not be put on.
    #[error(
        "bridge {0:?} is not one that machines may be put on: vmm-spawn --bridge NAME names those"
    )]
    NotListed(String),
    /// More than a machine can have.
    #[error("a machine has at most {MAX_INTERFACES} network interfaces, not {0}")]
    TooMany(usize),
    /// Not the name of a device.
    #[error("{0:?} is not the name of a device")]
    Device(String),
    /// Two interfaces are to be one device.
    #[error("the device {0:?} has two networks")]
    Twice(String),
    /// One of its taps cannot be made.
    #[error("network {device:?}: {error}")]
    Tap {
        /// The device of the guest.
        device: String,
        /// Why.
        error: TapError,
    },
}

/// The networks of this installation's machines.
#[derive(Debug)]
pub struct Networks {
    bridges: BTreeSet<String>,
    owner: Owner,
    rules: Rules,
    /// Opened when it is needed first, and after it has failed.
    netlink: Option<Netlink>,
    watch: Watch,
    /// Where the kernel tells of changed rules, if it does.
    news: Option<News>,
    /// Whether it was said what bridges of this kernel cannot do.
    is_told: bool,
}

impl Networks {
    /// For the installation in `dir`, which is absolute and without links. Machines may be put on
    /// `bridges`, and each of their interfaces has these limits.
    ///
    /// # Errors
    /// There are some, and this process cannot make taps.
    pub fn open(bridges: &[BridgeName], limits: Limits, dir: &Path) -> Result<Self, Error> {
        let owner = Owner::of_directory(dir);
        let rules = Rules::new(limits).owned_by(&owner);
        let bridges: BTreeSet<_> = bridges.iter().map(ToString::to_string).collect();
        let (watch, is_told) = (Watch::default(), false);
        let mut this = Self { bridges, owner, rules, netlink: None, watch, news: None, is_told };
        if this.bridges.is_empty() {
            return Ok(this);
        }
        if !has_power() {
            return Err(Error::Powerless);
        }
        tun::device().map_err(|error| Error::NoTun { error })?;
        // Machines that run need this process more than others need networks.
        if let Err(error) = this.rules.prepare() {
            error!("as it is, no machine starts on a bridge: {error}");
        }
        for name in this.bridges.clone() {
            match this.netlink()?.link(&name)? {
                Some(link) if link.is_bridge() => info!("machines may be put on bridge {name:?}"),
                Some(_) => warn!("bridge {name:?} is no bridge: no machine starts on it"),
                None => warn!("bridge {name:?} does not exist: no machine starts on it until then"),
            }
        }
        // Where there is no port yet, the first tap shows it.
        let links = this.netlink()?.links()?;
        if let Some(link) = links.iter().find(|link| !link.port.is_empty()) {
            this.tell(&port::lacking(&link.port));
        }
        Ok(this)
    }

    /// Says once what bridges of this kernel cannot do.
    fn tell(&mut self, lacking: &[&str]) {
        if std::mem::replace(&mut self.is_told, true) {
            return;
        }
        for it in lacking {
            warn!("{it}");
        }
    }

    /// The bridges that machines may be put on.
    pub fn bridges(&self) -> impl Iterator<Item = &str> {
        self.bridges.iter().map(String::as_str)
    }

    /// Machines may be put on this bridge, too.
    pub fn allow(&mut self, bridge: &str) {
        self.bridges.insert(bridge.to_owned());
    }

    /// No machine may be put on this bridge any more. Those that are stay there.
    pub fn disallow(&mut self, bridge: &str) {
        self.bridges.remove(bridge);
    }

    /// The kernel.
    ///
    /// # Errors
    /// There is no way to it.
    pub fn netlink(&mut self) -> Result<&mut Netlink, netlink::Error> {
        if self.netlink.is_none() {
            self.netlink = Some(Netlink::open()?);
        }
        // It was just put there.
        self.netlink.as_mut().ok_or(netlink::Error::Silence)
    }

    /// Makes the taps of a machine, which may have them ([`Networks::check`]). They are gone when what
    /// is returned is, and every copy of its descriptors; [`Networks::remove`] takes back what else
    /// there is, also of those that were made before one failed.
    ///
    /// # Errors
    /// What is asked for cannot be had.
    pub fn make(&mut self, machine: MachineId, list: &[Interface]) -> Result<Vec<Tap>, Error> {
        if list.is_empty() {
            return Ok(Vec::new());
        }
        self.rules.prepare()?;
        let made = (0..).zip(list);
        made.map(|(index, interface)| self.make_one(machine, index, interface)).collect()
    }

    /// Whether a machine may have these interfaces.
    ///
    /// # Errors
    /// It may not.
    pub fn check(&self, list: &[Interface]) -> Result<(), Error> {
        if list.len() > MAX_INTERFACES {
            return Err(Error::TooMany(list.len()));
        }
        let mut devices = BTreeSet::new();
        for interface in list {
            let device = &interface.device;
            DeviceName::parse(device).map_err(|_| Error::Device(device.clone()))?;
            if !devices.insert(device) {
                return Err(Error::Twice(device.clone()));
            }
            if !self.bridges.contains(&interface.bridge) {
                return Err(Error::NotListed(interface.bridge.clone()));
            }
        }
        Ok(())
    }

    fn make_one(
        &mut self,
        machine: MachineId,
        index: u16,
        interface: &Interface,
    ) -> Result<Tap, Error> {
        self.netlink()?;
        let Self { netlink: Some(netlink), rules, owner, .. } = self else {
            return Err(netlink::Error::Silence.into());
        };
        let name = TapName::of(machine, index);
        self.watch.is_made(name);
        let made = Maker { netlink, rules, owner }.make(machine, index, interface);
        match &made {
            Ok(tap) => {
                self.watch.add(name, Identity::of(interface));
                self.tell(&tap.lacking);
            }
            Err(error) => self.judge(error),
        }
        made.map_err(|error| Error::Tap { device: interface.device.clone(), error })
    }

    /// A connection that has failed is replaced.
    fn judge(&mut self, error: &TapError) {
        if let TapError::Kernel { error, .. } = error
            && error.errno().is_none()
        {
            self.netlink = None;
        }
    }
}

/// Whether this process may make interfaces.
fn has_power() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}
