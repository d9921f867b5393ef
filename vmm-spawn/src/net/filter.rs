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
//!     └ kernel ── orders and questions
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

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use rustix::io::Errno;
use tracing::warn;
use vmm_proto::resource::TapName;

use super::netlink;
use super::owner::{Identity, Owner};
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
    owner: String,
    /// How often rules were changed here.
    changes: Cell<u32>,
}

impl Rules {
    /// With these limits, for each tap.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Tables say whose they are.
    #[must_use]
    pub fn owned_by(self, owner: &Owner) -> Self {
        Self { owner: owner.tag().to_owned(), ..self }
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
                    self.counted(tables::make(&groups))
                }
                Err(ReadError::Differs(how)) => {
                    warn!(
                        "rules of all machines' taps are not as they should be, and replaced: {how}"
                    );
                    self.counted(tables::replace(&groups))
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
    /// The kernel did not take it as it was meant. [`Rules::forget`] removes what may be there.
    pub fn apply(&self, tap: &TapFacts<'_>) -> Result<(), FilterError> {
        self.filter(tap.name, Identity::of(tap.interface))
    }

    /// The same for a tap of whose guest this is known, whatever filter it has.
    ///
    /// # Errors
    /// The kernel did not take it as it was meant.
    pub fn filter(&self, tap: TapName, identity: Identity) -> Result<(), FilterError> {
        self.set(&self.program(tap, identity))
    }

    /// Whether a tap has the filter that it should have, of whose guest this is known.
    ///
    /// # Errors
    /// How it differs; that there is none ([`Errno::NOENT`]); the kernel does not tell.
    pub fn check(&self, tap: TapName, identity: Identity) -> Result<(), ReadError> {
        read_back::check(&self.program(tap, identity))
    }

    fn program(&self, tap: TapName, identity: Identity) -> Program {
        let Identity { mac, address, address6 } = identity;
        let facts = Facts { name: tap.as_str(), mac, address, address6, limits: self.limits };
        frames::rules_for(&facts).marked(&self.owner)
    }

    /// Makes a table instead of an earlier one of its name, and looks whether it is as meant.
    fn set(&self, rules: &Program) -> Result<(), FilterError> {
        match self.counted(tables::make(rules)) {
            // Not removed on suspicion: orders that the kernel takes back cost it many milliseconds.
            Err(error) if error.errno() == Some(Errno::EXIST) => {
                self.counted(tables::replace(rules))?;
            }
            made => made?,
        }
        Ok(read_back::check(rules)?)
    }

    fn counted(&self, done: Result<(), Refused>) -> Result<(), Refused> {
        self.count(done.is_ok());
        done
    }

    fn count(&self, is_done: bool) {
        self.changes.set(self.changes.get().wrapping_add(is_done.into()));
    }

    /// How many changes others have made to rules in this network, from a moment on that stays the
    /// same. One of which the kernel has not said what became of it counts as somebody else's.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn changes_of_others(&self) -> Result<u32, netlink::Error> {
        Ok(tables::generation()?.wrapping_sub(self.changes.get()))
    }

    /// Removes the filter of a tap that is gone, or was never up. That it has none is no error.
    ///
    /// # Errors
    /// It is still there, for all that is known.
    pub fn forget(&self, tap: impl fmt::Display) -> Result<(), Refused> {
        let removed = tables::remove(&frames::table_of(&tap.to_string()))?;
        self.count(removed);
        Ok(())
    }

    /// The filters that there are, also those of other installations.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn present(&self) -> Result<Present, netlink::Error> {
        Ok(Present { tables: tables::all()?, owner: tables::mark(&self.owner) })
    }
}

/// Filters as there were at one moment.
#[derive(Debug)]
pub struct Present {
    tables: BTreeMap<String, Vec<u8>>,
    owner: Vec<u8>,
}

impl Present {
    /// Whether a tap has one.
    pub fn has(&self, tap: TapName) -> bool {
        self.tables.contains_key(&frames::table_of(tap.as_str()))
    }

    /// The taps of those that this installation has made.
    pub fn own(&self) -> impl Iterator<Item = &str> {
        let own = self.tables.iter().filter(|(_, mark)| **mark == self.owner);
        let taps = own.filter_map(|(table, _)| table.strip_prefix(TABLE_PREFIX));
        taps.filter(|tap| tap.len() == TapName::LENGTH && tap.starts_with(TapName::PREFIX))
    }
}

#[cfg(test)]
mod tests;
