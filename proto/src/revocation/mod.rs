//! What has been taken back (rule 8): the lists that are known, and the question whether a path
//! holds a certificate that one of them names.
//!
//! A certificate is named by the *key* that signed it and its serial number, never by a name: a CA
//! that is called like another one takes back its own certificates and nobody else's. A list comes
//! from [`crate::chain::crl`], which has verified it, or from where it was kept.
//!
//! Whoever holds a delegation can mint CAs, and each of them can hand in lists. So what they take up
//! is counted at every delegation above the issuer, and at the host: see [`room_below`]. A list is
//! never dropped to make room for another one, and never forgotten by itself: the key of an expired
//! CA may be certified again.

mod number;
mod serials;

use std::collections::HashMap;
use std::sync::Arc;

pub use number::CrlNumber;
pub use serials::{BadSerial, Serials};

use crate::authority::{Authorization, Link, Serial};
use crate::id::Digest;
use crate::name::{Label, Path};

/// The largest list in DER, in bytes. One of a million entries has 35 to 50 MB.
pub const MAX_BYTES: usize = 64 << 20;

/// The largest chain of a list's issuer, all certificates together, in bytes: no larger one could be
/// presented in a handshake (rule 2).
pub const MAX_CHAIN_BYTES: usize = 64 << 10;

/// The most serial numbers that one list may hold: 2^20.
pub const MAX_SERIALS: usize = 1 << 20;

/// What a list takes up besides its serial numbers, in units of one serial number (21 bytes).
pub const LIST_COST: u64 = 16;

/// The most that all lists of a host may take up, in serial numbers. The root's own is not counted.
pub const ROOM_OF_HOST: u64 = 16 << 20;

/// The most that the lists of issuers below a delegation may take up, in serial numbers: that of a
/// top-level delegation (depth 1) is 2^20 + [`LIST_COST`], and half as much a level further down.
///
/// A delegation's own list is not counted here but at the delegations above it: what those below it
/// hand in never keeps it from taking their certificates back.
pub const fn room_below(depth: usize) -> u64 {
    match depth {
        0 => ROOM_OF_HOST,
        depth => (MAX_SERIALS as u64 >> (depth - 1)) + LIST_COST,
    }
}

/// What one issuer has taken back: its newest list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// SHA-256 of the issuer's SubjectPublicKeyInfo.
    pub issuer: Digest,
    /// The issuer's path: that of the delegation it is, or the host's for the root. What the list
    /// takes up is counted above it.
    pub path: Path,
    /// The list's number. A newer list has a larger one.
    pub number: CrlNumber,
    /// When it was made, in Unix seconds.
    pub this_update: i64,
    /// When the next one is due, in Unix seconds. It holds after that too.
    pub next_update: i64,
    /// SHA-256 of the list in DER, as its issuer has signed it.
    pub sha256: Digest,
    /// The serial numbers of the certificates that are taken back.
    pub serials: Serials,
}

impl RevocationList {
    /// What it takes up, in serial numbers.
    pub fn cost(&self) -> u64 {
        self.serials.len() as u64 + LIST_COST
    }
}

/// Why a list is not taken. What was known before holds on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// this very list, number {number} of {}, is known already
    #[error("this very list, number {number} of {}, is known already", issuer_name(path))]
    Known {
        /// its number
        number: CrlNumber,
        /// the issuer
        path: Path,
    },
    /// a list's number must be larger than that of the last one: {} is at {known}, this one has {given} (certificate profile, rule 8)
    #[error(
        "a list's number must be larger than that of the last one: {} is at {known}, this one has \
         {given} (certificate profile, rule 8)",
        issuer_name(path)
    )]
    NotNewer {
        /// the issuer
        path: Path,
        /// the number of the list that holds
        known: CrlNumber,
        /// that of the list that was given
        given: CrlNumber,
    },
    /// the lists of the CAs below {} may hold {room} serial numbers (each list counts as 16 more); with this one they would hold {needed}: hand in shorter lists, without what has expired
    #[error(
        "the lists of the CAs below {} may hold {room} serial numbers (each list counts as \
         {LIST_COST} more); with this one they would hold {needed}: hand in shorter lists, without \
         what has expired",
        issuer_name(at)
    )]
    NoRoom {
        /// the delegation whose room it is, or the host
        at: Path,
        /// how much there is
        room: u64,
        /// how much would be needed
        needed: u64,
    },
}

fn issuer_name(path: &Path) -> String {
    if path.is_host() { "the root".to_owned() } else { format!("\"{path}/\"") }
}

/// What a list that was taken has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Taken {
    /// The number of the list that held before.
    pub replaced: Option<CrlNumber>,
    /// How many serial numbers the new one holds.
    pub serials: usize,
}

/// A certificate of a path that has been taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the certificate of \"{label}\" (serial {serial}) has been revoked by its issuer (certificate \
     profile, rule 8): get a new one"
)]
pub struct Revoked<'a> {
    /// Its label.
    pub label: &'a Label,
    /// Its serial number.
    pub serial: &'a Serial,
    /// SHA-256 of its issuer's key.
    pub issuer: Digest,
}

/// All lists that are known, the newest of each issuer.
#[derive(Debug, Default)]
pub struct Revocations {
    by_issuer: HashMap<Digest, Arc<RevocationList>>,
    /// What the lists of issuers below each path take up.
    below: HashMap<Path, u64>,
}

impl Revocations {
    /// Takes a list that has been verified.
    ///
    /// # Errors
    /// [`NotTaken`]; nothing is changed then.
    pub fn take(&mut self, list: Arc<RevocationList>) -> Result<Taken, NotTaken> {
        self.judge(&list)?;
        let replaced = self.by_issuer.get(&list.issuer).map(|known| known.number);
        let serials = list.serials.len();
        self.put(list);
        Ok(Taken { replaced, serials })
    }

    /// Whether a list that has been verified would be taken. What this takes does not depend on how
    /// many serial numbers there are.
    ///
    /// # Errors
    /// [`NotTaken`]
    pub fn judge(&self, list: &RevocationList) -> Result<(), NotTaken> {
        let known = self.by_issuer.get(&list.issuer);
        if let Some(known) = known {
            check_number(known, list)?;
        }
        self.check_room(list, known.map(|known| (&known.path, known.cost())))
    }

    /// Takes a list that held before, as it was kept, without asking whether there is room for it:
    /// what was taken back stays so. Of two lists of one issuer the newer one holds.
    pub fn restore(&mut self, list: Arc<RevocationList>) {
        let known = self.by_issuer.get(&list.issuer);
        if known.is_none_or(|known| known.number < list.number) {
            self.put(list);
        }
    }

    fn put(&mut self, list: Arc<RevocationList>) {
        for above in above(&list.path) {
            *self.below.entry(above).or_default() += list.cost();
        }
        if let Some(old) = self.by_issuer.insert(list.issuer, list) {
            for above in above(&old.path) {
                let left = self.below.get(&above).copied().unwrap_or(0).saturating_sub(old.cost());
                match left {
                    0 => self.below.remove(&above),
                    left => self.below.insert(above, left),
                };
            }
        }
    }

    fn check_room(
        &self,
        list: &RevocationList,
        freed: Option<(&Path, u64)>,
    ) -> Result<(), NotTaken> {
        for at in above(&list.path) {
            let freed = match freed {
                Some((path, cost)) if *path != at && path.is_within(&at) => cost,
                _ => 0,
            };
            let used = self.below.get(&at).copied().unwrap_or(0);
            let needed = used.saturating_sub(freed).saturating_add(list.cost());
            let room = room_below(at.depth());
            if needed > room {
                return Err(NotTaken::NoRoom { at, room, needed });
            }
        }
        Ok(())
    }

    /// The list of the issuer with this key.
    pub fn of_issuer(&self, issuer: &Digest) -> Option<&Arc<RevocationList>> {
        self.by_issuer.get(issuer)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RevocationList>> {
        self.by_issuer.values()
    }

    /// Whether the certificate with this serial number, signed by this key, has been taken back.
    pub fn holds(&self, issuer: &Digest, serial: &Serial) -> bool {
        self.by_issuer.get(issuer).is_some_and(|list| list.serials.contains(&serial.0))
    }

    /// The outermost of these delegations that has been taken back.
    pub fn among<'l>(&self, links: &'l [Link]) -> Option<Revoked<'l>> {
        links.iter().find(|link| self.holds(&link.issuer, &link.serial)).map(|link| Revoked {
            label: &link.label,
            serial: &link.serial,
            issuer: link.issuer,
        })
    }

    /// The outermost certificate of this path, the leaf included, that has been taken back.
    pub fn of<'a>(&self, authorization: &'a Authorization) -> Option<Revoked<'a>> {
        self.among(authorization.links()).or_else(|| {
            let leaf = authorization.leaf_identity()?;
            self.holds(&leaf.issuer, &leaf.serial).then_some(Revoked {
                label: &leaf.label,
                serial: &leaf.serial,
                issuer: leaf.issuer,
            })
        })
    }
}

fn check_number(known: &RevocationList, given: &RevocationList) -> Result<(), NotTaken> {
    let path = given.path.clone();
    if known.number < given.number {
        Ok(())
    } else if known.number == given.number && known.sha256 == given.sha256 {
        Err(NotTaken::Known { number: given.number, path })
    } else {
        Err(NotTaken::NotNewer { path, known: known.number, given: given.number })
    }
}

/// The paths at which a list of an issuer is counted: all above the issuer's own, the host's
/// included. The root's is counted nowhere.
fn above(issuer: &Path) -> impl Iterator<Item = Path> {
    (0..issuer.depth()).map(|depth| issuer.ancestor(depth))
}

#[cfg(test)]
mod tests;
