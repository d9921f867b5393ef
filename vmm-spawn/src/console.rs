//! The console of a machine: brought into its ring, at a bounded rate.

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::pipe::fcntl_getpipe_size;
use tracing::error;
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::FromSpawn;

use crate::descriptors::kept;
use crate::peers::Message;
use crate::rate::Bucket;
use crate::ring::Ring;
use crate::stage::{Scratch, Stage, TURN_MAX};
use crate::state::place::{Damage, Fifo, Place};

/// How long a console is left alone when there is no room for its ring.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(1);

/// A console and its ring.
#[derive(Debug)]
pub struct Console {
    stage: Stage,
    ring: Ring,
    bucket: Bucket,
    /// Until when it is not looked at.
    pub paused_until: Option<Instant>,
}

/// What comes after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Look again when there is something.
    Wait,
    /// Do not look before then: the machine waits when its console is full.
    Pause(Instant),
}

impl Console {
    /// Goes on with what is in a machine's directory.
    ///
    /// # Errors
    /// Something of it is missing or makes no sense.
    pub fn go_on(place: &Place, now: Instant) -> Result<Self, Damage> {
        let failed = |error: Errno| Damage::Open("console".into(), error);
        let ring = Ring::go_on(kept(place.ring()?))
            .map_err(|error| Damage::Open("ring".into(), error))?
            .ok_or_else(|| Damage::Kind("ring".into()))?;
        let (console, stage) = (place.fifo(Fifo::Console)?, place.fifo(Fifo::Stage)?);
        let stage = Stage::go_on(kept(console), kept(stage)).map_err(failed)?;
        Ok(Self { stage, ring, bucket: Bucket::full(now), paused_until: None })
    }

    /// What the console daemon is sent of it.
    ///
    /// # Errors
    /// No descriptors.
    pub fn message(&self, id: MachineId, place: &Place) -> Result<Message, Damage> {
        let descriptors = vec![
            Rc::new(place.ring_to_read()?),
            self.ring.grown(),
            Rc::new(place.fifo_to_hold(Fifo::Console)?),
            Rc::new(place.fifo_to_hold(Fifo::Stage)?),
        ];
        Ok(Message { body: FromSpawn::Ring { id }, descriptors })
    }

    /// Whether anything was ever written.
    pub fn is_blank(&self) -> bool {
        self.ring.written() == 0
    }

    /// Whether something waits that a machine has written.
    pub fn has_more(&self) -> bool {
        self.stage.waiting(&self.ring).is_ok_and(|waiting| waiting > 0)
    }

    /// Brings one turn's worth into the ring: each machine's share of a turn of the loop.
    pub fn pump(&mut self, now: Instant, id: MachineId, scratch: &Scratch) -> Next {
        let available = usize::try_from(self.bucket.available(now)).unwrap_or(usize::MAX);
        if available == 0 {
            return Next::Pause(self.bucket.ready_at(TURN_MAX as u64));
        }
        match self.stage.pump(available, &mut self.ring, scratch) {
            Ok(count) => self.bucket.take(count as u64),
            Err(error) => {
                error!(%id, "cannot keep its console output: {error}; trying again later");
                return Next::Pause(now + NO_ROOM_PAUSE);
            }
        }
        if self.bucket.available(now) == 0 {
            return Next::Pause(self.bucket.ready_at(TURN_MAX as u64));
        }
        Next::Wait
    }

    /// Brings everything into the ring that a machine that has ended left, and returns how many
    /// bytes it has written in all. That is not bounded by the rate, but by the size of the FIFO:
    /// should anything else write on, that is not waited for. What there is no room for now is
    /// counted, and comes later.
    pub fn drain(&mut self, id: MachineId, scratch: &Scratch) -> u64 {
        let mut left = fcntl_getpipe_size(&self.stage).unwrap_or(TURN_MAX);
        while left > 0 {
            match self.stage.pump(left, &mut self.ring, scratch) {
                Ok(0) => break,
                Ok(count) => left = left.saturating_sub(count),
                Err(error) => {
                    error!(%id, "cannot keep its last console output now: {error}");
                    break;
                }
            }
        }
        let waiting = self.stage.waiting(&self.ring).unwrap_or_else(|error| {
            error!(%id, "nobody knows how much of its output waits: {error}");
            0
        });
        self.ring.written() + waiting
    }
}

impl AsFd for Console {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stage.as_fd()
    }
}
