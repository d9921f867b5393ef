//! What a guest can ask of its tender (the Solo5 hvt ABI, section 3.8).
//!
//! Inputs are copied out of guest memory once, before they are looked at; outputs go to pages
//! that the guest itself may write, or the guest is ended.

use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{Timespec, poll};
use rustix::io::Errno;
use rustix::stdio::stdout;
use vmm_tender_abi::GuestAddress;
use vmm_tender_abi::hypercall::{Halt, Hypercall, InvalidPort, Poll, Puts, WallTime};

use crate::memory::GuestMemory;
use crate::{Error, console};

/// Does what the guest asks for by writing the address of a `structure` to `port`.
pub(super) fn answer(
    port: u16,
    structure: GuestAddress,
    memory: &mut GuestMemory,
) -> Result<ControlFlow<u8>, Error> {
    let call = Hypercall::from_port(port).map_err(|invalid| match invalid {
        InvalidPort::NoHypercall => Error::GuestPort(port),
        InvalidPort::NoHandler(number) => Error::GuestHypercall(number),
    })?;
    match call {
        Hypercall::WallTime => wall_time(structure, memory)?,
        Hypercall::Puts => puts(structure, memory)?,
        Hypercall::Poll => poll_devices(structure, memory)?,
        Hypercall::Halt => return halt(structure, memory).map(ControlFlow::Break),
        // A machine without such devices has no such calls.
        Hypercall::BlockWrite | Hypercall::BlockRead | Hypercall::NetWrite | Hypercall::NetRead => {
            return Err(Error::GuestHypercall(call as u16));
        }
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

/// There are no devices to become ready: only the timeout ends it.
fn poll_devices(structure: GuestAddress, memory: &mut GuestMemory) -> Result<(), Error> {
    let Poll { timeout } = Poll::decode(&memory.structure(structure)?);
    // Checked before the wait, so that a broken guest ends now and not later.
    let reply_at = reply_address(structure, Poll::REPLY_AT)?;
    memory.buffer_mut(reply_at, Poll::REPLY_SIZE as u64)?;
    wait(timeout)?;
    let out = memory.buffer_mut(reply_at, Poll::REPLY_SIZE as u64)?;
    out.copy_from_slice(&Poll::encode_reply(0));
    Ok(())
}

fn halt(structure: GuestAddress, memory: &GuestMemory) -> Result<u8, Error> {
    let halt = Halt::decode(&memory.structure(structure)?);
    if halt.cookie != GuestAddress(0) {
        memory.buffer(halt.cookie, Halt::COOKIE_SIZE)?;
    }
    Ok(halt.status())
}

fn reply_address(structure: GuestAddress, offset: u64) -> Result<GuestAddress, Error> {
    structure.checked_add(offset).ok_or(Error::GuestAccess { address: structure, len: offset })
}

/// Waits for `timeout` nanoseconds, however often signals interrupt it.
fn wait(timeout: u64) -> Result<(), Error> {
    let start = Instant::now();
    let timeout = Duration::from_nanos(timeout);
    let mut left = timeout;
    loop {
        match poll(&mut [], Some(&timespec(left))) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => left = timeout.saturating_sub(start.elapsed()),
            Err(error) => return Err(Error::Host { what: "wait", error }),
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    // The longest timeout of the ABI is 584 years, which is far from the limit.
    Timespec {
        tv_sec: duration.as_secs().cast_signed(),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 0x20_0000;
    const AT: GuestAddress = GuestAddress(0x18_0000);

    fn call(number: u16, words: &[u64]) -> (Result<ControlFlow<u8>, Error>, GuestMemory) {
        let mut memory = GuestMemory::anywhere(SIZE).unwrap();
        for (index, word) in (0..).zip(words) {
            memory.store(GuestAddress(AT.0 + 8 * index), &word.to_le_bytes()).unwrap();
        }
        (answer(0x500 + number, AT, &mut memory), memory)
    }

    #[test]
    fn poll_waits_as_long_as_it_is_told_and_finds_nothing() {
        let before = Instant::now();
        let (result, memory) = call(3, &[20_000_000, u64::MAX, u64::MAX]);
        assert!(matches!(result, Ok(ControlFlow::Continue(()))));
        assert!(before.elapsed() >= Duration::from_millis(20));
        let reply: [u8; 24] = memory.structure(AT).unwrap();
        assert_eq!(reply[8..20], [0; 12]);
        assert_eq!(reply[20..], [0xFF; 4]);
    }

    #[test]
    fn halt_wants_a_cookie_in_memory_or_none() {
        assert!(matches!(call(8, &[0, 263]).0, Ok(ControlFlow::Break(7))));
        assert!(matches!(call(8, &[SIZE - 513, 1]).0, Ok(ControlFlow::Break(1))));
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

    #[test]
    fn the_longest_timeout_is_a_valid_one() {
        let longest = timespec(Duration::from_nanos(u64::MAX));
        assert!(longest.tv_sec > 0 && (0..1_000_000_000).contains(&longest.tv_nsec));
    }
}
