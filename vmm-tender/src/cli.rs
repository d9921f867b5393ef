//! The command line: raw arguments become meaning here, and nowhere else.
//!
//! Written by hand, as a tender is started for every machine and does little else than start it.
#![expect(
    clippy::unnecessary_debug_formatting,
    reason = "quoted and escaped, so that any argument leaves a message on one line"
)]

mod devices;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::descriptors::DescriptorNumber;
use crate::devices::DeviceArguments;
use crate::devices::options::DeviceOptions;
use crate::image_file::ImageSource;
use crate::jail::Jail;
use crate::{CommandLine, Error};

/// What `--help` prints.
pub const USAGE: &str = "\
Runs one Solo5 unikernel, on KVM (hvt) or as a seccomp process (spt).

Usage: vmm-tender run IMAGE [OPTIONS] [-- ARGUMENT...]
       vmm-tender inspect IMAGE [--format text|json]

IMAGE is a path, or @N for a file that is open as descriptor N (3 or above).
The console of the guest is standard output; its arguments are what follows '--'.

Options of run, before or behind IMAGE:
  --mem MIB       guest memory in MiB (default 512; hvt: even, up to 4096)
  --net NAME=TAP  attach a TAP interface, which exists and is up, to the network
                  device NAME; @N for an open TAP descriptor
  --net-mac NAME=MAC
                  its hardware address (default: a random one)
  --net-mtu NAME=BYTES
                  its MTU, 68 to 65521, where TAP is a descriptor of an interface
                  that is out of sight (default: what TAP says, or else 1500)
  --no-net-ring   do not offer an hvt guest the network ring of Solo5 0.11, which
                  it is otherwise offered with 2 MiB of memory of their own
  --block NAME=PATH
                  attach a file, or a block device of the host, to the block
                  device NAME; @N for an open descriptor
  --block-sector-size NAME=N
                  its block size, a power of two from 512 to 32768 (default 512)
  --status @N     write 'ready' to descriptor N just before the guest's first
                  instruction, or the error that came before it, and close it
  --new-session   begin a session of its own, without core files and with no
                  signal blocked
  --dumpcore DIR  leave a core file of an hvt guest that aborts or faults in DIR;
                  of an spt guest that faults, the kernel leaves one there
  --kvm @N        use /dev/kvm as it is open as descriptor N, instead of opening it;
                  closed before an spt guest runs
  --require-jail  run no machine where the kernel has no Landlock, instead of
                  saying so on standard error

Every device that the image declares has to be attached, and no other can be.

Options of inspect:
  --format text   for people (default)
  --format json   for programs, one line

Exit status of run: the guest's, 0 to 255; 1 also for every error of the tender;
an spt guest that faults or makes a forbidden system call ends by SIGSEGV or SIGSYS.
Exit status of inspect: 0 if it is a Solo5 image, even one that cannot be run here.
Runnable is what this host runs with the devices attached that are reported.
Called as solo5-hvt or solo5-spt, it has the command line of that tender.
";

/// Guest memory when nothing else is said.
const DEFAULT_MEMORY_MIB: u64 = 512;

/// What to do.
#[derive(PartialEq, Eq, Debug)]
pub enum Command {
    /// Run a machine.
    Run(RunOptions),
    /// Describe an image.
    Inspect(InspectOptions),
    /// Print [`USAGE`].
    Help,
    /// Print the version.
    Version,
}

/// How to run a machine.
#[derive(PartialEq, Eq, Debug)]
pub struct RunOptions {
    /// Where the image is.
    pub image: ImageSource,
    /// Guest memory in MiB.
    pub memory_mib: u64,
    /// What is attached to it.
    pub devices: DeviceOptions,
    /// Whether an hvt guest with network devices is offered a ring for its frames.
    pub net_ring: bool,
    /// Whether to leave the session of whoever started the tender.
    pub new_session: bool,
    /// `/dev/kvm`, where it is open already.
    pub kvm: Option<DescriptorNumber>,
    /// How to confine the machine.
    pub(crate) jail: Jail,
    /// Where a core file of a failed guest goes.
    pub core_directory: Option<PathBuf>,
    /// What the guest gets as arguments.
    pub command_line: CommandLine,
}

/// How to describe an image.
#[derive(PartialEq, Eq, Debug)]
pub struct InspectOptions {
    /// Where the image is.
    pub image: ImageSource,
    /// For whom.
    pub format: Format,
}

/// For whom an image is described.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// People.
    Text,
    /// Programs.
    Json,
}

/// The descriptor that `--status` names, if the arguments are good for that much: also what else
/// is wrong with them shall be told there.
///
/// An unusable one is no error here but in [`parse`].
pub(crate) fn status_descriptor(arguments: &[OsString]) -> Option<DescriptorNumber> {
    let mut words = Words::new(arguments);
    while let Some(word) = words.next() {
        if word == "--" {
            return None;
        }
        if let Some(value) = words.value_of(word, "--status") {
            return DescriptorNumber::parse(value.ok()?.to_str()?)?.ok();
        }
    }
    None
}

/// Turns the arguments, without the program's name, into what to do.
///
/// # Errors
/// They make no sense; the message says why.
pub fn parse(arguments: &[OsString]) -> Result<Command, Error> {
    let mut words = Words::new(arguments);
    let verb =
        words.next().ok_or_else(|| usage("what is to be done is missing: run or inspect"))?;
    match verb.to_str() {
        Some("run") => parse_run(words),
        Some("inspect") => parse_inspect(words),
        Some("help" | "--help" | "-h") => Ok(Command::Help),
        Some("--version" | "-V") => Ok(Command::Version),
        _ => Err(usage(format!("unknown command {verb:?}"))),
    }
}

fn parse_run(mut words: Words<'_>) -> Result<Command, Error> {
    let mut image = None;
    let mut status = None;
    let mut memory_mib = DEFAULT_MEMORY_MIB;
    let mut kvm = None;
    let mut new_session = false;
    let mut net_ring = true;
    let mut jail = Jail::default();
    let mut core_directory = None;
    let mut devices = DeviceArguments::default();
    let mut command_line = CommandLine::default();
    while let Some(word) = words.next() {
        if word == "--" {
            command_line = CommandLine::join(words.rest().iter().cloned())?;
        } else if word == "--help" {
            return Ok(Command::Help);
        } else if word == "--new-session" {
            new_session = true;
        } else if word == "--require-jail" {
            jail.whole = true;
        } else if word == "--no-net-ring" {
            net_ring = false;
        } else if let Some(value) = words.value_of(word, "--dumpcore") {
            set_once(&mut core_directory, directory(value?)?, "--dumpcore")?;
        } else if let Some(value) = words.value_of(word, "--mem") {
            memory_mib = memory(value?)?;
        } else if let Some(value) = words.value_of(word, "--status") {
            set_once(&mut status, descriptor(value?, "--status")?, "--status")?;
        } else if let Some(value) = words.value_of(word, "--kvm") {
            set_once(&mut kvm, descriptor(value?, "--kvm")?, "--kvm")?;
        } else if let Some((option, value)) = devices::OPTIONS
            .iter()
            .find_map(|&option| Some((option, words.value_of(word, option)?)))
        {
            devices::take(&mut devices, option, value?)?;
        } else {
            set_once(&mut image, positional(word)?, "IMAGE")?;
        }
    }
    let image = image.ok_or_else(|| usage("run wants an IMAGE"))?;
    let devices = devices::finish(devices)?;
    check_descriptors(&image, [status, kvm], &devices)?;
    Ok(Command::Run(RunOptions {
        image,
        memory_mib,
        devices,
        net_ring,
        new_session,
        kvm,
        jail,
        core_directory,
        command_line,
    }))
}

/// Each inherited descriptor is for one purpose: it will have one owner.
fn check_descriptors(
    image: &ImageSource,
    others: [Option<DescriptorNumber>; 2],
    devices: &DeviceOptions,
) -> Result<(), Error> {
    let image = match image {
        ImageSource::Descriptor(number) => Some(*number),
        ImageSource::Path(_) => None,
    };
    let mut seen = Vec::new();
    for number in image.into_iter().chain(others.into_iter().flatten()).chain(devices.descriptors())
    {
        if seen.contains(&number) {
            return Err(usage(format!("two arguments name the same descriptor {number}")));
        }
        seen.push(number);
    }
    Ok(())
}

fn parse_inspect(mut words: Words<'_>) -> Result<Command, Error> {
    let mut image = None;
    let mut format = Format::Text;
    while let Some(word) = words.next() {
        if word == "--help" {
            return Ok(Command::Help);
        } else if let Some(value) = words.value_of(word, "--format") {
            let value = value?;
            format = match value.to_str() {
                Some("text") => Format::Text,
                Some("json") => Format::Json,
                _ => return Err(usage(format!("--format is text or json, not {value:?}"))),
            };
        } else {
            set_once(&mut image, positional(word)?, "IMAGE")?;
        }
    }
    let image = image.ok_or_else(|| usage("inspect wants an IMAGE"))?;
    Ok(Command::Inspect(InspectOptions { image, format }))
}

fn usage(text: impl Into<String>) -> Error {
    Error::Usage(text.into())
}

fn set_once<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), Error> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(usage(format!("{name} is given twice"))),
    }
}

fn memory(value: &OsStr) -> Result<u64, Error> {
    let number = value.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    number
        .and_then(|text| text.parse().ok())
        .filter(|&mib| mib > 0)
        .ok_or_else(|| usage(format!("--mem wants a number of MiB from 1 on, not {value:?}")))
}

fn descriptor(value: &OsStr, option: &str) -> Result<DescriptorNumber, Error> {
    let text = value.to_str().and_then(DescriptorNumber::parse);
    text.ok_or_else(|| usage(format!("{option} wants @N, not {value:?}")))?
}

fn directory(value: &OsStr) -> Result<PathBuf, Error> {
    if value.is_empty() {
        return Err(usage("--dumpcore wants a directory"));
    }
    Ok(value.into())
}

fn positional(word: &OsStr) -> Result<ImageSource, Error> {
    let text = word.to_str();
    if let Some(number) = text.and_then(DescriptorNumber::parse) {
        return number.map(ImageSource::Descriptor);
    }
    if word.as_encoded_bytes().starts_with(b"-") {
        return Err(usage(format!("unknown option {word:?}")));
    }
    Ok(ImageSource::Path(word.into()))
}

/// Arguments that are still to be read.
struct Words<'a> {
    rest: &'a [OsString],
}

impl<'a> Words<'a> {
    fn new(arguments: &'a [OsString]) -> Self {
        Self { rest: arguments }
    }

    fn next(&mut self) -> Option<&'a OsStr> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn rest(&mut self) -> &'a [OsString] {
        std::mem::take(&mut self.rest)
    }

    /// The value of option `name` if `word` is it: behind `=`, or the next word.
    fn value_of(&mut self, word: &'a OsStr, name: &str) -> Option<Result<&'a OsStr, Error>> {
        if word == name {
            return Some(self.next().ok_or_else(|| usage(format!("{name} wants a value"))));
        }
        let (option, value) = split_at_equals(word)?;
        (option == name).then_some(Ok(value))
    }
}

fn split_at_equals(word: &OsStr) -> Option<(&str, &OsStr)> {
    let (option, value) = word.to_str()?.split_once('=')?;
    Some((option, OsStr::new(value)))
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
