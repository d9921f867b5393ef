//! What is on disk, and what is found there again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use vmm_log::chain::FIRST;
use vmm_log::reading::{Cursor, Filter};
use vmm_log::record::{CHAIN_BROKEN, field};
use vmm_log::store::{AppendError, Limits, Store};
use vmm_log::verify;
use vmm_proto::message::log::{Event, Place};

const SOURCE: [u8; 16] = [7; 16];
const SMALL: Limits = Limits { full: 2000, keep: 3 };

fn event(sequence: u64) -> Event {
    Event {
        source: SOURCE,
        sequence,
        time_ms: 1_700_000_000_000 + sequence,
        kind: "started".into(),
        path: "dev".into(),
        machine: Some(format!("dev/m{}", sequence % 3)),
        fields: vec![("number".into(), sequence.to_string())],
    }
}

fn events(sequences: std::ops::RangeInclusive<u64>) -> Vec<Event> {
    sequences.map(event).collect()
}

fn at(path: &str) -> Filter {
    Filter { path: path.into(), ..Filter::default() }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, Limits::default()).unwrap()
}

fn append(store: &mut Store, events: &[Event]) -> Result<Option<u64>, AppendError> {
    let mut results = store.append([events]);
    assert_eq!(results.len(), 1);
    results.remove(0).map(|last| last.into_iter().map(|(_, last)| last).max())
}

fn current(dir: &Path) -> PathBuf {
    dir.join("events.jsonl")
}

/// All that is wanted, as numbers.
fn numbers(store: &Store, filter: Filter) -> Vec<u64> {
    let mut cursor = Cursor::new(store.files(), filter).unwrap();
    rest(&mut cursor, store)
}

fn rest(cursor: &mut Cursor, store: &Store) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let chunk = cursor.read(store.durable()).unwrap();
        let number =
            |(line, _): &(String, Place)| field(line.as_bytes(), "number")?.parse::<u64>().ok();
        all.extend(chunk.lines.iter().filter_map(number));
        if chunk.last {
            return all;
        }
    }
}

fn broken(dir: &Path) -> u64 {
    let file = fs::File::open(current(dir)).unwrap();
    verify::file(&file, Some(FIRST), |_| {}).unwrap().breaks
}

#[test]
fn what_is_sent_again_is_acknowledged_and_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    assert_eq!(append(&mut store, &events(1..=3)), Ok(Some(3)));
    assert_eq!(append(&mut store, &events(2..=3)), Ok(Some(3)));
    assert_eq!(append(&mut store, &events(1..=1)), Ok(Some(3)));
    assert_eq!(append(&mut store, &events(2..=5)), Ok(Some(5)));
    drop(store);
    let mut store = open(dir.path());
    assert_eq!(append(&mut store, &events(4..=6)), Ok(Some(6)));
    assert_eq!(numbers(&store, Filter::default()), [1, 2, 3, 4, 5, 6]);
    assert_eq!(broken(dir.path()), 0);
}

#[test]
fn requests_that_wait_together_are_answered_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let requests = [events(1..=2), events(2..=3), events(5..=6), events(4..=4)];
    let results = store.append(requests.iter().map(|events| &events[..]));
    let missing = Err(AppendError::Missing { last: 3, got: 5 });
    let last = |number| Ok(vec![(SOURCE, number)]);
    assert_eq!(results, [last(2), last(3), missing, last(4)]);
    assert_eq!(numbers(&store, Filter::default()), [1, 2, 3, 4]);
    assert_eq!(broken(dir.path()), 0);
}

#[test]
fn a_request_with_a_gap_in_it_is_not_written_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let gap = [event(1), event(2), event(4)];
    assert_eq!(append(&mut store, &gap), Err(AppendError::Missing { last: 2, got: 4 }));
    assert!(numbers(&store, Filter::default()).is_empty());
    assert_eq!(append(&mut store, &events(1..=4)), Ok(Some(4)));
}

#[test]
fn sources_are_numbered_each_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let other = |sequence| Event { source: [8; 16], ..event(sequence) };
    let mut results = store.append([&[event(1), other(1), event(2), other(2), other(3)][..]]);
    let mut last = results.remove(0).unwrap();
    last.sort_unstable();
    assert_eq!(last, [(SOURCE, 2), ([8; 16], 3)]);
}

#[test]
fn a_torn_last_line_is_cut_off_and_written_again_when_it_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    append(&mut store, &events(1..=3)).unwrap();
    drop(store);
    let whole = fs::read(current(dir.path())).unwrap();
    let third = 1 + whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    for end in [third + 1, third + 50, whole.len() - 1] {
        fs::write(current(dir.path()), &whole[..end]).unwrap();
        let mut store = open(dir.path());
        assert_eq!(numbers(&store, Filter::default()), [1, 2]);
        assert_eq!(append(&mut store, &events(3..=3)), Ok(Some(3)));
        assert_eq!(fs::read(current(dir.path())).unwrap(), whole);
    }
}

#[test]
fn whatever_is_changed_shows() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    append(&mut store, &events(1..=5)).unwrap();
    drop(store);
    let whole = fs::read_to_string(current(dir.path())).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let changed = whole.replacen("dev/m2", "dev/m0", 1);
    let removed = lines[..2].iter().chain(&lines[3..]).map(|line| format!("{line}\n"));
    let swapped = [0, 2, 1, 3, 4].map(|index| format!("{}\n", lines[index]));
    let doubled = whole.replacen(lines[1], &format!("{}\n{}", lines[1], lines[1]), 1);
    let beheaded = lines[1..].join("\n") + "\n";
    let garbage = whole.replacen(lines[1], "garbage", 1);
    let removed = removed.collect::<String>();
    for (what, content) in [
        ("changed", changed),
        ("removed", removed),
        ("swapped", swapped.concat()),
        ("doubled", doubled),
        ("beheaded", beheaded),
        ("garbage", garbage),
    ] {
        fs::write(current(dir.path()), content).unwrap();
        assert!(broken(dir.path()) > 0, "{what}");
    }
}

#[test]
fn a_broken_chain_is_recorded_once_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    append(&mut store, &events(1..=5)).unwrap();
    drop(store);
    let whole = fs::read_to_string(current(dir.path())).unwrap();
    fs::write(current(dir.path()), whole.replacen("\"number\":\"3\"", "\"number\":\"9\"", 1))
        .unwrap();
    for sequence in 6..=7 {
        let mut store = open(dir.path());
        assert_eq!(append(&mut store, &events(sequence..=sequence)), Ok(Some(sequence)));
    }
    let after = fs::read_to_string(current(dir.path())).unwrap();
    let records: Vec<&str> = after.lines().filter(|line| line.contains(CHAIN_BROKEN)).collect();
    let [record] = records[..] else { panic!("{records:?}") };
    assert_eq!(field(record.as_bytes(), "breaks").unwrap(), "1");
    assert_eq!(field(record.as_bytes(), "first_line").unwrap(), "3");
    assert_eq!(broken(dir.path()), 1, "what comes after it is intact");
}

#[test]
fn full_files_get_numbers_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), SMALL).unwrap();
    for sequence in 1..=100 {
        append(&mut store, &events(sequence..=sequence)).unwrap();
    }
    let full = store.files().full().unwrap();
    assert_eq!(full.len(), 3, "{full:?}");
    assert!(full[0] > 1 && full.is_sorted(), "{full:?}");
    for number in &full {
        let length = fs::metadata(dir.path().join(format!("events.jsonl.{number}"))).unwrap().len();
        assert!((2000..3000).contains(&length), "{length}");
    }
    let numbers = numbers(&store, Filter::default());
    assert_eq!(numbers, (numbers[0]..=100).collect::<Vec<_>>());
    assert!(numbers.len() > 20, "{numbers:?}");

    // One chain over all of them, and over a restart in an empty file.
    let mut store = Store::open(dir.path(), SMALL).unwrap();
    append(&mut store, &events(99..=101)).unwrap();
    let mut previous = None;
    for number in full.into_iter().chain([store.files().current()]) {
        let file = store.files().open(number).unwrap();
        let found = verify::file(&file, previous, |_| {}).unwrap();
        assert_eq!((found.breaks, found.torn), (0, 0), "{number}");
        previous = found.last;
    }
}

#[test]
fn a_source_is_known_also_when_its_last_event_is_in_the_file_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), SMALL).unwrap();
    let mut sequence = 0;
    while store.durable().end < SMALL.full {
        sequence += 1;
        append(&mut store, &events(sequence..=sequence)).unwrap();
    }
    let other = Event { source: [8; 16], ..event(1) };
    append(&mut store, &[other]).unwrap();
    assert_eq!(store.durable().file, 2);
    drop(store);
    let mut store = Store::open(dir.path(), SMALL).unwrap();
    let end = store.durable();
    assert_eq!(append(&mut store, &events(1..=sequence)), Ok(Some(sequence)));
    assert_eq!(store.durable(), end, "nothing is written twice");
}

#[test]
fn a_crash_between_the_two_renames_of_a_rotation_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    append(&mut store, &events(1..=3)).unwrap();
    drop(store);
    fs::write(dir.path().join("events.jsonl.new"), "").unwrap();
    fs::rename(current(dir.path()), dir.path().join("events.jsonl.1")).unwrap();
    let mut store = open(dir.path());
    assert_eq!(append(&mut store, &events(3..=5)), Ok(Some(5)));
    assert_eq!(numbers(&store, Filter::default()), [1, 2, 3, 4, 5]);
}

#[test]
fn a_filter_lets_through_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let paths = ["", "dev", "dev/alice", "devil", "dev", "ops"];
    let all: Vec<Event> = (1..)
        .zip(paths)
        .map(|(sequence, path)| Event { path: path.into(), ..event(sequence) })
        .collect();
    append(&mut store, &all).unwrap();
    assert_eq!(numbers(&store, at("")), [1, 2, 3, 4, 5, 6]);
    assert_eq!(numbers(&store, at("dev")), [2, 3, 5]);
    assert_eq!(numbers(&store, at("dev/alice")), [3]);
    assert!(numbers(&store, at("de")).is_empty());
    let machine = Some("dev/m2".to_owned());
    assert_eq!(numbers(&store, Filter { machine: machine.clone(), ..at("") }), [2, 5]);
    let since_ms = Some(1_700_000_000_003);
    assert_eq!(numbers(&store, Filter { since_ms, ..at("") }), [3, 4, 5, 6]);
    assert_eq!(numbers(&store, Filter { since_ms, machine, path: "dev".into() }), [5]);
}

#[test]
fn a_reader_goes_on_over_rotations_and_through_what_is_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), Limits { full: 2000, keep: 1000 }).unwrap();
    let mut cursor = Cursor::new(store.files(), Filter::default()).unwrap();
    let mut seen = Vec::new();
    for sequence in 1..=60 {
        append(&mut store, &events(sequence..=sequence)).unwrap();
        if sequence % 7 == 0 {
            seen.extend(rest(&mut cursor, &store));
        }
    }
    seen.extend(rest(&mut cursor, &store));
    assert_eq!(seen, (1..=60).collect::<Vec<_>>());
    assert!(store.durable().file > 3);
    drop(store);

    let before = fs::read(current(dir.path())).unwrap();
    fs::write(current(dir.path()), [vec![b'x'; 3 << 20], b"\n".to_vec(), before].concat()).unwrap();
    let store = Store::open(dir.path(), Limits { full: 2000, keep: 1000 }).unwrap();
    assert_eq!(numbers(&store, Filter::default()), seen);
}

#[test]
fn a_reader_whose_file_was_removed_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), SMALL).unwrap();
    append(&mut store, &events(1..=1)).unwrap();
    let mut cursor = Cursor::new(store.files(), Filter::default()).unwrap();
    for sequence in 2..=100 {
        append(&mut store, &events(sequence..=sequence)).unwrap();
    }
    let error = cursor.read(store.durable()).unwrap_err();
    assert!(error.to_string().contains("too old"), "{error}");
}

#[test]
fn a_reader_that_was_broken_off_goes_on_where_it_was_over_rotations_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), Limits { full: 2000, keep: 1000 }).unwrap();
    let mut seen = Vec::new();
    let mut place = Cursor::new(store.files(), at("dev")).unwrap().place();
    for sequence in 1..=60 {
        append(&mut store, &events(sequence..=sequence)).unwrap();
        if sequence % 7 == 0 {
            // Another process, as far as the files are concerned.
            drop(store);
            store = Store::open(dir.path(), Limits { full: 2000, keep: 1000 }).unwrap();
            let durable = store.durable();
            let mut cursor = Cursor::after(store.files(), at("dev"), place, durable).unwrap();
            let chunk = cursor.read(durable).unwrap();
            // As if only the first of them had got through.
            let Some((line, end)) = chunk.lines.first() else { continue };
            seen.push(field(line.as_bytes(), "number").unwrap().parse::<u64>().unwrap());
            place = *end;
        }
    }
    let mut cursor = Cursor::after(store.files(), at("dev"), place, store.durable()).unwrap();
    seen.extend(rest(&mut cursor, &store));
    assert_eq!(seen, numbers(&store, at("dev")));
    assert!(store.durable().file > 3);
    let end = cursor.place();
    let mut cursor = Cursor::after(store.files(), at("dev"), end, store.durable()).unwrap();
    assert_eq!(rest(&mut cursor, &store), Vec::<u64>::new());
}

#[test]
fn a_place_that_is_not_in_the_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), SMALL).unwrap();
    append(&mut store, &events(1..=3)).unwrap();
    let durable = store.durable();
    let after = |store: &Store, file, offset| {
        let place = Place { file, offset };
        let durable = store.durable();
        Cursor::after(store.files(), Filter::default(), place, durable).map(drop)
    };
    after(&store, durable.file, durable.end).unwrap();
    for (file, offset) in
        [(durable.file, durable.end + 1), (durable.file, 1), (durable.file + 1, 0), (99, 5)]
    {
        let error = after(&store, file, offset).unwrap_err().to_string();
        assert!(error.contains("not the log"), "{file} {offset}: {error}");
    }
    for sequence in 4..=100 {
        append(&mut store, &events(sequence..=sequence)).unwrap();
    }
    let error = after(&store, 1, 0).unwrap_err().to_string();
    assert!(error.contains("too old"), "{error}");
}
