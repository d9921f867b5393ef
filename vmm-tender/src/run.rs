//! `vmm-tender run`.

use std::os::fd::OwnedFd;

use vmm_tender_abi::Image;

use crate::cli::RunOptions;
use crate::core_directory::CoreDirectory;
use crate::descriptors::DescriptorNumber;
use crate::devices::Devices;
use crate::image_file::ImageFile;
use crate::jail::Jail;
use crate::refusal::{self, Kind};
use crate::status::StatusPipe;
use crate::{CommandLine, Error, host, hvt, spt};

const MIB: u64 = 1024 * 1024;

/// Everything that a machine starts with.
pub(crate) struct Machine {
    pub(crate) image: Image,
    pub(crate) file: ImageFile,
    /// Guest memory in bytes.
    pub(crate) memory: u64,
    /// Whether an spt guest may execute its data.
    pub(crate) executable_heap: bool,
    pub(crate) devices: Devices,
    /// Whether an hvt guest with network devices is offered a ring for its frames.
    pub(crate) net_ring: bool,
    pub(crate) command_line: CommandLine,
    /// `/dev/kvm`, where it is open already.
    pub(crate) kvm: Option<OwnedFd>,
    pub(crate) jail: Jail,
    /// Where a core file of a failed guest goes.
    pub(crate) cores: Option<CoreDirectory>,
}

/// Runs the machine that `options` describe. Returns the exit status of an hvt guest; an spt
/// guest takes the process over.
///
/// # Errors
/// The machine could not be started, or an hvt guest did what ends it.
pub(crate) fn run(options: RunOptions, status: &mut StatusPipe) -> Result<u8, Error> {
    if options.new_session {
        host::leave_session()?;
    }
    host::check_personality()?;
    let memory = memory_size(options.memory_mib)?;
    options.devices.descriptors().try_for_each(DescriptorNumber::check_open)?;
    let kvm = options.kvm.map(DescriptorNumber::take).transpose()?;
    let file = ImageFile::open(options.image)?;
    let image = Image::read(&file)?;
    let kind = refusal::kind(&image)?;
    let devices = Devices::attach(image.manifest(), options.devices)?;
    let cores = options.core_directory.as_deref().map(CoreDirectory::open).transpose()?;
    let machine = Machine {
        image,
        file,
        memory,
        executable_heap: false,
        devices,
        net_ring: options.net_ring,
        command_line: options.command_line,
        kvm,
        jail: options.jail,
        cores,
    };
    start(kind, machine, status)
}

/// Starts the machine. Returns as [`run`] does.
///
/// # Errors
/// As for [`run`].
pub(crate) fn start(kind: Kind, machine: Machine, status: &mut StatusPipe) -> Result<u8, Error> {
    match kind {
        Kind::Hvt => hvt::run(machine, status),
        Kind::Spt => match spt::run(machine, status)? {},
    }
}

/// Guest memory in bytes.
pub(crate) fn memory_size(mib: u64) -> Result<u64, Error> {
    let refused = |reason| Error::MemorySize { mib, reason };
    if mib == 0 {
        return Err(refused("at least 1 MiB is needed".into()));
    }
    let bytes = mib.checked_mul(MIB);
    let bytes = bytes.ok_or_else(|| refused("it is past the 64-bit address space".into()))?;
    let host = host::memory();
    if bytes > host {
        let rule = format!("this host has {} MiB, its swap space included", host / MIB);
        return Err(refused(rule.into()));
    }
    Ok(bytes)
}
