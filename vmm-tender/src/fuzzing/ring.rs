//! The network ring, abused.

use vmm_tender_abi::GuestAddress;
use vmm_tender_abi::ring::{COMMIT_TAIL_AT, ENTRY_HEAD_AT, ENTRY_TAIL_AT, Entry, SIZE, SLOTS};

use super::Guest;
use crate::hvt::Ring;

/// Bytes of one move: an entry, with what to do in its reserved word.
const MOVE: usize = Entry::SIZE;
/// Kick afterwards.
const KICK: u8 = 1;
/// Move the tail to the word behind the flags instead of by one.
const JUMP: u8 = 2;
/// Write these bytes anywhere in the ring instead of in the next entry.
const STRAY: u8 = 4;
/// Moves that are made at most.
const MOVES: usize = 256;

/// A fresh guest makes the moves that `bytes` spell, until the tender ends it.
pub fn play_ring(bytes: &[u8]) {
    let mut guest = Guest::new();
    let ring = Ring::new(&mut guest.memory);
    let mut player = match ring {
        Ok(ring) => Player { guest, ring, tail: 0 },
        Err(error) => panic!("no ring to be had: {error}"),
    };
    let (moves, _) = bytes.as_chunks::<MOVE>();
    for step in moves.iter().take(MOVES) {
        if player.make(step).is_err() {
            break;
        }
    }
    player.guest.check_text();
}

struct Player {
    guest: Guest,
    ring: Ring,
    tail: u32,
}

impl Player {
    /// Makes one move.
    fn make(&mut self, step: &[u8; MOVE]) -> Result<(), crate::Error> {
        let [flags, low, high, ..] = step[24..] else { unreachable!("a move has 32 bytes") };
        let word = u32::from_le_bytes(*step.last_chunk().unwrap_or(&[0; 4]));
        let stray = u64::from(u16::from_le_bytes([low, high])) % (SIZE - MOVE as u64);
        let offset = if flags & STRAY == 0 { Entry::offset(self.tail) } else { stray };
        self.put(offset, step);
        if flags & STRAY == 0 {
            self.tail = if flags & JUMP == 0 { self.tail.wrapping_add(1) } else { word };
            self.put(ENTRY_TAIL_AT, &self.tail.to_le_bytes());
        }
        if flags & KICK == 0 { Ok(()) } else { self.kick() }
    }

    fn kick(&mut self) -> Result<(), crate::Error> {
        let (before, tail) = (self.ring.counted(), self.word(ENTRY_TAIL_AT));
        self.guest.exchange_frames();
        self.ring.kicked(&mut self.guest.memory, &self.guest.devices)?;
        let after = self.ring.counted();
        assert_eq!([self.word(ENTRY_HEAD_AT), self.word(COMMIT_TAIL_AT)], after);
        assert_eq!(after[0], tail, "everything was taken");
        let taken = after[0].wrapping_sub(before[0]);
        let committed = after[1].wrapping_sub(before[1]);
        assert!(committed <= taken && taken <= SLOTS, "{committed} commits of {taken} entries");
        // Nobody's page behind the ring has not become anybody's.
        assert_eq!(self.word(SIZE), 0);
        Ok(())
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let stored = self.guest.memory.store(self.place(offset), bytes);
        assert!(stored.is_ok(), "the ring is memory");
    }

    fn word(&self, offset: u64) -> u32 {
        match self.guest.memory.shared(self.place(offset)) {
            Ok(bytes) => u32::from_le_bytes(bytes),
            Err(error) => panic!("the ring is memory: {error}"),
        }
    }

    fn place(&self, offset: u64) -> GuestAddress {
        GuestAddress(self.ring.address().0 + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arbitrary_moves_change_neither_text_nor_counters() {
        // Words that are near what is valid, in every order that a simple generator comes upon.
        let near = [0, 1, 2, 3, 60, 1514, 0x10_0000, 0x18_0000, 0x20_0000, 0x20_0040, u32::MAX];
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 40).unwrap()
        };
        for _ in 0..300 {
            let moves = (0..40).flat_map(|_| {
                let mut step: [u32; 8] = std::array::from_fn(|_| near[next() % near.len()]);
                // Rarely addresses that end the game at once.
                step[1] = 2;
                step[3] *= u32::from(next() % 32 == 0);
                step[6] =
                    [0, 0, 1, 1, 1, 3, 5][next() % 7] | u32::try_from(next() % 128).unwrap() << 8;
                step.map(u32::to_le_bytes).concat()
            });
            play_ring(&moves.collect::<Vec<u8>>());
        }
    }
}
