//! The second look at the arguments, with the manifest at hand.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use vmm_tender_abi::{DeviceKind, DeviceName, Manifest};

use crate::descriptors::DescriptorNumber;
use crate::devices::options::{BlockSource, DeviceOptions, MacAddress, NetSource, SectorSize};
use crate::devices::{DeviceArguments, declared};
use crate::program::Program;

const DEFAULT_MEMORY_MIB: u64 = 512;

/// What the options say.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Options {
    pub(super) memory_mib: u64,
    pub(super) executable_heap: bool,
    pub(super) devices: DeviceOptions,
    /// Where core files go.
    pub(super) core_directory: Option<PathBuf>,
}

/// Why they say nothing.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Rejected {
    /// `--mem` has no number.
    Memory,
    /// This one is not an option.
    Option { why: Option<String>, option: OsString },
}

/// The descriptors in `words` that are not open.
pub(super) fn closed_descriptors(words: &[OsString]) -> Vec<DescriptorNumber> {
    let numbers = words.iter().filter_map(|word| {
        let (_, value) = word.to_str()?.split_once('=')?;
        DescriptorNumber::parse(value)?.ok()
    });
    numbers.filter(|number| number.check_open().is_err()).collect()
}

/// Reads the options of `program` for an image with `manifest`. None of the descriptors that are
/// `closed` can be attached.
pub(super) fn read(
    program: Program,
    words: &[OsString],
    manifest: &Manifest,
    closed: &[DescriptorNumber],
) -> Result<Options, Rejected> {
    let mut memory_mib = DEFAULT_MEMORY_MIB;
    let mut executable_heap = false;
    let mut core_directory = None;
    let mut devices = DeviceArguments::default();
    for word in words {
        if let Some(number) = word.as_bytes().strip_prefix(b"--mem=") {
            memory_mib = memory(number).ok_or(Rejected::Memory)?;
        } else if word == "--x-exec-heap" && program == Program::Solo5Spt {
            executable_heap = true;
        } else if let Some(path) = core_option(program, word)? {
            core_directory = Some(path);
        } else {
            device(word, manifest, closed, &mut devices)
                .map_err(|why| Rejected::Option { why, option: word.clone() })?;
        }
    }
    // What belongs to a device that nothing is attached to is of no matter: that device is what
    // will be complained about.
    let (devices, _) = devices.finish();
    Ok(Options { memory_mib, executable_heap, devices, core_directory })
}

/// The directory of `--dumpcore=DIR`, which the tender for debugging has.
fn core_option(program: Program, word: &OsStr) -> Result<Option<PathBuf>, Rejected> {
    if program != Program::Solo5HvtDebug {
        return Ok(None);
    }
    if word == "--gdb" || word.as_bytes().starts_with(b"--gdb-port=") {
        let why = "This tender has no GDB stub: take --dumpcore and open the core file in gdb";
        return Err(Rejected::Option { why: Some(why.into()), option: word.into() });
    }
    let directory = word.as_bytes().strip_prefix(b"--dumpcore=");
    Ok(directory.filter(|it| !it.is_empty()).map(|it| OsStr::from_bytes(it).into()))
}

/// Whether `word` attaches an interface to the network device `name`.
pub(super) fn is_net(word: &OsStr, name: DeviceName, manifest: &Manifest) -> bool {
    matches!(split(word, manifest), Ok((Kind::Net, device, _)) if device == name)
}

#[derive(PartialEq, Eq)]
enum Kind {
    Net,
    NetMac,
    Block,
    SectorSize,
}

/// Takes an option about a device in, or tells why not, if there is more to say than that.
fn device(
    word: &OsStr,
    manifest: &Manifest,
    closed: &[DescriptorNumber],
    devices: &mut DeviceArguments,
) -> Result<(), Option<String>> {
    let (kind, name, value) = split(word, manifest)?;
    let text = value.to_str();
    let said = |error: crate::Error| Some(error.to_string());
    let taken = match kind {
        Kind::Net => {
            let source = NetSource::parse(value).ok_or(None)?.map_err(said)?;
            if let NetSource::Descriptor(number) = &source {
                check_descriptor(*number, closed, devices)?;
            }
            devices.net(name, source)
        }
        Kind::NetMac => match text.and_then(MacAddress::parse).ok_or(None)? {
            // As if none were given.
            MacAddress([0, 0, 0, 0, 0, 0]) => Ok(()),
            mac => devices.mac(name, mac),
        },
        Kind::Block if value.is_empty() => return Err(None),
        Kind::Block => devices.block(name, BlockSource::Path(value.into())),
        Kind::SectorSize => {
            let wrong = "Block size must be a multiple of 2 greater than or equal 512";
            let size = text.and_then(SectorSize::parse).ok_or_else(|| Some(wrong.into()))?;
            devices.sector_size(name, size)
        }
    };
    taken.map_err(|twice| Some(twice.to_string()))
}

/// Each descriptor is open, and for one device.
fn check_descriptor(
    number: DescriptorNumber,
    closed: &[DescriptorNumber],
    devices: &DeviceArguments,
) -> Result<(), Option<String>> {
    let why = match () {
        () if closed.contains(&number) => "it is not open",
        () if devices.has_net(&NetSource::Descriptor(number)) => "it is attached already",
        () => return Ok(()),
    };
    Err(Some(format!("Could not attach interface: {number}: {why}")))
}

/// Splits `--KIND:NAME=VALUE`; the device has to be in the manifest.
fn split<'a>(
    word: &'a OsStr,
    manifest: &Manifest,
) -> Result<(Kind, DeviceName, &'a OsStr), Option<String>> {
    let bytes = word.as_bytes();
    let cut = |at: u8| bytes.iter().position(|&byte| byte == at).ok_or(None);
    let (colon, equals) = (cut(b':')?, cut(b'=')?);
    let name = bytes.get(colon + 1..equals).and_then(|name| std::str::from_utf8(name).ok());
    let name = name.and_then(DeviceName::new).ok_or(None)?;
    let (kind, device_kind) = match &bytes[..colon] {
        b"--net" => (Kind::Net, DeviceKind::Net),
        b"--net-mac" => (Kind::NetMac, DeviceKind::Net),
        b"--block" => (Kind::Block, DeviceKind::Block),
        b"--block-sector-size" => (Kind::SectorSize, DeviceKind::Block),
        _ => return Err(None),
    };
    if declared(manifest, name, device_kind).is_err() {
        return Err(Some(format!("Resource not declared in manifest: '{name}'")));
    }
    Ok((kind, name, OsStr::from_bytes(&bytes[equals + 1..])))
}

/// A number of MiB; what follows it is of no matter.
fn memory(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let len = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    std::str::from_utf8(&text[..len]).ok()?.parse().ok().filter(|&mib| mib > 0)
}
