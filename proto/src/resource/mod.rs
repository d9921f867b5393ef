//! Shares of a host: what a delegation bounds and what a machine asks for.
//!
//! Every type here is right by construction. The rules are those of the certificate profile.

mod address;
mod device;
mod host_network;
mod machine;
mod tap;

use std::fmt;

use smallvec::SmallVec;

pub use address::{AddressRange, Family, RangeError};
pub use device::{Bridge, BridgeName, Bridges, DeviceName};
pub use host_network::{HostNetwork, HostNetworkError, MAX_HOST_NETWORKS};
pub use machine::{
    Arguments, Devices, Encoding, Image, Machine, Network, Restart, SectorSize, Volume,
};
pub use tap::TapName;

use crate::id::Digest;

/// The largest CPU id.
pub const MAX_CPU: u16 = 4095;

/// At most so many bridges in one delegation.
pub const MAX_BRIDGES: usize = 64;

/// At most so many hosts in one delegation.
pub const MAX_HOSTS: usize = 64;

/// The largest generation: 2⁶³ − 1.
pub const MAX_GENERATION: u64 = i64::MAX as u64;

/// Which rule of the profile a grant breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// CPU ids must be strictly ascending and at most 4095
    #[error("CPU ids must be strictly ascending and at most {MAX_CPU}")]
    Cpus,
    /// CPU {0} is named twice
    #[error("CPU {0} is named twice")]
    CpuTwice(u16),
    /// a machine needs at least one CPU
    #[error("a machine needs at least one CPU")]
    NoCpu,
    /// "{0}" is not a bridge name: use 1 to 15 of A-Z, a-z, 0-9, '_', '.', '-', beginning with a letter or digit
    #[error(
        "\"{0}\" is not a bridge name: use 1 to 15 of A-Z, a-z, 0-9, '_', '.', '-', beginning \
         with a letter or digit"
    )]
    BridgeName(String),
    /// bridge "{0}" is named twice
    #[error("bridge \"{0}\" is named twice")]
    BridgeTwice(BridgeName),
    /// a delegation has at most 64 bridges, this one has {0}
    #[error("a delegation has at most {MAX_BRIDGES} bridges, this one has {0}")]
    TooManyBridges(usize),
    /// hosts must be 1 to 64 different keys
    #[error("hosts must be 1 to {MAX_HOSTS} different keys")]
    Hosts,
    /// a generation is at most 2^63 - 1
    #[error("a generation is at most 2^63 - 1")]
    Generation,
    /// address range: {0}
    #[error("address range: {0}")]
    Range(#[from] RangeError),
    /// "{0}" is not a device name: use 1 to 67 of A-Z, a-z, 0-9
    #[error("\"{0}\" is not a device name: use 1 to 67 of A-Z, a-z, 0-9")]
    DeviceName(String),
    /// device "{0}" is named twice
    #[error("device \"{0}\" is named twice")]
    DeviceTwice(DeviceName),
    /// a machine has at most 63 networks and volumes together, this one has {0}
    #[error("a machine has at most {max} networks and volumes together, this one has {0}", max = Devices::MAX)]
    TooManyDevices(usize),
    /// a MAC address must be unicast and not all zero
    #[error("a MAC address must be unicast and not all zero")]
    Mac,
    /// volume "{0}" is not a label
    #[error("a volume's name: {0}")]
    Volume(crate::name::NameError),
    /// a sector size is a power of two from 512 to 32768, not {0}
    #[error("a sector size is a power of two from 512 to 32768, not {0}")]
    SectorSize(u64),
    /// a machine has at most 256 arguments, without control characters, and joined by spaces at most 8191 bytes
    #[error(
        "a machine has at most {max} arguments, without control characters, and joined by spaces \
         at most {bytes} bytes", max = Arguments::MAX, bytes = Arguments::MAX_BYTES
    )]
    Arguments,
    /// memory must be 1 MiB or more
    #[error("memory must be 1 MiB or more")]
    NoMemory,
    /// an image has 1 byte to {limit} bytes, not {size}
    #[error("an image of this kind has 1 to {limit} bytes, not {size}")]
    ImageSize {
        /// what it says
        size: u64,
        /// the most that is allowed
        limit: u64,
    },
    /// an image that is embedded as it is says that it has {said} bytes, and has {found}
    #[error("an image that is embedded as it is says that it has {said} bytes, and has {found}")]
    EmbeddedSize {
        /// what the grant says
        said: u32,
        /// how many bytes there are
        found: usize,
    },
    /// exit codes of a restart policy must be different from each other
    #[error("exit codes of a restart policy must be different from each other")]
    RestartCodes,
    /// a priority is 0 to 100, not {0}
    #[error("a priority is 0 to 100, not {0}")]
    Priority(u64),
}

/// CPU ids of a host, ascending.
///
/// A few of them lie where the set does: most sets are small, and there is one in every delegation
/// and in every machine.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct CpuSet(SmallVec<[u16; 8]>);

impl CpuSet {
    /// A set of ids in strictly ascending order.
    ///
    /// # Errors
    /// [`ResourceError::Cpus`] for another order, a repeated id or one above [`MAX_CPU`].
    pub fn ascending(ids: Vec<u16>) -> Result<Self, ResourceError> {
        let rising = ids.is_sorted_by(|a, b| a < b);
        let known = ids.last().is_none_or(|last| *last <= MAX_CPU);
        if rising && known { Ok(Self(ids.into_iter().collect())) } else { Err(ResourceError::Cpus) }
    }

    /// A set of ids in any order, each named once.
    ///
    /// # Errors
    /// [`ResourceError::CpuTwice`], or [`ResourceError::Cpus`] for one above [`MAX_CPU`].
    pub fn distinct(mut ids: Vec<u16>) -> Result<Self, ResourceError> {
        ids.sort_unstable();
        match ids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => Err(ResourceError::CpuTwice(twice[0])),
            None => Self::ascending(ids),
        }
    }

    /// The ids, ascending.
    pub fn ids(&self) -> &[u16] {
        &self.0
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids that `other` lacks.
    pub fn outside(&self, other: &CpuSet) -> impl Iterator<Item = u16> {
        self.0.iter().copied().filter(|id| other.0.binary_search(id).is_err())
    }
}

impl FromIterator<u16> for CpuSet {
    /// Sorts and drops repetitions; ids above [`MAX_CPU`] are dropped too.
    fn from_iter<I: IntoIterator<Item = u16>>(ids: I) -> Self {
        let mut ids: SmallVec<_> = ids.into_iter().filter(|id| *id <= MAX_CPU).collect();
        ids.sort_unstable();
        ids.dedup();
        Self(ids)
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let ids: Vec<_> = self.0.iter().map(u16::to_string).collect();
        f.write_str(&ids.join(","))
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// The servers that a delegation is good for, by the SHA-256 of their SubjectPublicKeyInfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts(Vec<Digest>);

impl Hosts {
    /// A list of 1 to [`MAX_HOSTS`] different keys, in any order.
    ///
    /// # Errors
    /// [`ResourceError::Hosts`] for an empty, too long or repeating list.
    pub fn new(keys: Vec<Digest>) -> Result<Self, ResourceError> {
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let fits = (1..=MAX_HOSTS).contains(&keys.len()) && sorted.len() == keys.len();
        if fits { Ok(Self(keys)) } else { Err(ResourceError::Hosts) }
    }

    /// The keys as they were given.
    pub fn keys(&self) -> &[Digest] {
        &self.0
    }
}

/// What a CA certificate hands on: bounds for everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// Set by the signer; the newest wins (rule 9). 0 to [`MAX_GENERATION`].
    pub generation: u64,
    /// Machines running at the same time in the whole subtree.
    pub machines: u16,
    /// MiB of memory in the whole subtree.
    pub memory_mib: u32,
    /// CPUs usable.
    pub cpus: CpuSet,
    /// MiB of volumes and kept images in the whole subtree.
    pub storage_mib: u32,
    /// Bridges usable.
    pub bridges: Bridges,
    /// Servers that this is good for; `None`: inherited from the issuer.
    pub hosts: Option<Hosts>,
}

/// In what a delegation is larger than the one above it (rule 5).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// {what} {asked} is more than the issuer's {limit}
    #[error("{what} {asked} is more than the issuer's {limit}")]
    Number {
        /// `machines`, `memory` or `storage`
        what: &'static str,
        /// what it asks for
        asked: u32,
        /// what the issuer has
        limit: u32,
    },
    /// CPU {0} is not one of the issuer's
    #[error("CPU {0} is not one of the issuer's")]
    Cpu(u16),
    /// bridge "{0}" is not one of the issuer's
    #[error("bridge \"{0}\" is not one of the issuer's")]
    Bridge(BridgeName),
    /// bridge "{bridge}": {family} addresses: {why}
    #[error("bridge \"{bridge}\", {family} addresses: {why}")]
    Addresses {
        /// on which bridge
        bridge: BridgeName,
        /// of which family
        family: Family,
        /// what is wrong with the range
        why: &'static str,
    },
    /// host key {0} is not one of the issuer's
    #[error("host key {0} is not one of the issuer's")]
    Host(Digest),
}

impl Delegation {
    /// Whether this share lies inside the issuer's (rule 5).
    ///
    /// # Errors
    /// The first [`Misfit`].
    pub fn fits_in(&self, issuer: &Delegation) -> Result<(), Misfit> {
        for (what, asked, limit) in [
            ("machines", u32::from(self.machines), u32::from(issuer.machines)),
            ("memory", self.memory_mib, issuer.memory_mib),
            ("storage", self.storage_mib, issuer.storage_mib),
        ] {
            if asked > limit {
                return Err(Misfit::Number { what, asked, limit });
            }
        }
        if let Some(cpu) = self.cpus.outside(&issuer.cpus).next() {
            return Err(Misfit::Cpu(cpu));
        }
        self.bridges.fit_in(&issuer.bridges)?;
        if let (Some(own), Some(issuer)) = (&self.hosts, &issuer.hosts)
            && let Some(key) = own.keys().iter().find(|key| !issuer.keys().contains(key))
        {
            return Err(Misfit::Host(*key));
        }
        Ok(())
    }

    /// Whether two delegations grant the same, whatever their generation.
    pub fn same_share(&self, other: &Delegation) -> bool {
        Delegation { generation: other.generation, ..self.clone() } == *other
    }
}

#[cfg(test)]
mod tests;
