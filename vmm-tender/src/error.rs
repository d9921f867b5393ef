//! Why a tender ends with status 1.

use std::borrow::Cow;
use std::path::PathBuf;

use rustix::io::Errno;
use vmm_tender_abi::{ElfError, GuestAddress, ImageError, ReadError};

use crate::descriptors::DescriptorNumber;
use crate::devices::DeviceError;
use crate::hvt::{Registers, Trace};
use crate::refusal::Refusal;

/// Why a machine could not be started, or had to be ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line of the tender itself makes no sense.
    #[error("{0} (try: vmm-tender --help)")]
    Usage(String),
    /// Not a usable `@N`.
    #[error("'{0}' names no descriptor: @N with N from 3 on is wanted")]
    DescriptorNumber(String),
    /// An `@N` that nobody has opened.
    #[error("descriptor {0} is not open")]
    DescriptorNotOpen(DescriptorNumber),
    /// The guest's command line does not fit.
    #[error("the guest's command line is too long: {len} bytes, at most {max} are possible")]
    CommandLineTooLong {
        /// Bytes.
        len: usize,
        /// Bytes that are possible.
        max: usize,
    },
    /// The image file could not be opened.
    #[error("cannot open {path:?}: {error}")]
    OpenImage {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: Errno,
    },
    /// What was opened is a directory, a pipe, or the like.
    #[error("the image is not a regular file")]
    NotAFile,
    /// The image file could not be read.
    #[error(transparent)]
    ReadImage(#[from] ReadError),
    /// The image file became shorter while it was loaded.
    #[error("the image became shorter while it was read")]
    ImageShrunk,
    /// The file is not an image.
    #[error("not a valid image: {0}")]
    Image(#[from] ImageError),
    /// The image does not fit into guest memory.
    #[error("the image does not fit: {0}")]
    DoesNotFit(#[from] ElfError),
    /// The image cannot be run by this tender on this host.
    #[error("cannot run this image: {0}")]
    Refused(#[from] Refusal),
    /// Guest memory of a size that is not possible.
    #[error("guest memory of {mib} MiB is not possible: {reason}")]
    MemorySize {
        /// What was asked for.
        mib: u64,
        /// The rule.
        reason: Cow<'static, str>,
    },
    /// A device could not be attached.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Something on the host failed.
    #[error("cannot {what}: {error}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: Errno,
    },
    /// The process would make all memory executable.
    #[error("the personality READ_IMPLIES_EXEC is set: guest data would be executable")]
    ReadImpliesExec,
    /// Core files cannot go where they shall.
    #[error("dumpcore: no file can be made in {path:?}: {error}{}", core_hint(*.error))]
    CoreDirectory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        error: Errno,
    },
    /// The kernel leaves no core file of an spt guest.
    #[error("dumpcore: {0}")]
    KernelCore(&'static str),
    /// The kernel has no Landlock, without which no machine shall run.
    #[error(
        "this kernel has no Landlock, and --require-jail is given: enable it (lsm=landlock,... at \
         boot), or leave the option out"
    )]
    NoLandlock,
    /// Landlock could not be applied.
    #[error("cannot apply Landlock: {0}")]
    Landlock(#[from] landlock::RulesetError),
    /// The system call filter could not be made.
    #[error("cannot build the system call filter: {0}")]
    BuildFilter(#[from] seccompiler::BackendError),
    /// The system call filter could not be installed.
    #[error("cannot install the system call filter: {0}")]
    InstallFilter(#[from] seccompiler::Error),
    /// KVM is of another version.
    #[error("KVM has API version {0}, not 12")]
    KvmVersion(i32),
    /// KVM lacks something.
    #[error("KVM on this host lacks {0}")]
    KvmLacks(&'static str),
    /// Console output could not be written.
    #[error("cannot write console output: {0}")]
    Output(Errno),
    /// The status pipe could not be written.
    #[error("cannot write to the status descriptor: {0}")]
    Status(Errno),
    /// A hypercall names memory that the guest does not have or must not use for it.
    #[error("Invalid guest access: gpa={address}, sz={len}")]
    GuestAccess {
        /// Where.
        address: GuestAddress,
        /// How many bytes.
        len: u64,
    },
    /// The guest used a port that has no meaning.
    #[error("Invalid guest port access: port={0:#x}")]
    GuestPort(u16),
    /// The guest made a hypercall that does not exist for it.
    #[error("Invalid guest hypercall: num={0}")]
    GuestHypercall(u16),
    /// The guest says that more waits in its network ring than it has room for.
    #[error("Invalid guest network ring: {0} entries wait, at most 1024 can")]
    GuestRing(u32),
    /// The guest touched memory against its protection.
    #[error("KVM: host/guest translation fault: rip={0:#x}")]
    TranslationFault(u64),
    /// The virtual CPU could not go on.
    #[error("KVM: {what}, rip={rip:#x}")]
    Vcpu {
        /// What happened.
        what: String,
        /// Where it was then.
        rip: u64,
    },
    /// A guest did what ends it.
    #[error("{cause}\n{registers}{trace}")]
    Guest {
        /// What it did.
        cause: Box<Error>,
        /// What its CPU held then.
        registers: Box<Registers>,
        /// Where it was, and probably came from.
        trace: Trace,
    },
}

/// What root has to know about directories.
fn core_hint(error: Errno) -> &'static str {
    if error == Errno::ACCESS && rustix::process::geteuid().is_root() {
        " (root's capabilities are dropped by then: take a directory of root, or one for all, as /tmp)"
    } else {
        ""
    }
}

impl Error {
    /// Whether it is the guest's doing, and not the host's or that of who started it.
    pub(crate) fn is_the_guests(&self) -> bool {
        matches!(
            self,
            Self::GuestAccess { .. }
                | Self::GuestPort(_)
                | Self::GuestHypercall(_)
                | Self::GuestRing(_)
                | Self::TranslationFault(_)
                | Self::Vcpu { .. }
        )
    }

    /// For `map_err`: names what failed.
    pub(crate) fn host<E: Into<Errno>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Host { what, error: error.into() }
    }
}
