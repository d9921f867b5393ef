//! The hardware virtualized target on KVM: memory layout, page tables, descriptors, registers
//! and boot information (the Solo5 hvt ABI, section 3).

use crate::bytes::put;
use crate::{GuestAddress, IMAGE_FLOOR, PAGE_SIZE};

/// Memory is a multiple of this, and at least this.
pub const MEMORY_UNIT: u64 = 2 * 1024 * 1024;

/// Most memory that a guest may have, the network ring included.
pub const MEMORY_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// What the network ring adds to memory when it is offered. The ring is its beginning.
pub const RING_MEMORY: u64 = MEMORY_UNIT;

/// Where the boot information stands; the manifest follows, then the command line.
pub const BOOT_INFO_ADDRESS: u64 = 0x1_0000;

/// Size of the boot information since Solo5 0.11. Older guests read 40 bytes of it.
pub const BOOT_INFO_SIZE: usize = 56;

/// Where the three entries of [`GDT`] stand.
pub const GDT_ADDRESS: u64 = 0x1000;

/// Null, 64-bit code and data descriptors.
pub const GDT: [u64; 3] = [0, 0x00AF_9900_0000_FFFF, 0x00CF_9300_0000_FFFF];

/// Root of the page tables, the initial CR3.
pub const PML4_ADDRESS: u64 = 0x2000;

const PDPT_ADDRESS: u64 = 0x3000;
const PAGE_DIRECTORIES_ADDRESS: u64 = 0x4000;
const PAGE_DIRECTORIES: u64 = 4;
const FIRST_PAGE_TABLE_ADDRESS: u64 = 0x8000;
const TABLE_ENTRIES: u64 = 512;
const GIB: u64 = 1 << 30;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const LARGE: u64 = 0x80;

/// Initial CR0: protection, numeric errors, write protection in the kernel, paging.
pub const CR0: u64 = 0x8001_0021;
/// Initial CR4: PAE, `FXSAVE`, SSE exceptions.
pub const CR4: u64 = 0x620;
/// Initial EFER: long mode, enabled and active.
pub const EFER: u64 = 0x500;
/// Initial RFLAGS: interrupts off.
pub const RFLAGS: u64 = 2;
/// Selector of the code segment.
pub const CODE_SELECTOR: u16 = 8;
/// Selector of the data segments.
pub const DATA_SELECTOR: u16 = 0x10;

/// The word at `address` of the tables that the guest's CPU starts with, for every word that is
/// not zero, for a guest with `mem_size` bytes.
pub fn page_table_words(mem_size: u64) -> impl Iterator<Item = (GuestAddress, u64)> {
    let entry = |table: u64, index: u64, value: u64| (GuestAddress(table + 8 * index), value);
    let gigabytes = PAGE_DIRECTORIES;
    let roots = core::iter::once(entry(PML4_ADDRESS, 0, PDPT_ADDRESS | PRESENT | WRITABLE));
    let directories = (0..gigabytes).map(move |k| {
        entry(PDPT_ADDRESS, k, (PAGE_DIRECTORIES_ADDRESS + k * PAGE_SIZE) | PRESENT | WRITABLE)
    });
    let first_table =
        core::iter::once(entry(PAGE_DIRECTORIES_ADDRESS, 0, FIRST_PAGE_TABLE_ADDRESS | 3));
    // The first 2 MiB have a table of their own: unmapped up to the boot information, which is
    // read-only like the rest of low memory.
    let pages = (BOOT_INFO_ADDRESS / PAGE_SIZE..TABLE_ENTRIES).map(move |page| {
        let address = page * PAGE_SIZE;
        let rights = if address < IMAGE_FLOOR { PRESENT } else { PRESENT | WRITABLE };
        entry(FIRST_PAGE_TABLE_ADDRESS, page, address | rights)
    });
    let large_pages = (1..mem_size.min(gigabytes * GIB) / MEMORY_UNIT).map(move |page| {
        entry(PAGE_DIRECTORIES_ADDRESS, page, (page * MEMORY_UNIT) | PRESENT | WRITABLE | LARGE)
    });
    roots.chain(directories).chain(first_table).chain(pages).chain(large_pages)
}

/// What a guest is told at its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BootInfo {
    /// Size of guest memory, without the network ring.
    pub mem_size: u64,
    /// End of the last loaded segment.
    pub kernel_end: u64,
    /// Frequency of the time stamp counter in Hz.
    pub cpu_cycle_freq: u64,
    /// Address of the NUL-terminated command line.
    pub command_line: u64,
    /// Address of the manifest.
    pub manifest: u64,
    /// Address of the network ring when it is offered.
    pub net_ring: Option<u64>,
}

impl BootInfo {
    /// As it stands at [`BOOT_INFO_ADDRESS`].
    pub fn encode(&self) -> [u8; BOOT_INFO_SIZE] {
        const RING_OFFERED: u32 = 1;
        let mut out = [0; BOOT_INFO_SIZE];
        put(&mut out, 0, &self.mem_size.to_le_bytes());
        put(&mut out, 8, &self.kernel_end.to_le_bytes());
        put(&mut out, 16, &self.cpu_cycle_freq.to_le_bytes());
        put(&mut out, 24, &self.command_line.to_le_bytes());
        put(&mut out, 32, &self.manifest.to_le_bytes());
        if let Some(ring) = self.net_ring {
            put(&mut out, 40, &RING_OFFERED.to_le_bytes());
            put(&mut out, 48, &ring.to_le_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Walks the tables as the CPU does; `None` when the address is not mapped.
    fn translate(words: &HashMap<u64, u64>, address: u64) -> Option<(u64, bool)> {
        let mut table = PML4_ADDRESS;
        for level in (0..4).rev() {
            let shift = 12 + 9 * level;
            let index = (address >> shift) & 0x1FF;
            let entry = words.get(&(table + 8 * index)).copied().unwrap_or(0);
            if entry & PRESENT == 0 {
                return None;
            }
            let target = entry & !0xFFF;
            if level == 0 || entry & LARGE != 0 {
                let offset = address & ((1 << shift) - 1);
                return Some(((target & !((1 << shift) - 1)) | offset, entry & WRITABLE != 0));
            }
            assert_eq!(entry & WRITABLE, WRITABLE);
            table = target;
        }
        None
    }

    #[test]
    fn the_page_tables_map_memory_to_itself_and_hide_the_low_pages() {
        for mem_size in [MEMORY_UNIT, 64 * MEMORY_UNIT, MEMORY_MAX] {
            let words: HashMap<u64, u64> =
                page_table_words(mem_size).map(|(address, value)| (address.0, value)).collect();
            for hidden in [0, 0x1000, 0x2000, 0x8000, 0xFFFF, mem_size, mem_size + MEMORY_UNIT] {
                assert_eq!(translate(&words, hidden), None, "{hidden:#x} of {mem_size:#x}");
            }
            for fixed in [0x1_0000, 0x2_0000, 0xF_FFFF] {
                assert_eq!(translate(&words, fixed), Some((fixed, false)));
            }
            for open in [0x10_0000, 0x1F_FFFF, mem_size - 8, mem_size / 2] {
                assert_eq!(translate(&words, open), Some((open, true)), "{open:#x}");
            }
        }
    }

    #[test]
    fn no_table_word_lies_outside_the_tables() {
        for (address, _) in page_table_words(MEMORY_MAX) {
            assert!((PML4_ADDRESS..FIRST_PAGE_TABLE_ADDRESS + PAGE_SIZE).contains(&address.0));
        }
    }

    #[test]
    fn boot_info_has_the_layout_of_the_abi() {
        let mut info = BootInfo {
            mem_size: 1,
            kernel_end: 2,
            cpu_cycle_freq: 3,
            command_line: 4,
            manifest: 5,
            net_ring: None,
        };
        let mut expected = [0; 56];
        (0..5).for_each(|field| expected[8 * field] = u8::try_from(field + 1).unwrap());
        assert_eq!(info.encode(), expected);
        info.net_ring = Some(6);
        (expected[40], expected[48]) = (1, 6);
        assert_eq!(info.encode(), expected);
    }
}
