//! Machines with a virtual CPU of their own, on KVM (the Solo5 hvt ABI, section 3).
//!
//! [`vcpu`] is the machine as KVM knows it, [`calls`] what a guest can ask for, and this module
//! the way from an image to an exit status.

mod calls;
mod filter;
mod io;
mod registers;
mod slot;
mod vcpu;

use std::ops::ControlFlow;

use vmm_tender_abi::hvt::{
    BOOT_INFO_ADDRESS, BOOT_INFO_SIZE, BootInfo, GDT, GDT_ADDRESS, MEMORY_MAX, MEMORY_UNIT,
    page_table_words,
};
use vmm_tender_abi::{GuestAddress, Image};

use crate::devices::{Descriptors, Devices};
use crate::memory::{Execution, GuestMemory};
use crate::program::Program;
use crate::run::Machine;
use crate::status::StatusPipe;
use crate::{CommandLine, Error, console, jail, sys};

#[cfg(any(feature = "fuzzing", test))]
pub(crate) use calls::answer as answer_call;
pub use registers::Registers;
use vcpu::{Event, Vcpu};

/// Runs the machine to its end and returns its exit status.
pub(crate) fn run(machine: Machine, status: &mut StatusPipe) -> Result<u8, Error> {
    // Whether the heap can be executed, an hvt guest decides.
    let Machine { image, file, memory: size, executable_heap: _, devices, command_line, jail } =
        machine;
    let mut memory = GuestMemory::anywhere(round_memory(size)?)?;
    memory.load(&image, &file, Execution::Elsewhere)?;
    drop(file);

    let mut vcpu = Vcpu::new(&memory, image.entry())?;
    store_tables(&mut memory)?;
    let manifest = image.manifest().encode(|it| devices.attachment(it, Descriptors::Hidden));
    store_boot_info(&mut memory, &image, &manifest, vcpu.frequency()?, &command_line)?;
    jail::enter(jail, None)?;
    sys::exit_on_termination().map_err(Error::host("catch signals"))?;
    let filter = filter::build(vcpu.descriptor(), status.descriptor(), &devices)?;
    seccompiler::apply_filter(&filter)?;

    status.ready()?;
    loop {
        let event = vcpu.run(&mut memory)?;
        if let ControlFlow::Break(status) = answer(event, &mut memory, &devices)? {
            return Ok(status);
        }
    }
}

fn answer(
    event: Event,
    memory: &mut GuestMemory,
    devices: &Devices,
) -> Result<ControlFlow<u8>, Error> {
    match event {
        Event::Out { port, value } => {
            calls::answer(port, GuestAddress(value.into()), memory, devices)
        }
        Event::InvalidPort(port) => Err(Error::GuestPort(port)),
        Event::TranslationFault(registers) => Err(Error::TranslationFault(registers)),
    }
}

/// Rounds down to what page tables can express, and says so.
fn round_memory(bytes: u64) -> Result<u64, Error> {
    if bytes > MEMORY_MAX {
        let mib = bytes / (1024 * 1024);
        return Err(Error::MemorySize { mib, reason: "an hvt guest has at most 4096 MiB" });
    }
    let rounded = (bytes - bytes % MEMORY_UNIT).max(MEMORY_UNIT);
    if rounded != bytes {
        let line = format!("{}: adjusting memory to {rounded} bytes\n", Program::current().name());
        console::write_all(rustix::stdio::stderr(), line.as_bytes()).map_err(Error::Output)?;
    }
    Ok(rounded)
}

fn store_tables(memory: &mut GuestMemory) -> Result<(), Error> {
    for (at, word) in page_table_words(memory.size()) {
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
) -> Result<(), Error> {
    let manifest_address = BOOT_INFO_ADDRESS + BOOT_INFO_SIZE as u64;
    let command_line_address = manifest_address + manifest.len() as u64;
    let info = BootInfo {
        mem_size: memory.size(),
        kernel_end: image.kernel_end(),
        cpu_cycle_freq,
        command_line: command_line_address,
        manifest: manifest_address,
        net_ring: None,
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
        let error = round_memory(4097 * MIB).unwrap_err();
        assert_eq!(
            error.to_string(),
            "guest memory of 4097 MiB is not possible: an hvt guest has at most 4096 MiB"
        );
    }
}
