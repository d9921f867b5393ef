//! Where a guest probably came from: words on its stack that look like return addresses.
//!
//! Unikernels have no frame pointers, so this is a guess, as a debugger without more knowledge
//! makes it: a word counts if it points into text, right behind a call. Some of them may be left
//! over from calls that have returned.

use vmm_tender_abi::{GuestAddress, Image};

use crate::memory::GuestMemory;

/// Bytes of stack that are looked at.
const DEPTH: u64 = 16 * 1024;
/// Return addresses that are found at most.
const CALLS_MAX: usize = 24;
/// The longest call has so many bytes.
const CALL_LEN: u64 = 7;

/// The text of an image.
pub(super) struct Text(Vec<std::ops::Range<u64>>);

impl Text {
    pub(super) fn of(image: &Image) -> Self {
        let executable = image.segments().iter().filter(|segment| segment.flags.execute);
        Self(executable.map(|segment| segment.start..segment.end).collect())
    }

    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    fn contains(&self, address: u64) -> bool {
        self.0.iter().any(|range| range.contains(&address))
    }

    /// What looks like return addresses on the stack from `rsp` on, the last call first.
    pub(super) fn return_addresses(&self, rsp: u64, memory: &GuestMemory) -> Vec<u64> {
        let len = DEPTH.min(memory.size().saturating_sub(rsp).saturating_sub(1)) & !7;
        // A stack pointer that points nowhere has no stack.
        let stack = memory.buffer(GuestAddress(rsp), len).unwrap_or_default();
        let words = stack
            .chunks_exact(8)
            .map(|word| word.iter().rev().fold(0, |word: u64, &byte| word << 8 | u64::from(byte)));
        words.filter(|&word| self.is_behind_call(word, memory)).take(CALLS_MAX).collect()
    }

    fn is_behind_call(&self, address: u64, memory: &GuestMemory) -> bool {
        let Some(before) = address.checked_sub(CALL_LEN) else { return false };
        if !self.contains(address) || !self.contains(before) {
            return false;
        }
        let code = memory.buffer(GuestAddress(before), CALL_LEN);
        code.is_ok_and(ends_in_call)
    }
}

/// Whether the code may end in a call: of a relative address (E8 and 4 bytes), or of one in a
/// register or in memory (FF /2 with no, 1, 4 or 5 bytes behind it).
fn ends_in_call(code: &[u8]) -> bool {
    let at = |back: usize| code[code.len() - back];
    let indirect = |back: usize| at(back) == 0xFF && at(back - 1) >> 3 & 7 == 2;
    at(5) == 0xE8 || [2, 3, 6, 7].into_iter().any(indirect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_recognised_by_their_last_bytes() {
        for call in [
            &[0, 0, 0xE8, 1, 2, 3, 4][..],
            &[0, 0, 0, 0, 0, 0xFF, 0xD0],
            &[0, 0, 0, 0, 0xFF, 0x50, 8],
            &[0, 0xFF, 0x15, 1, 2, 3, 4],
            &[0xFF, 0x94, 0x24, 1, 2, 3, 4],
        ] {
            assert!(ends_in_call(call), "{call:x?}");
        }
        for other in [[0x90; 7], [0, 0, 0xE9, 1, 2, 3, 4], [0, 0, 0, 0, 0, 0xFF, 0xE0]] {
            assert!(!ends_in_call(&other), "{other:x?}");
        }
    }

    #[test]
    fn a_stack_is_read_as_far_as_there_is_memory_and_no_further() {
        const SIZE: u64 = 0x20_0000;
        let mut memory = GuestMemory::anywhere(SIZE, 0).unwrap();
        let text = Text(vec![0x10_0000..0x10_1000, 0x1F_0000..0x1F_1000]);
        memory.store(GuestAddress(0x10_0000), &[0xE8; 64]).unwrap();
        let words = [0x10_0020u64, 0x10_0030, 0x10_0FFF, 0x10_0003, 0x20, u64::MAX];
        for (index, word) in (0..).zip(words) {
            memory.store(GuestAddress(0x18_0000 + 8 * index), &word.to_le_bytes()).unwrap();
        }
        assert_eq!(text.return_addresses(0x18_0000, &memory), [0x10_0020, 0x10_0030]);
        memory.store(GuestAddress(SIZE - 16), &0x10_0020u64.to_le_bytes()).unwrap();
        assert_eq!(text.return_addresses(SIZE - 16, &memory), [0x10_0020]);
        for nowhere in [0, 8, SIZE - 9, SIZE - 8, SIZE - 1, SIZE, u64::MAX - 7, u64::MAX] {
            assert!(text.return_addresses(nowhere, &memory).is_empty(), "{nowhere:#x}");
        }
        for index in 0..100 {
            let word = 0x10_0020u64.to_le_bytes();
            memory.store(GuestAddress(0x1A_0000 + 8 * index), &word).unwrap();
        }
        assert_eq!(text.return_addresses(0x1A_0000, &memory).len(), CALLS_MAX);
    }
}
