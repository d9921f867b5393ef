//! Images that are valid but that this tender cannot run, or not on this host.

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use vmm_tender_abi::{ABI_VERSIONS, Image, Target, hvt};

/// The device through which KVM is used.
pub(crate) const KVM: &str = "/dev/kvm";

/// Which of the two ways an image is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Hvt,
    Spt,
}

/// Why an image cannot be run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It is for another tender.
    #[error("it is for the target {0}, and only hvt and spt are run here")]
    Target(Target),
    /// It is for a version of the ABI that is not known.
    #[error("it is for version {version} of the {target} ABI, and only 1 and 2 are known")]
    Version {
        /// Its target.
        target: Target,
        /// Its version.
        version: u32,
    },
    /// KVM cannot be used.
    #[error("it needs KVM, and {KVM} cannot be opened: {0}")]
    Kvm(Errno),
}

/// How to run `image`, judged by the image alone.
///
/// # Errors
/// Why it cannot be run.
pub(crate) fn kind(image: &Image) -> Result<Kind, Refusal> {
    let abi = image.abi();
    let kind = match abi.target {
        Target::Hvt => Kind::Hvt,
        Target::Spt => Kind::Spt,
        other => return Err(Refusal::Target(other)),
    };
    if !ABI_VERSIONS.contains(&abi.version) {
        return Err(Refusal::Version { target: abi.target, version: abi.version });
    }
    Ok(kind)
}

/// Whether this tender on this host can run `image`, with all devices attached that it declares.
///
/// # Errors
/// Why it cannot.
pub(crate) fn check(image: &Image) -> Result<(), Refusal> {
    let abi = kind(image)?;
    if abi == Kind::Hvt {
        open(KVM, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(Refusal::Kvm)?;
    }
    Ok(())
}

/// Least memory in bytes with which `image` may be of use, as its kind of machine rounds it.
pub(crate) fn minimal_memory(image: &Image) -> u64 {
    let bytes = image.minimal_memory();
    match image.abi().target {
        // Rounded down when the machine starts, hence up here.
        Target::Hvt => bytes.checked_next_multiple_of(hvt::MEMORY_UNIT).unwrap_or(bytes),
        _ => bytes,
    }
}
