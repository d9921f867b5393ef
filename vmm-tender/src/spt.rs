//! Machines that are this very process, under a filter of system calls (the Solo5 spt ABI,
//! section 4).

mod enter;
mod filter;
mod termination;

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
use vmm_tender_abi::spt::{BOOT_INFO_ADDRESS, BOOT_INFO_SIZE, BootInfo, MEMORY_FLOOR, TIMER_EVENT};
use vmm_tender_abi::{GuestAddress, Image};

use crate::core_directory::CoreDirectory;
use crate::devices::{Descriptors, Devices};
use crate::jail::Jail;
use crate::memory::{Execution, GuestMemory};
use crate::run::Machine;
use crate::status::StatusPipe;
use crate::{CommandLine, Error, jail, sys};

/// What the guest uses to wait.
struct Waiting {
    epoll: OwnedFd,
    timer: OwnedFd,
}

/// Becomes the machine.
pub(crate) fn run(machine: Machine, status: &mut StatusPipe) -> Result<Infallible, Error> {
    let Machine {
        image,
        file,
        memory: size,
        executable_heap,
        devices,
        // Its guest hands frames to the kernel itself: there is nothing that a ring could save.
        net_ring: _,
        command_line,
        kvm,
        jail,
        cores,
    } = machine;
    // This machine is none of KVM's. As this function does not return, it has to go now.
    drop(kvm);
    check_room(size)?;
    let mut memory = GuestMemory::in_place(MEMORY_FLOOR, size, executable_heap)?;
    memory.load(&image, &file, Execution::Here)?;
    drop(file);

    let waiting = Waiting::new(&devices)?;
    let manifest = image.manifest().encode(|it| devices.attachment(it, Descriptors::Shown));
    store_boot_info(&mut memory, &image, &manifest, &waiting, &command_line)?;
    let filter = filter::build(&waiting, &devices)?;
    confine(jail, cores.as_ref())?;

    // The filter permits no other descriptor than the guest's, and a broken pipe ends a process
    // whose signals are restored: so the status comes before both. What follows it fails only
    // if the kernel has no memory left.
    status.ready()?;
    sys::restore_signals().map_err(Error::host("restore signals"))?;
    termination::heed().map_err(Error::host("catch signals"))?;
    seccompiler::apply_filter(&filter)?;
    enter::enter(&memory, image.entry(), BOOT_INFO_ADDRESS)
}

/// The kernel writes the core file of a process, on its behalf and into its working directory.
fn confine(jail: Jail, cores: Option<&CoreDirectory>) -> Result<(), Error> {
    let Some(cores) = cores else { return jail::enter(jail, None) };
    cores.prepare_kernel()?;
    jail::enter(Jail { dumpable: true, ..jail }, Some(cores.as_fd()))?;
    cores.check()
}

/// Guest memory begins near address 0 and has to end below all of this process's own.
fn check_room(size: u64) -> Result<(), Error> {
    let own_code = check_room as *const () as usize as u64;
    if size > own_code {
        let mib = size / (1024 * 1024);
        return Err(Error::MemorySize { mib, reason: "the tender itself is in its way".into() });
    }
    Ok(())
}

impl Waiting {
    fn new(devices: &Devices) -> Result<Self, Error> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(Error::host("create an epoll set"))?;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)
            .map_err(Error::host("create a timer"))?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER_EVENT), EventFlags::IN)
            .map_err(Error::host("watch the timer"))?;
        for (handle, tap) in devices.nets() {
            epoll::add(&epoll, tap, EventData::new_u64(handle), EventFlags::IN)
                .map_err(Error::host("watch a network interface"))?;
        }
        Ok(Self { epoll, timer })
    }
}

fn store_boot_info(
    memory: &mut GuestMemory,
    image: &Image,
    manifest: &[u8],
    waiting: &Waiting,
    command_line: &CommandLine,
) -> Result<(), Error> {
    let manifest_address = BOOT_INFO_ADDRESS + BOOT_INFO_SIZE as u64;
    let command_line_address = manifest_address + manifest.len() as u64;
    let info = BootInfo {
        mem_size: memory.size(),
        kernel_end: image.kernel_end(),
        command_line: command_line_address,
        manifest: manifest_address,
        epoll_fd: waiting.epoll.as_fd().as_raw_fd(),
        timer_fd: waiting.timer.as_fd().as_raw_fd(),
    };
    memory.store(GuestAddress(BOOT_INFO_ADDRESS), &info.encode())?;
    memory.store(GuestAddress(manifest_address), manifest)?;
    memory.store(GuestAddress(command_line_address), &command_line.encode())
}
