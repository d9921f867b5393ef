//! How bytes get from a machine's console into its ring exactly once, whenever this process is
//! killed.
//!
//! ```text
//!   console ──splice──▶ stage ──tee──▶ scratch ──splice──▶ ring
//!    (FIFO)             (FIFO)         (pipe)              (file)
//! ```
//!
//! Only the machine puts anything into `console`, only this process takes anything out, and what
//! it takes is in `stage` by the same system call. Both outlive this process, because the machine
//! has them open (and the console daemon, if the machine ends as well). So nothing is lost. That
//! nothing comes twice is what `rest` beside the ring's counters is for. A turn is
//!
//! 1. `stage` is empty, `rest` is 0;
//! 2. bytes are moved from `console` into `stage`: none of them is in the ring;
//! 3. they are copied into the ring behind `written`, where nobody looks yet;
//! 4. one write sets `written` behind them and `rest` to 1 and what is left of `stage` then: they
//!    are in the ring;
//! 5. they are dropped from `stage`;
//! 6. `rest` is 0 again.
//!
//! A new process sees in `rest` and in how much is in `stage` which of these was the last, and
//! takes up the next: with `rest` 0 at 3, else at 5.
//!
//! A machine that was taken over by its guest has both FIFOs open and can read them, fill them and
//! make them larger. Everything here then still ends: nothing blocks, and each step moves at most
//! what it was told. The numbers may be wrong, but it is that machine's output alone that suffers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, ioctl_fionread, read};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice, tee};

use crate::failpoint;
use crate::ring::Ring;

/// Bytes that are copied into the ring at once: what a pipe usually holds.
pub const TURN_MAX: usize = 64 << 10;

/// Rounds that one settling takes at most. A pipe holds at most a mebibyte.
const ROUNDS_MAX: usize = (1 << 20) / 4096 + 1;

/// What the bytes of all machines go through.
#[derive(Debug)]
pub struct Scratch {
    in_end: OwnedFd,
    out_end: OwnedFd,
    nowhere: OwnedFd,
}

/// The two FIFOs of one machine.
#[derive(Debug)]
pub struct Stage {
    console: OwnedFd,
    taken: OwnedFd,
    /// Bytes in `taken`.
    staged: u64,
}

impl Scratch {
    /// An empty one.
    ///
    /// # Errors
    /// No descriptors.
    pub fn new() -> Result<Self, Errno> {
        let (out_end, in_end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let nowhere = open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { in_end, out_end, nowhere })
    }

    /// Drops up to so many bytes of a pipe; returns how many there were.
    fn drop_from(&self, pipe: BorrowedFd<'_>, bytes: u64) -> Result<u64, Errno> {
        let mut left = bytes;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(TURN_MAX).min(TURN_MAX);
            match splice(pipe, None, &self.nowhere, None, length, SpliceFlags::NONBLOCK) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(count) => left = left.saturating_sub(count as u64),
                Err(Errno::INTR) => {}
                // Some file systems that hold /dev cannot do that.
                Err(Errno::INVAL) => {
                    let mut bytes = [0; 4096];
                    let length = length.min(bytes.len());
                    match read(pipe, &mut bytes[..length]) {
                        Ok(0) | Err(Errno::AGAIN) => break,
                        Ok(count) => left = left.saturating_sub(count as u64),
                        Err(Errno::INTR) => {}
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(bytes - left)
    }
}

impl Stage {
    /// Goes on with what is in the FIFOs.
    ///
    /// # Errors
    /// The kernel does not tell how much that is.
    pub fn go_on(console: OwnedFd, stage: OwnedFd) -> Result<Self, Errno> {
        let staged = ioctl_fionread(&stage)?;
        Ok(Self { console, taken: stage, staged })
    }

    /// How many bytes are not in the ring, by what is known of the ring.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn waiting(&self, ring: &Ring) -> Result<u64, Errno> {
        let staged = match ring.rest() {
            0 => self.staged,
            rest => self.staged.min(rest - 1),
        };
        Ok(staged + ioctl_fionread(&self.console)?)
    }

    /// Moves up to `limit` bytes of the console into the ring; returns how many it took, 0 when
    /// there were none.
    ///
    /// # Errors
    /// There is no room for the ring: what was taken waits, and is before everything else the next
    /// time.
    pub fn pump(
        &mut self,
        limit: usize,
        ring: &mut Ring,
        scratch: &Scratch,
    ) -> Result<usize, Errno> {
        self.settle(ring, scratch)?;
        let taken = match splice(
            &self.console,
            None,
            &self.taken,
            None,
            limit.min(TURN_MAX),
            SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
        ) {
            Ok(taken) => taken,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(error) => return Err(error),
        };
        if taken > 0 {
            self.staged += taken as u64;
            failpoint::reach("pump-taken");
            self.settle(ring, scratch)?;
        }
        Ok(taken)
    }

    /// Brings everything that is in the stage into the ring.
    ///
    /// # Errors
    /// There is no room for the ring: it is tried again the next time.
    pub fn settle(&mut self, ring: &mut Ring, scratch: &Scratch) -> Result<(), Errno> {
        for _ in 0..ROUNDS_MAX {
            if ring.rest() > 0 {
                let done = self.staged.saturating_sub(ring.rest() - 1);
                let dropped = scratch.drop_from(self.taken.as_fd(), done)?;
                // If there was less, somebody else has taken it.
                self.staged = if dropped < done { 0 } else { self.staged - done };
                failpoint::reach("pump-dropped");
                ring.clear_rest()?;
                failpoint::reach("pump-cleared");
            }
            if self.staged == 0 {
                return Ok(());
            }
            let copied = match tee(&self.taken, &scratch.in_end, TURN_MAX, SpliceFlags::NONBLOCK) {
                Ok(copied) => copied as u64,
                Err(Errno::AGAIN | Errno::INTR) => 0,
                Err(error) => return Err(error),
            };
            if copied == 0 {
                // Somebody else has taken it.
                self.staged = 0;
                return Ok(());
            }
            failpoint::reach("pump-copied");
            self.staged = self.staged.max(copied);
            if let Err(error) = ring.append(&scratch.out_end, copied, self.staged - copied) {
                scratch.drop_from(scratch.out_end.as_fd(), copied)?;
                return Err(error);
            }
        }
        Ok(())
    }
}

impl AsFd for Stage {
    /// The console: readable when there is something to pump.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.console.as_fd()
    }
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
