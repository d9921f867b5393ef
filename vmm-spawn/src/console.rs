//! The console pipe of a running machine: copied into its ring, at a bounded rate.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::{Errno, read};
use rustix::pipe::fcntl_getpipe_size;
use tracing::error;
use vmm_proto::id::MachineId;

use crate::rate::Bucket;
use crate::ring::Ring;

/// Bytes that are read at once, and that must be allowed again before a machine that wrote too
/// much is read from again: what a pipe usually holds. One such read per turn of the loop is each
/// machine's share of it.
pub const READ_MAX: usize = 64 << 10;

/// How long a console is left alone when there is no memory for its ring.
const NO_MEMORY_PAUSE: Duration = Duration::from_secs(1);

/// The read end of a console pipe.
#[derive(Debug)]
pub struct Console {
    pipe: OwnedFd,
    bucket: Bucket,
}

/// What comes after a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Read again when there is something.
    Wait,
    /// Do not look at the pipe before then: the machine waits when it is full.
    Pause(Instant),
    /// Nothing will ever come.
    End,
}

impl Console {
    /// Reads from `pipe`, which must not block.
    pub fn new(pipe: OwnedFd, now: Instant) -> Self {
        Self { pipe, bucket: Bucket::full(now) }
    }

    /// Copies one read's worth into the ring.
    pub fn pump(&mut self, now: Instant, id: MachineId, ring: &mut Ring, buf: &mut [u8]) -> Next {
        let available = usize::try_from(self.bucket.available(now)).unwrap_or(usize::MAX);
        if available == 0 {
            return Next::Pause(self.bucket.ready_at(READ_MAX as u64));
        }
        if ring.unwritten() > 0 && ring.append(&[]).is_err() {
            return Next::Pause(now + NO_MEMORY_PAUSE);
        }
        let limit = buf.len().min(READ_MAX).min(available);
        let count = match read(&self.pipe, &mut buf[..limit]) {
            Ok(0) => return Next::End,
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Next::Wait,
            Err(error) => {
                error!(%id, "cannot read its console: {error}");
                return Next::End;
            }
        };
        self.bucket.take(count as u64);
        if let Err(error) = ring.append(&buf[..count]) {
            error!(%id, "cannot keep its console output: {error}; trying again later");
            return Next::Pause(now + NO_MEMORY_PAUSE);
        }
        if self.bucket.available(now) == 0 {
            return Next::Pause(self.bucket.ready_at(READ_MAX as u64));
        }
        Next::Wait
    }

    /// Copies what a machine that has ended left in the pipe. That is not bounded by the rate, but
    /// by the size of the pipe: should anything else have it open, that is not waited for.
    pub fn drain(self, id: MachineId, ring: &mut Ring, buffer: &mut [u8]) {
        let mut left = fcntl_getpipe_size(&self.pipe).unwrap_or(READ_MAX);
        while left > 0 {
            let limit = buffer.len().min(left);
            match read(&self.pipe, &mut buffer[..limit]) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(count) => {
                    left -= count;
                    // What cannot be kept now is tried again with the next piece, or below.
                    if let Err(error) = ring.append(&buffer[..count]) {
                        error!(%id, "cannot keep its last console output: {error}");
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    error!(%id, "cannot read its last console output: {error}");
                    break;
                }
            }
        }
        if ring.unwritten() > 0
            && let Err(error) = ring.append(&[])
        {
            error!(%id, "{} bytes of its console wait for memory: {error}", ring.unwritten());
        }
    }
}

impl AsFd for Console {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
