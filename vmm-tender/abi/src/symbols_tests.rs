use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const FUNCTION: u8 = SYMBOL_FUNCTION;
const OBJECT: u8 = 1;
const TEXT: u16 = 1;

fn symbol(name: u32, kind: u8, section: u16, start: u64, size: u64) -> [u8; SYMBOL_SIZE] {
    let mut out = [0; SYMBOL_SIZE];
    out[..4].copy_from_slice(&name.to_le_bytes());
    out[4] = 0x10 | kind;
    out[6..8].copy_from_slice(&section.to_le_bytes());
    out[8..16].copy_from_slice(&start.to_le_bytes());
    out[16..].copy_from_slice(&size.to_le_bytes());
    out
}

fn section(kind: u32, offset: usize, size: usize, link: u32) -> [u8; SECTION_SIZE] {
    let mut out = [0; SECTION_SIZE];
    out[4..8].copy_from_slice(&kind.to_le_bytes());
    out[24..32].copy_from_slice(&(offset as u64).to_le_bytes());
    out[32..40].copy_from_slice(&(size as u64).to_le_bytes());
    out[40..44].copy_from_slice(&link.to_le_bytes());
    out
}

/// A file of a header, symbols, names, and three sections: none, symbols, names.
fn file(symbols: &[[u8; SYMBOL_SIZE]], names: &[u8]) -> Vec<u8> {
    let mut out = alloc::vec![0; HEADER_SIZE];
    out.extend(symbols.as_flattened());
    let names_at = out.len();
    out.extend(names);
    let table = out.len() as u64;
    let symbols = section(SECTION_SYMBOLS, HEADER_SIZE, names_at - HEADER_SIZE, 2);
    let names = section(SECTION_STRINGS, names_at, names.len(), 0);
    for section in [section(0, 0, 0, 0), symbols, names] {
        out.extend(section);
    }
    out[40..48].copy_from_slice(&table.to_le_bytes());
    (out[58], out[60]) = (64, 3);
    out
}

fn resolve(file: &[u8], addresses: &[u64]) -> Vec<Option<String>> {
    let table = SymbolTable::find(file).unwrap().unwrap();
    let found = table.resolve(file, addresses).unwrap();
    found.iter().map(|symbol| symbol.as_ref().map(ToString::to_string)).collect()
}

#[test]
fn an_address_has_the_name_of_the_function_that_it_is_in() {
    let names = b"\0start\0main\0data\0gone\0";
    let symbols = [
        symbol(0, FUNCTION, TEXT, 0x10_0000, 0x1000),
        symbol(7, FUNCTION, TEXT, 0x10_0020, 0x10),
        symbol(1, SYMBOL_UNTYPED, TEXT, 0x10_0000, 0),
        symbol(12, OBJECT, TEXT, 0x10_0040, 8),
        symbol(17, FUNCTION, 0, 0x10_0050, 8),
    ];
    let found = resolve(
        &file(&symbols, names),
        &[0xF_FFFF, 0x10_0000, 0x10_0020, 0x10_002F, 0x10_0030, 0x10_0054],
    );
    let expected = [
        None,
        Some("start+0x0"),
        Some("main+0x0"),
        Some("main+0xf"),
        Some("start+0x30"),
        Some("start+0x54"),
    ];
    assert_eq!(found, expected.map(|name| name.map(String::from)));
}

#[test]
fn names_are_harmless_and_of_bounded_length() {
    let mut names = b"\0\x1b[2Jevil \xff\0".to_vec();
    let long = u32::try_from(names.len()).unwrap();
    names.extend([b'x'; 5000]);
    let symbols = [
        symbol(1, FUNCTION, TEXT, 0x1000, 1),
        symbol(long, FUNCTION, TEXT, 0x2000, 1),
        symbol(u32::MAX, FUNCTION, TEXT, 0x3000, 1),
    ];
    let found = resolve(&file(&symbols, &names), &[0x1000, 0x2000, 0x3000]);
    let x = "x".repeat(NAME_MAX);
    assert_eq!(
        found,
        [Some("?[2Jevil??+0x0".to_string()), Some(alloc::format!("{x}...+0x0")), None]
    );
}

#[test]
fn a_file_without_symbols_has_none() {
    let good = file(&[symbol(1, FUNCTION, TEXT, 1, 1)], b"\0a\0");
    assert!(SymbolTable::find(&good[..]).unwrap().is_some());
    for (at, byte) in [(40, 0), (58, 63), (60, 0), (60, 1), (61, 0x20)] {
        let mut bad = good.clone();
        bad[at] = byte;
        if at == 40 {
            bad[40..48].fill(0);
        }
        assert_eq!(SymbolTable::find(&bad[..]), Ok(None), "{at}");
    }
    for len in 0..good.len() {
        let found = SymbolTable::find(&good[..len]).unwrap();
        assert_eq!(found, None, "{len}");
    }
    let mut no_names = good;
    let end = no_names.len();
    no_names[end - SECTION_SIZE + 4] = 0;
    assert_eq!(SymbolTable::find(&no_names[..]), Ok(None));
}

#[test]
fn a_table_that_says_it_is_huge_is_read_no_further_than_the_file() {
    let mut bytes = file(&[symbol(1, FUNCTION, TEXT, 0x1000, 1)], b"\0a\0");
    let size_at = bytes.len() - 2 * SECTION_SIZE + 32;
    bytes[size_at..size_at + 8].fill(0xFF);
    let table = SymbolTable::find(&bytes[..]).unwrap().unwrap();
    assert_eq!(table.count, SYMBOLS_MAX);
    assert_eq!(table.resolve(&bytes[..], &[0x1000]), Ok(alloc::vec![None]));
}

proptest! {
    #[test]
    fn a_damaged_file_never_panics(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12),
        addresses in proptest::collection::vec(any::<u64>(), 0..4),
    ) {
        let symbols = [symbol(1, FUNCTION, TEXT, 0x1000, 16), symbol(3, 0, TEXT, 0x2000, 0)];
        let mut bytes = file(&symbols, b"\0a\0b\0");
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(Some(table)) = SymbolTable::find(&bytes[..]) {
            let found = table.resolve(&bytes[..], &addresses).unwrap();
            prop_assert_eq!(found.len(), addresses.len());
        }
    }
}
