//! Machines with a virtual CPU of their own, on KVM (the Solo5 hvt ABI, section 3).
//!
//! [`vcpu`] is the machine as KVM knows it, [`calls`] what a guest can ask for, [`ring`] how it
//! hands over many frames at once, and this module the way from an image to an exit status.

mod calls;
mod core_file;
mod device;
mod exit;
mod filter;
mod io;
mod postmortem;
mod registers;
mod ring;
mod slot;
mod stack;
mod vcpu;

use std::ops::ControlFlow;
use std::os::fd::AsFd;

use vmm_tender_abi::hvt::{
    BOOT_INFO_ADDRESS, BOOT_INFO_SIZE, BootInfo, GDT, GDT_ADDRESS, MEMORY_MAX, MEMORY_UNIT,
    RING_MEMORY, page_table_words,
};
use vmm_tender_abi::hypercall::Halt;
use vmm_tender_abi::ring::KICK_PORT;
use vmm_tender_abi::{GuestAddress, Image};

use crate::core_directory::CoreDirectory;
use crate::devices::{Descriptors, Devices};
use crate::memory::{Execution, GuestMemory};
use crate::program::Program;
use crate::run::Machine;
use crate::status::StatusPipe;
use crate::{CommandLine, Error, console, jail, sys};

#[cfg(any(feature = "fuzzing", test))]
pub(crate) use calls::answer as answer_call;
use postmortem::Postmortem;
pub use postmortem::Trace;
pub use registers::Registers;
pub(crate) use ring::Ring;
use vcpu::{Event, Vcpu};

/// Runs the machine to its end and returns its exit status.
pub(crate) fn run(machine: Machine, status: &mut StatusPipe) -> Result<u8, Error> {
    let Machine {
        image,
        file,
        memory: size,
        // Whether the heap can be executed, an hvt guest decides.
        executable_heap: _,
        devices,
        net_ring,
        command_line,
        kvm,
        jail,
        cores,
    } = machine;
    let offered = net_ring && devices.nets().next().is_some();
    let (own, shared) = divide(round_memory(size)?, offered);
    let mut memory = GuestMemory::anywhere(own, shared)?;
    memory.load(&image, &file, Execution::Elsewhere)?;
    let postmortem = Postmortem::new(&image, file, cores);

    let mut vcpu = Vcpu::new(kvm, &memory, image.entry())?;
    store_tables(&mut memory)?;
    let mut ring = offered.then(|| Ring::new(&mut memory)).transpose()?;
    let manifest = image.manifest().encode(|it| devices.attachment(it, Descriptors::Hidden));
    let frequency = vcpu.frequency()?;
    store_boot_info(&mut memory, &image, &manifest, frequency, &command_line, ring.as_ref())?;
    jail::enter(jail, postmortem.cores().map(AsFd::as_fd))?;
    postmortem.cores().map_or(Ok(()), CoreDirectory::check)?;
    sys::ignore_file_size_signal().map_err(Error::host("ignore signals"))?;
    sys::exit_on_termination().map_err(Error::host("catch signals"))?;
    let filter = filter::build(vcpu.descriptor(), status.descriptor(), &devices, &postmortem)?;
    seccompiler::apply_filter(&filter)?;

    status.ready()?;
    match serve(&mut vcpu, &mut memory, &devices, ring.as_mut()) {
        Ok(halt) => {
            postmortem.of_halt(&halt, &vcpu, &memory)?;
            Ok(halt.status())
        }
        Err(error) if error.is_the_guests() => Err(postmortem.of_error(error, &vcpu, &memory)),
        Err(error) => Err(error),
    }
}

/// Does what the guest asks for until it halts.
fn serve(
    vcpu: &mut Vcpu,
    memory: &mut GuestMemory,
    devices: &Devices,
    mut ring: Option<&mut Ring>,
) -> Result<Halt, Error> {
    loop {
        let event = vcpu.run(memory)?;
        if let ControlFlow::Break(halt) = answer(event, memory, devices, ring.as_deref_mut())? {
            return Ok(halt);
        }
    }
}

fn answer(
    event: Event,
    memory: &mut GuestMemory,
    devices: &Devices,
    ring: Option<&mut Ring>,
) -> Result<ControlFlow<Halt>, Error> {
    match (event, ring) {
        (Event::Out { port: KICK_PORT, .. }, Some(ring)) => {
            ring.kicked(memory, devices).map(ControlFlow::Continue)
        }
        (Event::Out { port, value }, _) => {
            calls::answer(port, GuestAddress(value.into()), memory, devices)
        }
        (Event::InvalidPort(port), _) => Err(Error::GuestPort(port)),
        (Event::TranslationFault(rip), _) => Err(Error::TranslationFault(rip)),
    }
}

/// Rounds down to what page tables can express, and says so.
fn round_memory(bytes: u64) -> Result<u64, Error> {
    if bytes > MEMORY_MAX {
        let mib = bytes / (1024 * 1024);
        return Err(Error::MemorySize { mib, reason: "an hvt guest has at most 4096 MiB".into() });
    }
    let rounded = (bytes - bytes % MEMORY_UNIT).max(MEMORY_UNIT);
    if rounded != bytes {
        let line = format!("{}: adjusting memory to {rounded} bytes\n", Program::current().name());
        console::write_all(rustix::stdio::stderr(), line.as_bytes()).map_err(Error::Output)?;
    }
    Ok(rounded)
}

/// How much of `rounded` bytes and of what the network ring adds, if it is offered, is the guest's
/// own and how much is the ring's (the Solo5 hvt ABI, section 3.1).
fn divide(rounded: u64, ring: bool) -> (u64, u64) {
    let shared = if ring { RING_MEMORY } else { 0 };
    ((rounded + shared).min(MEMORY_MAX) - shared, shared)
}

fn store_tables(memory: &mut GuestMemory) -> Result<(), Error> {
    for (at, word) in page_table_words(memory.end()) {
        memory.store(at, &word.to_le_bytes())?;
    }
    for (at, word) in (GDT_ADDRESS..).step_by(8).zip(GDT) {
        memory.store(GuestAddress(at), &word.to_le_bytes())?;
    }
    Ok(())
}

fn store_boot_info(
    memory: &mut GuestMemory,
    image: &Image,
    manifest: &[u8],
    cpu_cycle_freq: u64,
    command_line: &CommandLine,
    ring: Option<&Ring>,
) -> Result<(), Error> {
    let manifest_address = BOOT_INFO_ADDRESS + BOOT_INFO_SIZE as u64;
    let command_line_address = manifest_address + manifest.len() as u64;
    let info = BootInfo {
        mem_size: memory.size(),
        kernel_end: image.kernel_end(),
        cpu_cycle_freq,
        command_line: command_line_address,
        manifest: manifest_address,
        net_ring: ring.map(|ring| ring.address().0),
    };
    memory.store(GuestAddress(BOOT_INFO_ADDRESS), &info.encode())?;
    memory.store(GuestAddress(manifest_address), manifest)?;
    memory.store(GuestAddress(command_line_address), &command_line.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn memory_is_rounded_down_to_2_mib_and_at_least_that() {
        for (asked, given) in [(1, 2), (2, 2), (3, 2), (5, 4), (512, 512), (4096, 4096)] {
            assert_eq!(round_memory(asked * MIB).unwrap(), given * MIB);
        }
    }

    #[test]
    fn the_network_ring_has_memory_of_its_own_up_to_4_gib() {
        assert_eq!(divide(64 * MIB, false), (64 * MIB, 0));
        assert_eq!(divide(64 * MIB, true), (64 * MIB, 2 * MIB));
        assert_eq!(divide(4096 * MIB, true), (4094 * MIB, 2 * MIB));
        assert_eq!(divide(4096 * MIB, false), (4096 * MIB, 0));
    }

    #[test]
    fn more_memory_than_page_tables_express_is_refused() {
        let error = round_memory(4097 * MIB).unwrap_err();
        assert_eq!(
            error.to_string(),
            "guest memory of 4097 MiB is not possible: an hvt guest has at most 4096 MiB"
        );
    }
}
