//! Waiting for many descriptors at once.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// Events that one turn of the loop handles at most; the kernel hands out the others next time,
/// beginning with those that waited longest.
const EVENTS_PER_TURN: usize = 256;

/// What is watched. The numbers are never used twice, so that an event of something that is gone
/// by the time the event is looked at means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// The listening socket.
    Listener,
    /// The pipe that signals arrive through.
    Signals,
    /// A connection.
    Peer(u64),
    /// The console of a machine.
    Console(u64),
    /// The process of a run.
    Process(u64),
    /// What tenders say before their guests run.
    Statuses,
    /// The kernel's word that rules of the network have changed.
    Rules,
}

/// The numbers' share of a token; the low bits say what kind it is.
const SHIFT: u32 = 3;

impl Token {
    fn encode(self) -> u64 {
        let (number, kind) = match self {
            Self::Listener => (0, 0),
            Self::Signals => (0, 1),
            Self::Peer(number) => (number, 2),
            Self::Console(number) => (number, 3),
            Self::Process(number) => (number, 4),
            Self::Statuses => (0, 5),
            Self::Rules => (0, 6),
        };
        number << SHIFT | kind
    }

    fn decode(encoded: u64) -> Option<Self> {
        let number = encoded >> SHIFT;
        Some(match encoded & ((1 << SHIFT) - 1) {
            0 => Self::Listener,
            1 => Self::Signals,
            2 => Self::Peer(number),
            3 => Self::Console(number),
            4 => Self::Process(number),
            5 => Self::Statuses,
            6 => Self::Rules,
            _ => return None,
        })
    }
}

/// What became of something watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// What.
    pub token: Token,
    /// There is something to read, the end included.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
}

/// An epoll instance. A descriptor leaves it by [`Poller::forget`] or when it is closed; closing
/// is enough only where no duplicate of it exists.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// A new one that watches nothing.
    ///
    /// # Errors
    /// No descriptors.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Watches for something to read.
    ///
    /// # Errors
    /// No memory, or the user's limit of watches.
    pub fn watch(&self, fd: impl AsFd, token: Token) -> Result<(), Errno> {
        epoll::add(&self.epoll, fd, EventData::new_u64(token.encode()), EventFlags::IN)
    }

    /// Watches for room to write as well, or no longer.
    ///
    /// # Errors
    /// It is not watched.
    pub fn want_room(&self, fd: impl AsFd, token: Token, wanted: bool) -> Result<(), Errno> {
        let flags = if wanted { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        epoll::modify(&self.epoll, fd, EventData::new_u64(token.encode()), flags)
    }

    /// Watches for its end alone (what epoll calls a hang-up), and no longer for something to read.
    ///
    /// # Errors
    /// It is not watched.
    pub fn only_end(&self, fd: impl AsFd, token: Token) -> Result<(), Errno> {
        epoll::modify(&self.epoll, fd, EventData::new_u64(token.encode()), EventFlags::empty())
    }

    /// Watches it no longer.
    ///
    /// # Errors
    /// It is not watched.
    pub fn forget(&self, fd: impl AsFd) -> Result<(), Errno> {
        epoll::delete(&self.epoll, fd)
    }

    /// Waits until something happens, or until `deadline`.
    ///
    /// # Errors
    /// None that can be helped.
    pub fn wait(&self, deadline: Option<Instant>) -> Result<Vec<Readiness>, Errno> {
        let timeout = deadline.map(|at| timespec(at.saturating_duration_since(Instant::now())));
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_PER_TURN);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        Ok(events.iter().filter_map(readiness).collect())
    }
}

fn readiness(event: &Event) -> Option<Readiness> {
    let (data, flags) = (event.data, event.flags);
    let ended = EventFlags::HUP | EventFlags::ERR;
    Some(Readiness {
        token: Token::decode(data.u64())?,
        readable: flags.intersects(EventFlags::IN | ended),
        writable: flags.intersects(EventFlags::OUT | ended),
    })
}

fn timespec(duration: Duration) -> Timespec {
    // Longer than anybody waits here.
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: duration.subsec_nanos().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_comes_back_as_it_was() {
        let numbered = [Token::Peer, Token::Console, Token::Process];
        let numbers = [0, 1, u64::MAX >> SHIFT];
        let tokens = numbered.iter().flat_map(|make| numbers.map(make));
        for token in tokens.chain([Token::Listener, Token::Signals, Token::Statuses, Token::Rules])
        {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
    }
}
