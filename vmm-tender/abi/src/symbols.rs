//! Names of functions, from an image that has its symbols: for messages about a guest that
//! failed.
//!
//! The table is as hostile as the rest of the file. It is read in pieces of fixed size, no further
//! than the budgets below; what is broken in it leaves addresses without names, and nothing worse.

use alloc::vec::Vec;
use core::fmt;

use crate::bytes::{u16_at, u32_at, u64_at};
use crate::elf::read_exact;
use crate::image::{ReadAt, ReadError};

/// Budget of sections; real images have about twenty.
const SECTIONS_MAX: u16 = 4096;
/// Budget of symbols; large images have some ten thousand.
const SYMBOLS_MAX: u64 = 1 << 20;
/// Bytes of a name that are kept.
const NAME_MAX: usize = 96;

const HEADER_SIZE: usize = 64;
const SECTION_SIZE: usize = 64;
const SYMBOL_SIZE: usize = 24;
const SYMBOLS_AT_ONCE: usize = 1024;

const SECTION_SYMBOLS: u32 = 2;
const SECTION_STRINGS: u32 = 3;
const SYMBOL_UNTYPED: u8 = 0;
const SYMBOL_FUNCTION: u8 = 2;

/// Where an address is: so many bytes into a function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symbol {
    name: Vec<u8>,
    /// How many bytes.
    pub offset: u64,
}

/// As `name+0x1a`. What could disturb a terminal, and everything but ASCII, comes out as `?`; long
/// names end in `...`.
impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.name[..self.name.len().min(NAME_MAX)];
        for &byte in shown {
            fmt::Write::write_char(f, if byte.is_ascii_graphic() { byte.into() } else { '?' })?;
        }
        let rest = if self.name.len() > NAME_MAX { "..." } else { "" };
        write!(f, "{rest}+{:#x}", self.offset)
    }
}

/// A function that may be the one that is looked for.
#[derive(Clone, Copy)]
struct Candidate {
    name: u32,
    start: u64,
    /// Whether the table says that the address is in it, and not only behind its beginning.
    holds: bool,
}

/// The symbol table of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SymbolTable {
    offset: u64,
    count: u64,
    names_offset: u64,
    names_size: u64,
}

impl SymbolTable {
    /// Finds the table of `file`, if it has one and the table makes sense.
    ///
    /// # Errors
    /// The operating system could not read.
    pub fn find<R: ReadAt + ?Sized>(file: &R) -> Result<Option<Self>, ReadError> {
        let mut header = [0; HEADER_SIZE];
        if read_exact(file, 0, &mut header)?.is_none() {
            return Ok(None);
        }
        let (table, count) = (u64_at(&header, 40), u16_at(&header, 60));
        if table == 0 || usize::from(u16_at(&header, 58)) != SECTION_SIZE || count > SECTIONS_MAX {
            return Ok(None);
        }
        for index in 0..count {
            let Some(section) = Section::read(file, table, index)? else { return Ok(None) };
            if section.kind != SECTION_SYMBOLS {
                continue;
            }
            let names = u16::try_from(section.link).ok().filter(|&link| link < count);
            let names = names.map(|link| Section::read(file, table, link)).transpose()?.flatten();
            return Ok(names.filter(|names| names.kind == SECTION_STRINGS).map(|names| Self {
                offset: section.offset,
                count: (section.size / SYMBOL_SIZE as u64).min(SYMBOLS_MAX),
                names_offset: names.offset,
                names_size: names.size,
            }));
        }
        Ok(None)
    }

    /// The functions that `addresses` are in, in their order.
    ///
    /// # Errors
    /// The operating system could not read.
    pub fn resolve<R: ReadAt + ?Sized>(
        &self,
        file: &R,
        addresses: &[u64],
    ) -> Result<Vec<Option<Symbol>>, ReadError> {
        let found = self.candidates(file, addresses)?;
        let symbol = |(&address, found): (&u64, Option<Candidate>)| {
            let Some(Candidate { name, start, .. }) = found else { return Ok(None) };
            let name = self.name(file, name)?;
            Ok(name.map(|name| Symbol { name, offset: address - start }))
        };
        addresses.iter().zip(found).map(symbol).collect()
    }

    fn candidates<R: ReadAt + ?Sized>(
        &self,
        file: &R,
        addresses: &[u64],
    ) -> Result<Vec<Option<Candidate>>, ReadError> {
        let mut best: Vec<Option<Candidate>> = alloc::vec![None; addresses.len()];
        let mut room = alloc::vec![0; SYMBOLS_AT_ONCE * SYMBOL_SIZE];
        let mut offset = self.offset;
        let mut left = self.count;
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(SYMBOLS_AT_ONCE);
            let piece = &mut room[..count * SYMBOL_SIZE];
            if read_exact(file, offset, piece)?.is_none() {
                break;
            }
            for symbol in piece.chunks_exact(SYMBOL_SIZE) {
                for (&address, best) in addresses.iter().zip(&mut best) {
                    improve(best, symbol, address);
                }
            }
            left -= count as u64;
            offset += piece.len() as u64;
        }
        Ok(best)
    }

    /// The name at `at` of the names, as far as it is shown, and a byte more if it is longer.
    fn name<R: ReadAt + ?Sized>(&self, file: &R, at: u32) -> Result<Option<Vec<u8>>, ReadError> {
        let at = u64::from(at);
        let Some(left) = self.names_size.checked_sub(at) else { return Ok(None) };
        let Some(offset) = self.names_offset.checked_add(at) else { return Ok(None) };
        let mut room = [0; NAME_MAX + 1];
        let len = file.read_at(offset, &mut room)?.min(usize::try_from(left).unwrap_or(usize::MAX));
        let name = room[..len].split(|&byte| byte == 0).next().unwrap_or_default();
        Ok((!name.is_empty()).then(|| name.to_vec()))
    }
}

/// Takes `symbol` for the function that `address` is in if that is better than what is known.
fn improve(best: &mut Option<Candidate>, symbol: &[u8], address: u64) {
    let (name, section) = (u32_at(symbol, 0), u16_at(symbol, 6));
    let (start, size) = (u64_at(symbol, 8), u64_at(symbol, 16));
    let kind = symbol[4] & 0xF;
    // Functions written in assembly have neither size nor type.
    let is_code = kind == SYMBOL_FUNCTION || kind == SYMBOL_UNTYPED;
    if !is_code || section == 0 || name == 0 || start > address {
        return;
    }
    let holds = address - start < size;
    if !holds && size > 0 {
        return;
    }
    let better = best.is_none_or(|best| (holds, start) > (best.holds, best.start));
    if better {
        *best = Some(Candidate { name, start, holds });
    }
}

struct Section {
    kind: u32,
    offset: u64,
    size: u64,
    link: u32,
}

impl Section {
    fn read<R: ReadAt + ?Sized>(
        file: &R,
        table: u64,
        index: u16,
    ) -> Result<Option<Self>, ReadError> {
        let mut bytes = [0; SECTION_SIZE];
        let at = table.checked_add(u64::from(index) * SECTION_SIZE as u64);
        let Some(at) = at else { return Ok(None) };
        let read = read_exact(file, at, &mut bytes)?;
        Ok(read.map(|()| Self {
            kind: u32_at(&bytes, 4),
            offset: u64_at(&bytes, 24),
            size: u64_at(&bytes, 32),
            link: u32_at(&bytes, 40),
        }))
    }
}

#[cfg(test)]
#[path = "symbols_tests.rs"]
mod tests;
