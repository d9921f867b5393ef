//! What a guest can ask of its tender (the Solo5 hvt ABI, section 3.8).
//!
//! Inputs are copied out of guest memory once, before they are looked at; outputs go to pages
//! that the guest itself may write, or the guest is ended.

use std::ops::ControlFlow;
use std::time::SystemTime;

use rustix::stdio::stdout;
use vmm_tender_abi::GuestAddress;
use vmm_tender_abi::hypercall::{Halt, Hypercall, InvalidPort, Puts, WallTime};

use super::io;
use crate::devices::Devices;
use crate::memory::GuestMemory;
use crate::{Error, console};

/// Does what the guest asks for by writing the address of a `structure` to `port`.
pub(crate) fn answer(
    port: u16,
    structure: GuestAddress,
    memory: &mut GuestMemory,
    devices: &Devices,
) -> Result<ControlFlow<Halt>, Error> {
    let call = Hypercall::from_port(port).map_err(|invalid| match invalid {
        InvalidPort::NoHypercall => Error::GuestPort(port),
        InvalidPort::NoHandler(number) => Error::GuestHypercall(number),
    })?;
    let has_net = || devices.nets().next().is_some();
    let has_disk = || devices.disks().next().is_some();
    match call {
        Hypercall::WallTime => wall_time(structure, memory)?,
        Hypercall::Puts => puts(structure, memory)?,
        Hypercall::Poll => io::wait(structure, memory, devices)?,
        Hypercall::BlockWrite if has_disk() => io::block_write(structure, memory, devices)?,
        Hypercall::BlockRead if has_disk() => io::block_read(structure, memory, devices)?,
        Hypercall::NetWrite if has_net() => io::net_write(structure, memory, devices)?,
        Hypercall::NetRead if has_net() => io::net_read(structure, memory, devices)?,
        // A machine without such devices has no such calls.
        Hypercall::BlockWrite | Hypercall::BlockRead | Hypercall::NetWrite | Hypercall::NetRead => {
            return Err(Error::GuestHypercall(call as u16));
        }
        Hypercall::Halt => return halt(structure, memory).map(ControlFlow::Break),
    }
    Ok(ControlFlow::Continue(()))
}

fn wall_time(structure: GuestAddress, memory: &mut GuestMemory) -> Result<(), Error> {
    let out = memory.buffer_mut(structure, WallTime::SIZE as u64)?;
    // A clock before 1970 is as good as none.
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let nanoseconds = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    out.copy_from_slice(&WallTime::encode(nanoseconds));
    Ok(())
}

fn puts(structure: GuestAddress, memory: &GuestMemory) -> Result<(), Error> {
    let Puts { data, len } = Puts::decode(&memory.structure(structure)?);
    console::write_all(stdout(), memory.buffer(data, len)?).map_err(Error::Output)
}

fn halt(structure: GuestAddress, memory: &GuestMemory) -> Result<Halt, Error> {
    let halt = Halt::decode(&memory.structure(structure)?);
    if halt.cookie != GuestAddress(0) {
        memory.buffer(halt.cookie, Halt::COOKIE_SIZE)?;
    }
    Ok(halt)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 0x20_0000;
    const AT: GuestAddress = GuestAddress(0x18_0000);

    fn call(number: u16, words: &[u64]) -> (Result<ControlFlow<Halt>, Error>, GuestMemory) {
        let mut memory = GuestMemory::anywhere(SIZE, 0).unwrap();
        for (index, word) in (0..).zip(words) {
            memory.store(GuestAddress(AT.0 + 8 * index), &word.to_le_bytes()).unwrap();
        }
        (answer(0x500 + number, AT, &mut memory, &Devices::none()), memory)
    }

    #[test]
    fn halt_wants_a_cookie_in_memory_or_none() {
        let status = |words: &[u64]| call(8, words).0.map(|flow| flow.map_break(|it| it.status()));
        assert!(matches!(status(&[0, 263]), Ok(ControlFlow::Break(7))));
        assert!(matches!(status(&[SIZE - 513, 1]), Ok(ControlFlow::Break(1))));
        assert!(matches!(call(8, &[SIZE - 512, 1]).0, Err(Error::GuestAccess { len: 512, .. })));
    }

    #[test]
    fn calls_that_do_not_exist_end_the_guest() {
        for number in [0, 4, 5, 6, 7] {
            let expected = format!("Invalid guest hypercall: num={number}");
            assert_eq!(call(number, &[]).0.unwrap_err().to_string(), expected);
        }
        let error = call(9, &[]).0.unwrap_err();
        assert_eq!(error.to_string(), "Invalid guest port access: port=0x509");
    }
}
