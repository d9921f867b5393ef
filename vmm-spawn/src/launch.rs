//! Starting the process of a machine. Nothing else starts machines.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, fcntl_getfl, open};
use rustix::io::Errno;
use vmm_proto::message::spawn::Start;

use crate::affinity::{self, Pinned};
use crate::jail::clone::Cloned;
use crate::jail::inside::{Program, ProgramFile};
use crate::jail::{self, Cell, Jail};
use crate::net::tap::{Tap, hex};

/// The virtual machines of the kernel, for guests of the kind that needs them.
const KVM: &str = "/dev/kvm";

/// Why the process of a machine was not started. Nothing is left of it then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A descriptor that would let a guest that escapes change the image of others.
    #[error("the image is open for more than reading")]
    WritableImage,
    /// {0}
    #[error(transparent)]
    Affinity(#[from] affinity::Error),
    /// A word for the guest that no program can be given.
    #[error("a word for the guest has a nul byte in it")]
    ZeroByte,
    /// There is no cell for it.
    #[error(transparent)]
    Jail(#[from] jail::Error),
    /// Its process was not started.
    #[error(transparent)]
    Enter(#[from] jail::EnterError),
    /// cannot run {tender}: {error}
    #[error("cannot run {tender}: {error}")]
    Run {
        /// The program.
        tender: String,
        /// Why.
        error: io::Error,
    },
    /// cannot {what}: {error}
    #[error("cannot {what}: {error}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: Errno,
    },
}

/// For `map_err`: names what failed.
fn failed(what: &'static str) -> impl FnOnce(Errno) -> Error {
    move |error| Error::Kernel { what, error }
}

/// What a machine is given, and has to itself: this process's copy is closed when it is started.
#[derive(Debug)]
pub struct Given {
    /// Its image, open for reading.
    pub image: OwnedFd,
    /// Its network interfaces.
    pub taps: Vec<Tap>,
}

/// What connects a machine with this process, and outlives it. All of it is the machine's end.
#[derive(Debug)]
pub struct Streams {
    /// Its standard output and error.
    pub console: OwnedFd,
    /// Its standard input. It is there to be held open and is never read ([`crate::stage`]).
    pub stage: OwnedFd,
    /// What its tender says before its guest runs.
    pub status: OwnedFd,
    /// What its process writes about itself before it becomes the tender ([`crate::birth`]).
    pub birth: OwnedFd,
}

/// Whether a machine could be started with this image on its CPUs.
///
/// # Errors
/// The image is open for writing, or a CPU is not there.
pub fn check(start: &Start, image: &OwnedFd) -> Result<(), Error> {
    let access = fcntl_getfl(image).map_err(failed("look at the image"))?;
    if access & OFlags::ACCMODE != OFlags::RDONLY {
        return Err(Error::WritableImage);
    }
    drop(Pinned::to(&start.cpus)?);
    Ok(())
}

/// Starts `tender` for a machine in a cell of the jail, with what it is `given` and `streams`. The
/// image was [checked](check).
///
/// # Errors
/// The kernel lacks something. What the process itself fails at, it says as a tender does.
pub fn launch(
    tender: &Path,
    (jail, cell): (&Jail, &Cell),
    start: &Start,
    given: Given,
    streams: Streams,
) -> Result<Cloned, Error> {
    let program = program(tender, jail, start, given, streams)?;
    let pinned = Pinned::to(&start.cpus)?;
    let entered = jail.enter(cell, start, &program);
    drop(pinned);
    Ok(entered?)
}

/// What a machine's process is to become. Its descriptors are those of this process, which it gets
/// under the same numbers.
fn program(
    tender: &Path,
    jail: &Jail,
    start: &Start,
    given: Given,
    streams: Streams,
) -> Result<Program, Error> {
    let Given { image, taps } = given;
    let Streams { console: output, stage: input, status, birth } = streams;
    let refused = |error: io::Error| Error::Run { tender: tender.display().to_string(), error };
    let path = CString::new(tender.as_os_str().as_bytes()).map_err(|it| refused(it.into()))?;
    let file = if jail.shows_programs() {
        ProgramFile::Path(path.clone())
    } else {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        ProgramFile::Open(open(tender, flags, Mode::empty()).map_err(|it| refused(it.into()))?)
    };
    // Without it, the tender of a guest that needs it says so.
    let kvm = open(KVM, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok();
    let number = |fd: &OwnedFd| format!("@{}", fd.as_raw_fd());
    let mut words = vec!["run".to_owned(), number(&image), "--mem".to_owned()];
    words.extend([start.memory_mib.to_string(), "--status".to_owned(), number(&status)]);
    words.push("--new-session".to_owned());
    words.extend(kvm.iter().map(|kvm| format!("--kvm={}", number(kvm))));
    words.extend(taps.iter().flat_map(attachment));
    words.extend(jail.is_whole().then(|| "--require-jail".to_owned()));
    words.push("--".to_owned());
    let words = words.iter().chain(&start.arguments).map(|word| CString::new(word.as_str()));
    let arguments = std::iter::once(Ok(path)).chain(words).collect::<Result<_, _>>();
    let arguments = arguments.map_err(|_| Error::ZeroByte)?;
    let taps = taps.into_iter().map(|tap| tap.descriptor);
    let others = std::iter::once(image).chain(kvm).chain(taps).collect();
    Ok(Program { file, arguments, input, output, status, birth, others })
}

/// The words that attach a tap. Of the interface itself the tender sees nothing: it is in another
/// network namespace.
fn attachment(tap: &Tap) -> [String; 3] {
    let Tap { device, mac, mtu, descriptor, .. } = tap;
    [
        format!("--net={device}=@{}", descriptor.as_raw_fd()),
        format!("--net-mac={device}={}", hex(mac)),
        format!("--net-mtu={device}={mtu}"),
    ]
}
