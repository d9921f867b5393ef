//! What may go through a tap: nothing that pretends to be somebody else.
//!
//! ```text
//!   Rules ── one tap's are set, read back, removed
//!     ├ frames ── what may go through: hardware addresses, ARP, limits
//!     │   ├ ip4, ip6 ── packets, and what is in them
//!     │   └ words ── what rules are made of
//!     ├ groups ── which machines of a bridge see each other
//!     ├ nft ── the program that brings rules to the kernel, and prints them
//!     ├ same ── whether they are what was meant
//!     └ tables ── which there are, and removing them
//! ```
//!
//! Each tap has a table of its own, which is made in one step before the tap goes up, and never
//! changed: so a tap never carries a frame that no rule has seen.

pub mod frames;
pub mod groups;
pub mod ip4;
pub mod ip6;
pub mod nft;
pub mod same;
pub mod tables;
pub mod words;

use std::{io, net};

use nftables::types::NfFamily;
use rustix::net::netdevice::name_to_index;
use tracing::{error, info, warn};
use vmm_proto::message::spawn::Interface;
use vmm_proto::resource::TapName;

use super::tap::TapFacts;
use frames::{Facts, TABLE_PREFIX};
use nft::{Nft, NftError};
use words::Program;

/// Why a tap has no filter. It does not go up then.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// {0}
    #[error(transparent)]
    Nft(#[from] NftError),
    /// An earlier table is in the way.
    #[error("cannot remove an earlier table of rules: {0}")]
    Earlier(io::Error),
    /// The kernel has something else.
    #[error("the rules that the kernel has are not those that it was given: {0}")]
    NotAsSet(String),
}

/// How much may go through a tap, in each direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// In millions of bits a second, at most [`Self::BANDWIDTH_MAX`].
    pub bandwidth: Option<u32>,
    /// Packets a second, at most [`Self::PACKETS_MAX`].
    pub packets: Option<u32>,
}

impl Limits {
    /// What `nft` can count.
    pub const BANDWIDTH_MAX: u32 = 34_000;

    /// More than any machine sends.
    pub const PACKETS_MAX: u32 = 10_000_000;

    /// The bandwidth as `nft` counts it.
    pub fn bytes_per_second(self) -> Option<u32> {
        self.bandwidth.map(|bandwidth| bandwidth.saturating_mul(125_000))
    }
}

/// The filters of all taps of this installation.
#[derive(Debug, Default)]
pub struct Rules {
    nft: Nft,
    limits: Limits,
}

impl Rules {
    /// With these limits, for each tap.
    pub fn new(limits: Limits) -> Self {
        Self { nft: Nft::default(), limits }
    }

    /// The same with another `nft`.
    #[must_use]
    pub fn with(self, nft: Nft) -> Self {
        Self { nft, ..self }
    }

    /// Makes what all taps need. Whoever does so once at the beginning knows early what is missing.
    ///
    /// # Errors
    /// There is no usable `nft`, or the kernel takes no rules.
    pub fn prepare(&mut self) -> Result<(), FilterError> {
        let groups = groups::rules();
        if self.check(&groups).is_ok() {
            return Ok(());
        }
        // It is added to what is there of it, which is nothing unless somebody has changed it:
        // then the comparison fails, and says so.
        self.nft.order(&groups.order())?;
        self.check(&groups)
    }

    /// Filters what comes through a tap, which is on its bridge and still down: with what it
    /// replaces, all at once or not at all.
    ///
    /// # Errors
    /// The kernel did not take it as it was meant. Nothing of it is left then.
    pub fn apply(&mut self, tap: &TapFacts<'_>) -> Result<(), FilterError> {
        self.prepare()?;
        let Interface { mac, address, address6, .. } = *tap.interface;
        let facts = Facts { name: tap.name.as_str(), mac, address, address6, limits: self.limits };
        self.set(&frames::rules_for(&facts))
            .inspect_err(|_| remove(tap.name, &frames::table_of(facts.name)))
    }

    fn set(&mut self, rules: &Program) -> Result<(), FilterError> {
        tables::remove(rules.table()).map_err(FilterError::Earlier)?;
        self.nft.order(&rules.order())?;
        self.check(rules)
    }

    /// Whether the kernel has them.
    fn check(&mut self, rules: &Program) -> Result<(), FilterError> {
        let family = match rules.family() {
            NfFamily::Bridge => "bridge",
            _ => "netdev",
        };
        let printed = self.nft.list(family, rules.table())?;
        same::check(rules, &printed).map_err(FilterError::NotAsSet)
    }

    /// Removes the filter of a tap that is gone, or was never up. That it has none is no error.
    pub fn forget(&mut self, tap: TapName) {
        remove(tap, &frames::table_of(tap.as_str()));
    }

    /// Removes the filters of taps that are gone, whoever has left them, but for those in `kept`.
    pub fn sweep(&mut self, kept: &[TapName]) {
        let names = match tables::names() {
            Ok(names) => names,
            Err(error) => {
                warn!("filters of earlier taps cannot be looked for: {error}");
                return;
            }
        };
        for table in names {
            let Some(tap) = table.strip_prefix(TABLE_PREFIX) else { continue };
            if kept.iter().any(|kept| kept.as_str() == tap) || exists(tap) {
                continue;
            }
            info!(tap, "removing the filter of a tap, which was left behind");
            remove(tap, &table);
        }
    }
}

fn remove(tap: impl std::fmt::Display, table: &str) {
    if let Err(error) = tables::remove(table) {
        error!(%tap, "its filter stays: {error}");
    }
}

/// Whether there is such an interface; when that is not known, there is.
fn exists(name: &str) -> bool {
    let Ok(socket) = net::UdpSocket::bind((net::Ipv4Addr::LOCALHOST, 0)) else { return true };
    !matches!(name_to_index(&socket, name), Err(rustix::io::Errno::NODEV))
}

#[cfg(test)]
mod tests;
