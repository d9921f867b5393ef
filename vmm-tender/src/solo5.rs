//! The command lines of `solo5-hvt` and `solo5-spt`, for whoever has put this tender in their
//! place (the Solo5 ABI, section 2).
//!
//! Arguments are looked at twice, as device names mean something only once the manifest is
//! known: [`Invocation::scan`] finds the image, [`options`] reads the rest.

mod options;
mod usage;

use std::ffi::OsString;
use std::path::PathBuf;

use vmm_tender_abi::{ABI_VERSIONS, Image, Manifest};

use crate::core_directory::CoreDirectory;
use crate::devices::{DeviceError, Devices};
use crate::image_file::{ImageFile, ImageSource};
use crate::jail::Jail;
use crate::program::Program;
use crate::run::{self, Machine};
use crate::status::StatusPipe;
use crate::{CommandLine, Error, console, host, refusal};
use options::{Options, Rejected};

/// Version of the ABI that is announced; images of version 1 run too.
const ABI_VERSION: u32 = *ABI_VERSIONS.end();

const FAILED: u8 = 1;

/// What the arguments ask for.
#[derive(PartialEq, Eq, Debug)]
enum Invocation<'a> {
    Help,
    Version,
    /// There is no image among them.
    MissingKernel,
    Run {
        options: &'a [OsString],
        kernel: &'a OsString,
        arguments: &'a [OsString],
    },
}

impl<'a> Invocation<'a> {
    /// Everything before the first argument without `-`, or before `--`, is an option.
    fn scan(words: &'a [OsString]) -> Self {
        let mut count = 0;
        for word in words {
            match word.to_str() {
                Some("--help") => return Self::Help,
                Some("--version") => return Self::Version,
                _ if word != "--" && word.as_encoded_bytes().starts_with(b"-") => count += 1,
                _ => break,
            }
        }
        let (options, rest) = words.split_at(count);
        let rest = match rest.split_first() {
            Some((word, rest)) if word == "--" => rest,
            _ => rest,
        };
        match rest.split_first() {
            Some((kernel, arguments)) => Self::Run { options, kernel, arguments },
            None => Self::MissingKernel,
        }
    }
}

/// Does what the arguments (without the program's name) ask for and returns the exit status.
/// Does not return once an spt guest runs.
pub(crate) fn main(program: Program, arguments: &[OsString]) -> u8 {
    match Invocation::scan(arguments) {
        Invocation::Help => fail_with_usage(program, &[]),
        Invocation::Version => {
            let version = concat!("vmm-tender ", env!("CARGO_PKG_VERSION"));
            let name = program.name();
            say(&format!("{name} tender, version {version}\nABI version {ABI_VERSION}\n"));
            0
        }
        Invocation::MissingKernel => fail_with_usage(program, &["Missing KERNEL operand".into()]),
        Invocation::Run { options, kernel, arguments } => {
            match run(program, options, kernel, arguments) {
                Ok(status) => status,
                Err(failure) => failure.report(program),
            }
        }
    }
}

/// Why a machine did not start, or was ended.
enum Failure {
    /// Messages.
    Said(Vec<String>),
    /// An option that is not one; the usage follows.
    Option { why: Option<String>, option: OsString },
}

impl Failure {
    fn report(self, program: Program) -> u8 {
        match self {
            Self::Said(lines) => {
                complain(program, &lines);
                FAILED
            }
            Self::Option { why, option } => {
                let invalid = format!("Invalid option: `{}'", option.display());
                let lines: Vec<_> = why.into_iter().chain([invalid]).collect();
                fail_with_usage(program, &lines)
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Said(match error {
            Error::CommandLineTooLong { .. } => vec!["Guest command line too long".into()],
            error => vec![error.to_string()],
        })
    }
}

impl From<Rejected> for Failure {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Memory => Self::Said(vec!["Malformed argument to --mem".into()]),
            Rejected::Option { why, option } => Self::Option { why, option },
        }
    }
}

fn run(
    program: Program,
    options: &[OsString],
    kernel: &OsString,
    arguments: &[OsString],
) -> Result<u8, Failure> {
    // Before anything is opened, which could have one of their numbers.
    let closed = options::closed_descriptors(options);
    let (file, image) = open(program, kernel)?;
    let Options { memory_mib, executable_heap, devices, core_directory } =
        options::read(program, options, image.manifest(), &closed)?;
    let command_line = CommandLine::join(arguments.iter().cloned())?;
    host::check_personality()?;
    let memory = run::memory_size(memory_mib)?;
    let kind = refusal::kind(&image).map_err(Error::from)?;
    let devices = Devices::attach(image.manifest(), devices)
        .map_err(|error| not_attached(error, options, image.manifest()))?;
    if executable_heap {
        complain(program, &["WARNING: Using --x-exec-heap: heap and stack are executable".into()]);
    }
    let machine = Machine {
        image,
        file,
        memory,
        executable_heap,
        devices,
        net_ring: true,
        command_line,
        kvm: None,
        jail: Jail::default(),
        cores: core_directory.as_deref().map(CoreDirectory::open).transpose()?,
    };
    Ok(run::start(kind, machine, &mut StatusPipe::none())?)
}

/// Opens the image and judges it as far as that can be done without options.
fn open(program: Program, kernel: &OsString) -> Result<(ImageFile, Image), Failure> {
    let about = |text: String| Failure::Said(vec![format!("{}: {text}", kernel.display())]);
    let file = ImageFile::open(ImageSource::Path(PathBuf::from(kernel))).map_err(|error| {
        about(match error {
            Error::OpenImage { error, .. } => format!("Could not open: {error}"),
            error => error.to_string(),
        })
    })?;
    let image = Image::read(&file).map_err(|error| about(Error::from(error).to_string()))?;
    let abi = image.abi();
    if program.target() != Some(abi.target) {
        return Err(about(format!("Executable is not for the {} target", program.name())));
    }
    if !ABI_VERSIONS.contains(&abi.version) {
        let version = abi.version;
        return Err(about(format!("Executable requests unsupported ABI version {version}")));
    }
    Ok((file, image))
}

/// An interface that cannot be attached makes its option an invalid one.
fn not_attached(error: Error, options: &[OsString], manifest: &Manifest) -> Failure {
    match &error {
        Error::Device(DeviceError::NotAttached(devices)) => {
            let lines = devices.iter().map(|device| {
                let kind = DeviceError::type_name(device.kind);
                format!("Device '{}' of type {kind} declared but not attached.", device.name)
            });
            let last = "All declared devices must be attached. See --help for syntax.".into();
            Failure::Said(lines.chain([last]).collect())
        }
        Error::Device(
            DeviceError::Interface { device, .. } | DeviceError::NetDescriptor { device, .. },
        ) => {
            let belongs = |option: &&OsString| options::is_net(option, *device, manifest);
            match options.iter().find(belongs) {
                Some(option) => {
                    Failure::Option { why: Some(error.to_string()), option: option.clone() }
                }
                None => error.into(),
            }
        }
        _ => error.into(),
    }
}

fn fail_with_usage(program: Program, lines: &[String]) -> u8 {
    complain(program, lines);
    say(&usage::text(program));
    FAILED
}

fn complain(program: Program, lines: &[String]) {
    for line in lines {
        say(&format!("{}: {line}\n", program.name()));
    }
}

fn say(text: &str) {
    // Nobody is left to be told that nobody can be told.
    let _ = console::write_all(rustix::stdio::stderr(), text.as_bytes());
}
