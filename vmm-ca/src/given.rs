//! What an issuer has promised to others, and what a further promise would make of it.
//!
//! Of each label only the newest delegation counts: it takes the place of those before it (profile,
//! rule 9). Of a machine's label the largest leaf that can still be used counts. What has expired
//! counts no more. Permission leaves promise nothing of their own.

use std::collections::BTreeMap;
use std::fmt;

use vmm_proto::grant::Grant;
use vmm_proto::name::Label;
use vmm_proto::resource::{AddressRange, Bridge, Delegation};

use crate::database::{Issued, Kind};

/// Machines, memory and storage, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// Machines.
    pub machines: u64,
    /// MiB.
    pub memory_mib: u64,
    /// MiB.
    pub storage_mib: u64,
}

impl Sum {
    fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Delegation(share) => Self::of_share(share),
            Kind::Machine { memory_mib } => Self::of_machine(*memory_mib),
            Kind::Root | Kind::Server | Kind::Permissions => Self::default(),
        }
    }

    /// What a grant promises.
    pub fn of_grant(grant: &Grant) -> Self {
        match grant {
            Grant::Delegation(share) => Self::of_share(share),
            Grant::Machine(machine) => Self::of_machine(machine.memory_mib),
            Grant::Permissions(_) => Self::default(),
        }
    }

    /// A delegation's own numbers.
    pub fn of_share(share: &Delegation) -> Self {
        Self {
            machines: share.machines.into(),
            memory_mib: share.memory_mib.into(),
            storage_mib: share.storage_mib.into(),
        }
    }

    fn of_machine(memory_mib: u32) -> Self {
        Self { machines: 1, memory_mib: memory_mib.into(), storage_mib: 0 }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            machines: self.machines + other.machines,
            memory_mib: self.memory_mib + other.memory_mib,
            storage_mib: self.storage_mib + other.storage_mib,
        }
    }
}

/// A promise of more than there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overcommitment {
    /// A quantity of which more is promised than the issuer has.
    Number {
        /// `machines`, `memory` or `storage`
        what: &'static str,
        /// promised to all together
        promised: u64,
        /// what the issuer has
        limit: u64,
    },
    /// Addresses that someone else was promised too.
    Addresses {
        /// the bridge
        bridge: String,
        /// what is asked for
        range: AddressRange,
        /// who has some of it
        holder: String,
    },
}

impl fmt::Display for Overcommitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { what, promised, limit } => {
                let unit = if *what == "machines" { "" } else { " MiB" };
                write!(
                    f,
                    "over-committed: {what} {promised}{unit} would be promised, and the issuer has \
                     {limit}{unit}"
                )
            }
            Self::Addresses { bridge, range, holder } => write!(
                f,
                "over-committed: some of the addresses {} to {} on bridge \"{bridge}\" are promised \
                 to \"{holder}\" too",
                range.first(),
                range.last()
            ),
        }
    }
}

/// What others hold of an issuer.
#[derive(Debug, Default)]
pub struct Given<'d> {
    holders: BTreeMap<(&'static str, &'d str), &'d Kind>,
}

impl<'d> Given<'d> {
    /// Everything that can still be used at `now` (Unix seconds), but not what `label` holds by
    /// certificates of the same kind as `grant`: that is what a new one takes the place of.
    pub fn to_others(
        issued: impl IntoIterator<Item = &'d Issued>,
        label: &Label,
        grant: &Grant,
        now: i64,
    ) -> Self {
        let mut given = Self::default();
        for certificate in issued {
            let kind = &certificate.kind;
            let own = kind.name() == grant.kind() && certificate.name == label.as_str();
            let usable = now <= certificate.validity.not_after;
            let promises = matches!(kind, Kind::Delegation(_) | Kind::Machine { .. });
            if !own && usable && promises {
                given.note(&certificate.name, kind);
            }
        }
        given
    }

    fn note(&mut self, name: &'d str, kind: &'d Kind) {
        let place = self.holders.entry((kind.name(), name)).or_insert(kind);
        let newer = match (&**place, kind) {
            (Kind::Delegation(old), Kind::Delegation(new)) => new.generation >= old.generation,
            (Kind::Machine { memory_mib: old }, Kind::Machine { memory_mib: new }) => new > old,
            _ => false,
        };
        if newer {
            *place = kind;
        }
    }

    /// All of it together.
    pub fn sum(&self) -> Sum {
        self.holders.values().map(|kind| Sum::of(kind)).fold(Sum::default(), Sum::plus)
    }

    /// Who holds what: kind, label, numbers.
    pub fn holders(&self) -> impl Iterator<Item = (&'static str, &'d str, Sum)> {
        self.holders.iter().map(|((kind, label), what)| (*kind, *label, Sum::of(what)))
    }

    /// Who holds a share, and which one.
    pub fn shares(&self) -> impl Iterator<Item = (&'d str, &'d Delegation)> {
        self.holders.iter().filter_map(|((_, label), kind)| match kind {
            Kind::Delegation(share) => Some((*label, &**share)),
            _ => None,
        })
    }

    /// What would be promised twice if `grant` were given as well. `bounds`: what the issuer has;
    /// `None` for a root, which has no bounds, but only one owner for each address all the same.
    pub fn overcommitted(&self, grant: &Grant, bounds: Option<&Delegation>) -> Vec<Overcommitment> {
        let mut found = Vec::new();
        if let Some(bounds) = bounds {
            let (limit, asked) = (Sum::of_share(bounds), Sum::of_grant(grant));
            let promised = self.sum().plus(asked);
            found.extend(
                [
                    ("machines", promised.machines, limit.machines, asked.machines),
                    ("memory", promised.memory_mib, limit.memory_mib, asked.memory_mib),
                    ("storage", promised.storage_mib, limit.storage_mib, asked.storage_mib),
                ]
                .into_iter()
                .filter(|(_, promised, limit, asked)| *asked > 0 && promised > limit)
                .map(|(what, promised, limit, _)| Overcommitment::Number {
                    what,
                    promised,
                    limit,
                }),
            );
        }
        if let Grant::Delegation(share) = grant {
            found.extend(share.bridges.iter().flat_map(|bridge| self.shared_addresses(bridge)));
        }
        found
    }

    fn shared_addresses(&self, bridge: &Bridge) -> Vec<Overcommitment> {
        let mut found = Vec::new();
        for ((_, holder), kind) in &self.holders {
            let Kind::Delegation(share) = kind else { continue };
            let Some(other) = share.bridges.get(bridge.name()) else { continue };
            for (own, other) in [(bridge.range(), other.range()), (bridge.range6(), other.range6())]
            {
                if let (Some(own), Some(other)) = (own, other)
                    && own.first() <= other.last()
                    && other.first() <= own.last()
                {
                    found.push(Overcommitment::Addresses {
                        bridge: bridge.name().to_string(),
                        range: *own,
                        holder: (*holder).to_owned(),
                    });
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
