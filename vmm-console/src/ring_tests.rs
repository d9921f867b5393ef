use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use vmm_proto::ring::{encode_counter, pieces};

use super::*;

/// The writer's side, step by step.
struct Writer(File, u64);

impl Writer {
    fn new() -> (Self, Ring) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(FILE_SIZE).unwrap();
        let writer = Self(file.try_clone().unwrap(), 0);
        writer.store(CLAIMED, 0);
        writer.store(WRITTEN, 0);
        (writer, Ring::new(file.into()).unwrap())
    }

    fn store(&self, offset: u64, value: u64) {
        self.0.write_all_at(&encode_counter(value), offset).unwrap();
    }

    fn claim(&self, bytes: u64) {
        self.store(CLAIMED, self.1 + bytes);
    }

    fn write(&mut self, data: &[u8]) {
        for data in data.chunks(usize::try_from(CAPACITY).unwrap()) {
            let length = u64::try_from(data.len()).unwrap();
            self.claim(length);
            let [(first, split), (second, _)] = pieces(self.1, length);
            let (before, after) = data.split_at(usize::try_from(split).unwrap());
            self.0.write_all_at(before, first).unwrap();
            self.0.write_all_at(after, second).unwrap();
            self.1 += length;
            self.store(WRITTEN, self.1);
        }
    }
}

fn piece(position: u64, data: &[u8]) -> Piece {
    Piece { position, data: data.to_vec() }
}

#[test]
fn what_was_written_is_read_also_where_the_ring_wraps() {
    let (mut writer, ring) = Writer::new();
    writer.write(b"first");
    assert_eq!(ring.read(0, 5, 100).unwrap(), piece(0, b"first"));
    assert_eq!(ring.read(2, 4, 100).unwrap(), piece(2, b"rs"));
    assert_eq!(ring.read(5, 5, 100).unwrap(), piece(5, b""));
    writer.write(&vec![b'.'; usize::try_from(CAPACITY).unwrap() - 7]);
    writer.write(b"wraps");
    let end = ring.written().unwrap();
    assert_eq!(ring.read(CAPACITY - 2, end, 100).unwrap(), piece(CAPACITY - 2, b"wraps"));
}

#[test]
fn what_was_overwritten_is_a_gap_of_exactly_that_size() {
    let (mut writer, ring) = Writer::new();
    writer.write(&vec![b'a'; 1000]);
    writer.write(&vec![b'b'; usize::try_from(CAPACITY).unwrap() - 1]);
    let end = ring.written().unwrap();
    assert_eq!(ring.read(0, end, 3).unwrap(), piece(999, b"abb"));
}

#[test]
fn what_is_claimed_while_it_is_read_does_not_count_as_read() {
    let (mut writer, ring) = Writer::new();
    writer.write(&vec![b'a'; usize::try_from(CAPACITY).unwrap()]);
    writer.claim(10);
    let end = ring.written().unwrap();
    assert_eq!(ring.read(0, end, 12).unwrap(), piece(10, &[b'a'; 12]));
    writer.claim(CAPACITY);
    assert_eq!(ring.read(0, end, 12).unwrap(), piece(end, b""));
}

#[test]
fn a_counter_that_stays_half_stored_is_an_error_and_no_endless_loop() {
    let (mut writer, ring) = Writer::new();
    writer.write(b"x");
    writer.0.write_all_at(&[9], WRITTEN).unwrap();
    assert!(matches!(ring.written(), Err(RingError::Torn)));
    writer.store(WRITTEN, 1);
    assert_eq!(ring.written().unwrap(), 1);
}

#[test]
fn a_file_of_another_size_is_no_ring() {
    let file = tempfile::tempfile().unwrap();
    assert!(matches!(Ring::new(file.into()), Err(RingError::Size(0))));
}

#[test]
fn lines_are_counted_from_the_end() {
    let (mut writer, ring) = Writer::new();
    assert_eq!(ring.last_lines(0, 3).unwrap(), 0);
    writer.write(b"one\ntwo\nthree\n");
    let lines = |count| ring.last_lines(14, count).unwrap();
    assert_eq!((0..5).map(lines).collect::<Vec<_>>(), [14, 8, 4, 0, 0]);
    writer.write(b"four");
    let lines = |count| ring.last_lines(18, count).unwrap();
    assert_eq!((0..6).map(lines).collect::<Vec<_>>(), [18, 14, 8, 4, 0, 0]);
}

#[test]
fn more_lines_than_there_are_begin_with_the_oldest_byte() {
    let (mut writer, ring) = Writer::new();
    writer.write("line\n".repeat(60_000).as_bytes());
    let end = ring.written().unwrap();
    assert_eq!(ring.last_lines(end, 100_000).unwrap(), end - CAPACITY);
    assert_eq!(ring.last_lines(end, 20_000).unwrap(), end - 5 * 20_000);
}

#[test]
fn the_next_line_begins_after_a_line_end() {
    let (mut writer, ring) = Writer::new();
    writer.write(b"one\ntwo\nthree");
    assert_eq!(ring.next_line(0, 13).unwrap(), Some(0));
    assert_eq!(ring.next_line(1, 13).unwrap(), Some(4));
    assert_eq!(ring.next_line(4, 13).unwrap(), Some(4));
    assert_eq!(ring.next_line(5, 13).unwrap(), Some(8));
    assert_eq!(ring.next_line(9, 13).unwrap(), None);
    assert_eq!(ring.next_line(5, 8).unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A model beside it: everything ever written, and which part of that the ring still holds.
    #[test]
    fn invariant_every_byte_is_read_in_order_or_counted_in_a_gap(
        steps in proptest::collection::vec((0..90_000usize, 0..5u8, 1..40_000u64), 1..40),
    ) {
        let (mut writer, ring) = Writer::new();
        let mut all = Vec::new();
        let mut position = 0;
        for (length, reads, limit) in steps {
            let data: Vec<u8> = (0..length).map(|at| u8::try_from((all.len() + at) % 251).unwrap()).collect();
            writer.write(&data);
            all.extend(data);
            let end = ring.written().unwrap();
            prop_assert_eq!(end, u64::try_from(all.len()).unwrap());
            for _ in 0..reads {
                let Piece { position: at, data } = ring.read(position, end, limit).unwrap();
                prop_assert_eq!(at, position.max(end.saturating_sub(CAPACITY)));
                let begin = usize::try_from(at).unwrap();
                prop_assert_eq!(&data[..], &all[begin..begin + data.len()]);
                prop_assert!(!data.is_empty() || at == end);
                position = at + u64::try_from(data.len()).unwrap();
            }
        }
    }
}
