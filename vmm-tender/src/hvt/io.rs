//! What a guest asks of its devices (the Solo5 hvt ABI, section 3.8).
//!
//! Whether a result can be stored is found out before anything is done to a device. What the
//! guest gets wrong about a device is a result code; what it gets wrong about its memory ends it.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use vmm_tender_abi::GuestAddress;
use vmm_tender_abi::hypercall::{Block, CallResult, Net, Poll};

use crate::Error;
use crate::devices::Devices;
use crate::memory::GuestMemory;

const RESULT_SIZE: u64 = 4;

pub(super) fn block_write(
    structure: GuestAddress,
    memory: &mut GuestMemory,
    devices: &Devices,
) -> Result<(), Error> {
    let Block { handle, offset, data, len } = Block::decode(&memory.structure(structure)?);
    let reply = reply_at(structure, Block::RESULT_AT, RESULT_SIZE, memory)?;
    let result = match devices.disk(handle) {
        Some(disk) if disk.has(offset, len) => disk.write(offset, memory.buffer(data, len)?),
        _ => CallResult::InvalidArgument,
    };
    memory.store(reply, &result.encode())
}

pub(super) fn block_read(
    structure: GuestAddress,
    memory: &mut GuestMemory,
    devices: &Devices,
) -> Result<(), Error> {
    let Block { handle, offset, data, len } = Block::decode(&memory.structure(structure)?);
    let reply = reply_at(structure, Block::RESULT_AT, RESULT_SIZE, memory)?;
    let result = match devices.disk(handle) {
        Some(disk) if disk.has(offset, len) => disk.read(offset, memory.buffer_mut(data, len)?),
        _ => CallResult::InvalidArgument,
    };
    memory.store(reply, &result.encode())
}

pub(super) fn net_write(
    structure: GuestAddress,
    memory: &mut GuestMemory,
    devices: &Devices,
) -> Result<(), Error> {
    let Net { handle, data, len } = Net::decode(&memory.structure(structure)?);
    let reply = reply_at(structure, Net::RESULT_AT, RESULT_SIZE, memory)?;
    let result = match devices.net(handle) {
        Some(tap) => tap.send(memory.buffer(data, len)?),
        None => CallResult::InvalidArgument,
    };
    memory.store(reply, &result.encode())
}

pub(super) fn net_read(
    structure: GuestAddress,
    memory: &mut GuestMemory,
    devices: &Devices,
) -> Result<(), Error> {
    let Net { handle, data, len } = Net::decode(&memory.structure(structure)?);
    let outputs = Net::RESULT_AT - Net::LEN_AT + RESULT_SIZE;
    let len_at = reply_at(structure, Net::LEN_AT, outputs, memory)?;
    let reply = reply_at(structure, Net::RESULT_AT, RESULT_SIZE, memory)?;
    let result = match devices.net(handle) {
        Some(tap) => tap.receive(memory.buffer_mut(data, len)?),
        None => Err(CallResult::InvalidArgument),
    };
    match result {
        Ok(received) => {
            memory.store(len_at, &(received as u64).to_le_bytes())?;
            memory.store(reply, &CallResult::Ok.encode())
        }
        Err(result) => memory.store(reply, &result.encode()),
    }
}

/// Waits until a frame can be read or the timeout is over.
pub(super) fn wait(
    structure: GuestAddress,
    memory: &mut GuestMemory,
    devices: &Devices,
) -> Result<(), Error> {
    let Poll { timeout } = Poll::decode(&memory.structure(structure)?);
    let reply = reply_at(structure, Poll::REPLY_AT, Poll::REPLY_SIZE as u64, memory)?;
    let ready = wait_for_frames(devices, Duration::from_nanos(timeout))?;
    memory.store(reply, &Poll::encode_reply(ready))
}

/// The set of handles with something to read: their numbers as bits.
fn wait_for_frames(devices: &Devices, timeout: Duration) -> Result<u64, Error> {
    let start = Instant::now();
    let mut taps: Vec<_> = devices.nets().map(|(_, tap)| PollFd::new(tap, PollFlags::IN)).collect();
    let mut left = timeout;
    loop {
        match poll(&mut taps, Some(&timespec(left))) {
            Ok(_) => break,
            Err(Errno::INTR) => left = timeout.saturating_sub(start.elapsed()),
            Err(error) => return Err(Error::Host { what: "wait", error }),
        }
    }
    // Also what has failed: the guest learns it when it reads.
    let ready = devices.nets().zip(&taps).filter(|(_, tap)| !tap.revents().is_empty());
    Ok(ready.fold(0, |set, ((handle, _), _)| set | 1 << handle))
}

fn timespec(duration: Duration) -> Timespec {
    // The longest timeout of the ABI is 584 years, which is far from the limit.
    Timespec {
        tv_sec: duration.as_secs().cast_signed(),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// The address of the `len` bytes of output at `offset` of a structure, which the guest may
/// write.
fn reply_at(
    structure: GuestAddress,
    offset: u64,
    len: u64,
    memory: &mut GuestMemory,
) -> Result<GuestAddress, Error> {
    let address = structure
        .checked_add(offset)
        .ok_or(Error::GuestAccess { address: structure, len: offset })?;
    memory.buffer_mut(address, len)?;
    Ok(address)
}

#[cfg(test)]
#[path = "io_tests.rs"]
mod tests;
