//! The writer's side of a console ring; [`vmm_proto::ring`] has the layout.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, pread, write};
use rustix::pipe::{SpliceFlags, splice};
use vmm_proto::ring::{self, CAPACITY, CLAIMED, REST, WRITTEN, encode_counter};

use crate::descriptors::kept;
use crate::failpoint;
use crate::state::place::write_at;

/// What a machine has written to its console: the newest bytes, and how many there were in all.
#[derive(Debug)]
pub struct Ring {
    file: OwnedFd,
    /// Shared with the packets that carry it and wait to be sent.
    grown: Rc<OwnedFd>,
    claimed: u64,
    written: u64,
    rest: u64,
}

impl Ring {
    /// Goes on with the ring in a file of the right size; `None` when its counters make no sense.
    ///
    /// # Errors
    /// It cannot be read, or there are no descriptors.
    pub fn go_on(file: OwnedFd) -> Result<Option<Self>, Errno> {
        let mut counters = [0; 3];
        for (counter, offset) in counters.iter_mut().zip([CLAIMED, WRITTEN, REST]) {
            let mut bytes = [0; 16];
            let stored = match pread(&file, &mut bytes, offset)? {
                16 => ring::decode_counter(bytes),
                _ => None,
            };
            let Some(stored) = stored else { return Ok(None) };
            *counter = stored;
        }
        let [claimed, written, rest] = counters;
        if claimed < written || claimed - written > CAPACITY {
            return Ok(None);
        }
        let grown = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let grown = Rc::new(kept(grown));
        Ok(Some(Self { file, grown, claimed, written, rest }))
    }

    /// What becomes readable when the ring has grown.
    pub fn grown(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.grown)
    }

    /// How many bytes were ever written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Which of the bytes that wait beside it are in it ([`ring::REST`]).
    pub fn rest(&self) -> u64 {
        self.rest
    }

    /// Appends `length` bytes (at most [`CAPACITY`]) of a pipe, and notes by the same write that of
    /// the bytes that wait beside it, `rest` are not in it. Then tells the reader.
    ///
    /// # Errors
    /// There is no room in memory or on disk. The ring is then as it was, but the pipe is not.
    pub fn append(&mut self, pipe: impl AsFd, length: u64, rest: u64) -> Result<(), Errno> {
        let end = self.written + length;
        // What was claimed before and not written is claimed still.
        if end > self.claimed && end > CAPACITY {
            self.claimed = end;
            write_at(&self.file, &encode_counter(end), CLAIMED)?;
            failpoint::reach("pump-claimed");
        }
        for (offset, length) in ring::pieces(self.written, length) {
            self.store(&pipe, offset, length)?;
        }
        failpoint::reach("pump-stored");
        // One write within one page: whoever looks after this process has died sees both or none.
        self.claimed = self.claimed.max(end);
        let counters = [self.claimed, end, rest + 1].map(encode_counter);
        write_at(&self.file, counters.as_flattened(), CLAIMED)?;
        (self.written, self.rest) = (end, rest + 1);
        failpoint::reach("pump-counted");
        self.tell()
    }

    /// Notes that nothing of what waits beside it is in it.
    ///
    /// # Errors
    /// None but of a damaged file system.
    pub fn clear_rest(&mut self) -> Result<(), Errno> {
        write_at(&self.file, &encode_counter(0), REST)?;
        self.rest = 0;
        Ok(())
    }

    /// Copies from a pipe to a place in the file.
    fn store(&self, pipe: impl AsFd, mut offset: u64, length: u64) -> Result<(), Errno> {
        let mut left = usize::try_from(length).unwrap_or(usize::MAX);
        while left > 0 {
            match splice(&pipe, None, &self.file, Some(&mut offset), left, SpliceFlags::NONBLOCK) {
                Ok(0) => return Err(Errno::IO),
                Ok(count) => left -= count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells the reader to look.
    ///
    /// # Errors
    /// None that can be helped.
    pub fn tell(&self) -> Result<(), Errno> {
        match write(&*self.grown, &1u64.to_ne_bytes()) {
            // At its limit it is readable, which is all it has to say.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
