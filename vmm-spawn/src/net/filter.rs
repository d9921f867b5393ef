//! What may go through a tap: nothing that pretends to be somebody else.
//!
//! ```text
//!   Rules ── one tap's are set, read back, removed
//!     ├ frames ── what may go through: hardware addresses, ARP, limits
//!     │   ├ ip4, ip6 ── packets, and what is in them
//!     │   └ words ── what rules are made of
//!     ├ groups ── which machines of a bridge see each other
//!     ├ tables ── which there are, making and removing them
//!     ├ read_back ── whether the kernel has what was meant
//!     │   ├ messages, expressions ── words as the kernel reads them
//!     │   └ attributes ── of which those are made, and whether two are the same
//!     └ kernel ── orders and questions, answered in bounded time
//! ```
//!
//! Each tap has a table of its own, which is made in one step before the tap goes up, and never
//! changed: so a tap never carries a frame that no rule has seen.

pub mod attributes;
pub mod expressions;
pub mod frames;
pub mod groups;
pub mod ip4;
pub mod ip6;
pub mod kernel;
pub mod messages;
pub mod read_back;
pub mod tables;
pub mod words;

use std::net;

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use tracing::{error, info, warn};
use vmm_proto::message::spawn::Interface;
use vmm_proto::resource::TapName;

use super::tap::TapFacts;
use frames::{Facts, TABLE_PREFIX};
use kernel::Refused;
use read_back::ReadError;
use words::Program;

/// How often something is made that others of the host make and remove at the same time.
const ATTEMPTS: usize = 5;

/// Why a tap has no filter. It does not go up then.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The kernel does not take something.
    #[error("the kernel does not take {0}")]
    Refused(#[from] Refused),
    /// The kernel has something else, or does not tell.
    #[error(transparent)]
    Read(#[from] ReadError),
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
    /// As many bytes a second as 32 bits can count.
    pub const BANDWIDTH_MAX: u32 = 34_000;

    /// More than any machine sends.
    pub const PACKETS_MAX: u32 = 10_000_000;

    /// The bandwidth as rules count it.
    pub fn bytes_per_second(self) -> Option<u32> {
        self.bandwidth.map(|bandwidth| bandwidth.saturating_mul(125_000))
    }
}

/// The filters of all taps of this installation.
#[derive(Debug, Default)]
pub struct Rules {
    limits: Limits,
}

impl Rules {
    /// With these limits, for each tap.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Has what all taps need as it is meant ([`groups`]), and tells whether it was. What is otherwise,
    /// be it of an earlier version or changed by somebody, is replaced in one step: it is at no moment
    /// missing.
    ///
    /// # Errors
    /// The kernel takes no rules, or somebody holds on to what is in the way.
    pub fn prepare(&self) -> Result<bool, FilterError> {
        let groups = groups::rules();
        let mut was_there = true;
        for _ in 0..ATTEMPTS {
            let done = match read_back::check(&groups) {
                Ok(()) => return Ok(was_there),
                Err(ReadError::Kernel(error)) if error.errno() == Some(Errno::NOENT) => {
                    tables::make(&groups)
                }
                Err(ReadError::Differs(how)) => {
                    warn!(
                        "rules of all machines' taps are not as they should be, and replaced: {how}"
                    );
                    tables::replace(&groups)
                }
                Err(error) => return Err(error.into()),
            };
            was_there = false;
            match done {
                // Another one of this host was faster.
                Err(error) if matches!(error.errno(), Some(Errno::EXIST | Errno::NOENT)) => {}
                done => done?,
            }
        }
        read_back::check(&groups)?;
        Ok(false)
    }

    /// Filters what comes through a tap, which is on its bridge and still down: all at once or not
    /// at all. [`Rules::prepare`] was called before.
    ///
    /// # Errors
    /// The kernel did not take it as it was meant. Nothing of it is left then.
    pub fn apply(&self, tap: &TapFacts<'_>) -> Result<(), FilterError> {
        let Interface { mac, address, address6, .. } = *tap.interface;
        let facts = Facts { name: tap.name.as_str(), mac, address, address6, limits: self.limits };
        set(&frames::rules_for(&facts))
            .inspect_err(|_| remove(tap.name, &frames::table_of(facts.name)))
    }

    /// Removes the filter of a tap that is gone, or was never up. That it has none is no error.
    pub fn forget(&self, tap: TapName) {
        remove(tap, &frames::table_of(tap.as_str()));
    }

    /// Removes the filters of taps that are gone, whoever has left them, but for those in `kept`.
    pub fn sweep(&self, kept: &[TapName]) {
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

/// Makes a table instead of an earlier one of its name, and looks whether it is as meant.
fn set(rules: &Program) -> Result<(), FilterError> {
    match tables::make(rules) {
        // Not removed on suspicion: orders that the kernel takes back cost it many milliseconds.
        Err(error) if error.errno() == Some(Errno::EXIST) => tables::replace(rules)?,
        made => made?,
    }
    Ok(read_back::check(rules)?)
}

fn remove(tap: impl std::fmt::Display, table: &str) {
    if let Err(error) = tables::remove(table) {
        error!(%tap, "its filter stays: {error}");
    }
}

/// Whether there is such an interface; when that is not known, there is.
fn exists(name: &str) -> bool {
    let Ok(socket) = net::UdpSocket::bind((net::Ipv4Addr::LOCALHOST, 0)) else { return true };
    !matches!(name_to_index(&socket, name), Err(Errno::NODEV))
}

#[cfg(test)]
mod tests;
