//! What a verified chain (or the local admin) may do.
//!
//! [`crate::chain`] is the only maker of an [`Authorization`] from certificates; the local socket
//! makes one for the admin.

use std::sync::Arc;

use crate::id::Digest;
use crate::name::{Label, MachineName, NameError, Path, Target};
use crate::permission::{Permission, Permissions};
use crate::resource::{Delegation, Machine};
use crate::verb::Verb;

/// When a certificate may be used, in Unix seconds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

impl Validity {
    /// For ever.
    pub const ALWAYS: Self = Self { not_before: i64::MIN, not_after: i64::MAX };

    /// Whether `now` (Unix seconds) lies in it.
    pub const fn contains(self, now: i64) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The time that both cover.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }
}

/// A certificate serial number: its 1 to 20 octets as they stand in the certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(pub Box<[u8]>);

impl std::fmt::Display for Serial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One delegation certificate of a verified chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its label, the path's part.
    pub label: Label,
    /// SHA-256 of the key that signed it. With the label, the identity of the delegation (rule 9).
    pub issuer: Digest,
    /// SHA-256 of its own key, the issuer of what is below.
    pub key: Digest,
    /// Its serial number, unique under the issuer.
    pub serial: Serial,
    /// What it delegates.
    pub grant: Delegation,
    /// When it may be used.
    pub validity: Validity,
}

/// Which leaf certificate it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafIdentity {
    /// Its label.
    pub label: Label,
    /// SHA-256 of the key that signed it.
    pub issuer: Digest,
    /// Its serial number, unique under the issuer.
    pub serial: Serial,
}

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A leaf with permissions. Its label names a person or robot.
    Permissions(Permissions),
    /// A leaf that is exactly one machine; its label is the machine's.
    Machine(Arc<Machine>),
    /// The host's admin, on the local socket: all permissions over the empty path.
    Admin,
}

/// Why a verb is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// {verb} needs the permission "{needed}"; this certificate has: {has}
    #[error("{verb} needs the permission \"{needed}\"; this certificate has: {has}")]
    Permission {
        /// what was asked
        verb: Verb,
        /// what it needs
        needed: Permission,
        /// what the leaf has
        has: Permissions,
    },
    /// {verb}: the certificate of machine "{own}" allows to deploy it, to look at it and to read its console, nothing else
    #[error(
        "{verb}: the certificate of machine \"{own}\" allows to deploy it, to look at it and to \
         read its console, nothing else"
    )]
    MachineLeaf {
        /// what was asked
        verb: Verb,
        /// the machine
        own: MachineName,
    },
    /// "{target}" is not below "{path}/", which is all that this certificate speaks for
    #[error("\"{target}\" is not below \"{path}/\", which is all that this certificate speaks for")]
    Outside {
        /// what was named
        target: Target,
        /// the certificate's path
        path: Path,
    },
}

/// What a verified chain says: where it speaks, with which bounds, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    path: Path,
    links: Vec<Link>,
    leaf: Option<LeafIdentity>,
    holder: Holder,
    validity: Validity,
}

impl Authorization {
    /// The host's admin, who came through the local socket.
    pub fn admin() -> Self {
        Self {
            path: Path::host(),
            links: Vec::new(),
            leaf: None,
            holder: Holder::Admin,
            validity: Validity::ALWAYS,
        }
    }

    /// A leaf below the given delegations, outermost first. The caller has verified the chain.
    ///
    /// # Errors
    /// [`NameError::TooDeep`]
    pub fn leaf(
        links: Vec<Link>,
        leaf: LeafIdentity,
        holder: Holder,
        validity: Validity,
    ) -> Result<Self, NameError> {
        let path = Path::new(links.iter().map(|link| link.label.clone()).collect())?;
        let validity = links.iter().fold(validity, |all, link| all.and(link.validity));
        Ok(Self { path, links, leaf: Some(leaf), holder, validity })
    }

    /// The path it speaks for.
    pub const fn path(&self) -> &Path {
        &self.path
    }

    /// The delegations above the leaf, outermost first.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The leaf certificate; the admin of the host has none.
    pub const fn leaf_identity(&self) -> Option<&LeafIdentity> {
        self.leaf.as_ref()
    }

    /// Who speaks.
    pub const fn holder(&self) -> &Holder {
        &self.holder
    }

    /// The time that every certificate of the chain covers.
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// Who speaks, for a log: `dev/admin`, or `admin of the host`.
    pub fn describe(&self) -> String {
        match &self.leaf {
            Some(leaf) => {
                MachineName { path: self.path.clone(), label: leaf.label.clone() }.to_string()
            }
            None => "admin of the host".to_owned(),
        }
    }

    /// For a machine leaf: the machine's full name.
    pub fn own_machine(&self) -> Option<MachineName> {
        match (&self.holder, &self.leaf) {
            (Holder::Machine(_), Some(leaf)) => {
                Some(MachineName { path: self.path.clone(), label: leaf.label.clone() })
            }
            _ => None,
        }
    }

    /// Whether this leaf may do `verb` with `target`.
    ///
    /// # Errors
    /// [`Denied`]: everything that is not plainly allowed.
    pub fn may(&self, verb: Verb, target: &Target) -> Result<(), Denied> {
        self.has(verb)?;
        let within = match (self.own_machine(), target) {
            (Some(own), target) => *target == Target::Machine(own),
            (None, target) => target.path().is_within(&self.path),
        };
        if within {
            return Ok(());
        }
        match self.own_machine() {
            Some(own) => Err(Denied::MachineLeaf { verb, own }),
            None => Err(Denied::Outside { target: target.clone(), path: self.path.clone() }),
        }
    }

    /// Whether this leaf may do `verb` at all.
    ///
    /// # Errors
    /// [`Denied`]
    pub fn has(&self, verb: Verb) -> Result<(), Denied> {
        match &self.holder {
            Holder::Admin => Ok(()),
            Holder::Permissions(has) if has.allows(verb.permission()) => Ok(()),
            Holder::Permissions(has) => {
                Err(Denied::Permission { verb, needed: verb.permission(), has: *has })
            }
            Holder::Machine(_) if verb.of_machine_leaf() => Ok(()),
            Holder::Machine(_) => match self.own_machine() {
                Some(own) => Err(Denied::MachineLeaf { verb, own }),
                None => Err(Denied::Permission {
                    verb,
                    needed: verb.permission(),
                    has: Permissions::default(),
                }),
            },
        }
    }

    /// What a client means by `name`: relative to its own path; without a name, the own machine
    /// of a machine leaf or everything below the path.
    ///
    /// # Errors
    /// [`NameError`]
    pub fn target(&self, name: Option<&str>) -> Result<Target, NameError> {
        match (name, self.own_machine()) {
            (Some(name), _) => Target::parse(name, &self.path),
            (None, Some(own)) => Ok(Target::Machine(own)),
            (None, None) => Ok(Target::Below(self.path.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(holder: Holder) -> Authorization {
        let link = Link {
            label: Label::parse("dev").unwrap(),
            issuer: Digest([0; 32]),
            key: Digest([1; 32]),
            serial: Serial([1].into()),
            grant: Delegation {
                generation: 1,
                machines: 1,
                memory_mib: 1,
                cpus: [0].into_iter().collect(),
                storage_mib: 0,
                bridges: crate::resource::Bridges::default(),
                hosts: None,
            },
            validity: Validity { not_before: 10, not_after: 20 },
        };
        let validity = Validity { not_before: 15, not_after: 30 };
        let identity = LeafIdentity {
            label: Label::parse("x").unwrap(),
            issuer: link.key,
            serial: Serial([2].into()),
        };
        Authorization::leaf(vec![link], identity, holder, validity).unwrap()
    }

    #[test]
    fn each_verb_needs_its_permission_and_no_other_one_will_do() {
        let target = Target::parse("hello", &Path::parse("dev").unwrap()).unwrap();
        for verb in Verb::EACH {
            for permission in Permission::EACH {
                let leaf = leaf(Holder::Permissions(Permissions::of([permission])));
                let expected = permission == verb.permission() || permission == Permission::All;
                assert_eq!(leaf.may(verb, &target).is_ok(), expected, "{verb} with {permission}");
            }
            let nobody = leaf(Holder::Permissions(Permissions::default()));
            assert!(nobody.may(verb, &target).is_err(), "{verb} with none");
        }
    }

    #[test]
    fn nothing_beside_or_above_the_path_is_allowed() {
        let leaf = leaf(Holder::Permissions(Permissions::of([Permission::All])));
        let may = |text: &str| {
            let target = leaf.target(Some(text)).unwrap();
            leaf.may(Verb::Info, &target).is_ok()
        };
        assert!(may("hello") && may("/dev/") && may("deeper/hello") && may(""));
        assert!(!may("/") && !may("/other/hello") && !may("/dev") && !may("/devil/"));
    }

    #[test]
    fn a_chain_is_valid_only_while_all_of_it_is() {
        let leaf = leaf(Holder::Admin);
        assert_eq!(leaf.validity(), Validity { not_before: 15, not_after: 20 });
    }
}
