use std::fs;
use std::sync::{LazyLock, mpsc};

use proptest::prelude::*;
use rustls_pki_types::CertificateDer;
use vmm_proto::grant::Grant;
use vmm_proto::permission::{Permission, Permissions};

use super::*;
use crate::key::{Algorithm, Key};
use crate::profile;

const ISSUER: Digest = Digest([0xa7; 32]);

/// A database of two certificates, one of them taken back.
static TWO: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (_directory, path, _) = filled(2);
    let mut database = open(&path).unwrap();
    let revoked = Revoked::of(&database.issued()[0], 10);
    database.record_list(&[revoked], list(1)).unwrap();
    fs::read(&path).unwrap()
});

fn list(number: u64) -> ListMade {
    ListMade { number, at: 10, next_update: 20, entries: 1 }
}

/// Some certificates, each of another label.
fn certificates(count: usize) -> Vec<CertificateDer<'static>> {
    let key = Key::generate(Algorithm::Ed25519).unwrap();
    let grant = Grant::Permissions(Permissions::of([Permission::Info]));
    let validity = vmm_proto::authority::Validity { not_before: 0, not_after: 1_000 };
    (0..count)
        .map(|n| {
            let label = format!("leaf-{n}").parse().unwrap();
            let params = profile::granted(&label, &grant, validity).unwrap();
            params.self_signed(&key).unwrap().der().clone()
        })
        .collect()
}

fn nobody_waits() {
    panic!("the lock was free");
}

fn open(path: &Path) -> Result<Database, Error> {
    Database::open(path, ISSUER, Duration::ZERO, nobody_waits)
}

/// A database of `count` certificates in a directory of its own, and its bytes.
fn filled(count: usize) -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.db");
    let mut database = open(&path).unwrap();
    for certificate in certificates(count) {
        database.record(&certificate).unwrap();
    }
    drop(database);
    let bytes = fs::read(&path).unwrap();
    (directory, path, bytes)
}

#[test]
fn what_was_recorded_is_read_again() {
    let (_directory, path, bytes) = filled(3);
    let names = |database: &Database| -> Vec<String> {
        database.issued().iter().map(|issued| issued.name.clone()).collect()
    };
    let database = open(&path).unwrap();
    assert_eq!(names(&database), ["leaf-0", "leaf-1", "leaf-2"]);
    assert!(!database.was_torn());
    drop(database);
    assert_eq!(names(&Database::list(&path).unwrap()), ["leaf-0", "leaf-1", "leaf-2"]);
    assert_eq!(fs::read(&path).unwrap(), bytes, "reading changes nothing");
}

#[test]
fn what_was_taken_back_is_read_again() {
    let (_directory, path, _) = filled(2);
    let mut database = open(&path).unwrap();
    let known = Revoked::of(&database.issued()[1], 10);
    let unknown = Revoked::unknown(Serial([7].into()), 11);
    database.record_list(&[known.clone(), unknown.clone()], list(5)).unwrap();
    for database in [database, Database::list(&path).unwrap()] {
        assert_eq!(database.revoked().values().collect::<Vec<_>>(), [&unknown, &known]);
        assert_eq!(database.last_list(), Some(list(5)));
        let live: Vec<&str> = database.live(10).map(|issued| issued.name.as_str()).collect();
        assert_eq!(live, ["leaf-0"]);
    }
}

#[test]
fn the_number_of_a_list_grows_or_the_database_is_damaged() {
    let (_directory, path, _) = filled(1);
    let mut database = open(&path).unwrap();
    database.record_list(&[], list(5)).unwrap();
    drop(database);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    let line = bytes[last + 1..].to_vec();
    bytes.extend(line);
    fs::write(&path, bytes).unwrap();
    assert!(open(&path).unwrap_err().to_string().contains("does not grow"));
}

#[test]
fn nothing_is_created_before_the_first_record() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.db");
    drop(open(&path).unwrap());
    assert!(!path.exists());
}

/// The first line of a database of so many records.
fn first_line(records: u64) -> Vec<u8> {
    Header { records: Some(records), ..Header::new(ISSUER) }.to_line().unwrap().into_bytes()
}

fn line_ends(bytes: &[u8]) -> Vec<usize> {
    bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect()
}

#[test]
fn a_crash_at_any_byte_costs_at_most_the_record_that_was_being_written() {
    let (_directory, path, bytes) = filled(2);
    let lines = line_ends(&bytes);
    let third = certificates(3).pop().unwrap();
    for cut in 0..bytes.len() {
        // What was whole before the crash was counted before it.
        let whole = lines.iter().filter(|end| **end <= cut).count();
        let counted = whole.saturating_sub(1) as u64;
        let first = first_line(counted);
        assert_eq!(first.len(), lines[0]);
        let written: Vec<u8> = first.iter().chain(&bytes[lines[0]..]).copied().take(cut).collect();
        fs::write(&path, written).unwrap();
        let mut database = open(&path).unwrap();
        assert_eq!(database.issued().len(), whole.saturating_sub(1), "cut at {cut}");
        assert_eq!(database.was_torn(), !lines.contains(&cut), "cut at {cut}");
        database.record(&third).unwrap();
        drop(database);
        let again = open(&path).unwrap();
        assert!(!again.was_torn(), "cut at {cut}: the torn line is gone");
        assert_eq!(again.issued().len(), whole.saturating_sub(1) + 1, "cut at {cut}");
    }
}

#[test]
fn a_crash_before_records_are_counted_costs_nothing_and_the_next_counts_them() {
    let (_directory, path, bytes) = filled(2);
    for counted in 0..=2 {
        fs::write(&path, [&first_line(counted), &bytes[line_ends(&bytes)[0]..]].concat()).unwrap();
        let mut database = open(&path).unwrap();
        assert_eq!((database.issued().len(), database.was_torn()), (2, false));
        database.record(&certificates(1)[0]).unwrap();
        assert!(fs::read(&path).unwrap().starts_with(&first_line(3)));
    }
}

#[test]
fn a_file_that_was_cut_off_is_noticed_wherever_that_was() {
    let (_directory, path, bytes) = filled(2);
    for cut in line_ends(&bytes)[0]..bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        // Neither who issues nor who looks takes it for what a crash leaves.
        for error in [open(&path).unwrap_err(), Database::list(&path).unwrap_err()] {
            assert!(error.to_string().contains("counts 2 records"), "cut at {cut}: {error}");
        }
        assert_eq!(fs::read(&path).unwrap().len(), cut);
    }
}

#[test]
fn a_file_from_before_records_were_counted_is_read_and_written_as_it_is() {
    let (_directory, path, bytes) = filled(2);
    let first = Header { issuer: ISSUER, records: None }.to_line().unwrap();
    assert!(first.contains("vmm-ca database 1"));
    fs::write(&path, [first.as_bytes(), &bytes[line_ends(&bytes)[0]..]].concat()).unwrap();
    open(&path).unwrap().record(&certificates(1)[0]).unwrap();
    assert!(fs::read(&path).unwrap().starts_with(first.as_bytes()));
    assert_eq!(open(&path).unwrap().issued().len(), 3);
}

#[test]
fn the_first_line_is_always_as_long_and_fits_into_a_sector() {
    let records = [0, 1, MAX_SIZE];
    let lengths = records.map(|records| first_line(records).len());
    assert!(lengths.iter().all(|length| *length == lengths[0] && *length < 512), "{lengths:?}");
}

#[test]
fn a_first_line_that_does_not_agree_with_itself_is_damage() {
    let (_directory, path, bytes) = filled(2);
    let text = String::from_utf8(bytes).unwrap();
    let (two, three) = ("\"records\":\"0000000002\"", "\"records\":\"0000000003\"");
    for changed in [text.replace(two, three), text.replace(&format!("{two},"), "")] {
        assert_ne!(changed, text);
        fs::write(&path, changed).unwrap();
        let error = open(&path).unwrap_err().to_string();
        assert!(error.contains("line 1: ") && error.contains("its own SHA-256"), "{error}");
    }
}

#[test]
fn a_torn_line_is_seen_by_a_reader_and_left_alone() {
    let (_directory, path, bytes) = filled(2);
    let torn = [&first_line(1), &bytes[line_ends(&bytes)[0]..bytes.len() - 5]].concat();
    fs::write(&path, &torn).unwrap();
    let database = Database::list(&path).unwrap();
    assert!(database.was_torn());
    assert_eq!(database.issued().len(), 1);
    assert_eq!(fs::read(&path).unwrap(), torn);
}

#[test]
fn a_database_of_another_key_is_refused() {
    let (_directory, path, bytes) = filled(1);
    let error = Database::open(&path, Digest([8; 32]), Duration::ZERO, nobody_waits).unwrap_err();
    assert!(matches!(error, Error::Refused(Refusal::WrongDatabase { .. })), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn what_is_no_database_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes");
    let long = vec![b'x'; 300_000];
    for content in [&b"notes\n"[..], b"notes", b"{}\n", b"{", &[0; 100], &long] {
        fs::write(&path, content).unwrap();
        // A lone brace is how a database begins, and nothing of anyone else's.
        let begins = content == b"{";
        assert_eq!(open(&path).is_ok(), begins, "{:?}", content.get(..9));
        if !begins {
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }
}

#[test]
fn a_record_of_a_newer_version_is_an_error_and_not_passed_over() {
    let (_directory, path, bytes) = filled(1);
    let text = String::from_utf8(bytes).unwrap();
    for (from, to) in [
        ("{\"issued\":", "{\"revived\":"),
        ("\"kind\":\"permissions\"", "\"kind\":\"permissions\",\"new\":1"),
        ("vmm-ca database 2", "vmm-ca database 3"),
    ] {
        assert!(text.contains(from));
        fs::write(&path, text.replace(from, to)).unwrap();
        assert!(matches!(open(&path), Err(Error::Unreadable { .. })), "{to}");
    }
}

#[test]
fn a_second_user_waits_for_the_first() {
    let (_directory, path, _) = filled(1);
    let first = open(&path).unwrap();
    let (says, hears) = mpsc::channel();
    let other = path.clone();
    let second = std::thread::spawn(move || {
        let waiting = || says.send(()).unwrap();
        Database::open(&other, ISSUER, PATIENCE, waiting)
            .unwrap()
            .record(&certificates(1)[0])
            .unwrap();
    });
    hears.recv().unwrap();
    let mut first = first;
    first.record(&certificates(1)[0]).unwrap();
    drop(first);
    second.join().unwrap();
    assert_eq!(open(&path).unwrap().issued().len(), 3);
}

#[test]
fn the_lock_ends_with_its_owner_even_if_a_child_has_the_file_open() {
    let (_directory, path, _) = filled(1);
    let database = open(&path).unwrap();
    // As a child has it that another thread forked.
    let inherited = database.file.as_ref().unwrap().try_clone().unwrap();
    drop(database);
    open(&path).unwrap();
    drop(inherited);
}

#[test]
fn whoever_has_no_more_patience_is_told_and_changes_nothing() {
    let (_directory, path, bytes) = filled(1);
    let _first = open(&path).unwrap();
    let mut waited = false;
    let second = Database::open(&path, ISSUER, Duration::from_millis(1), || waited = true);
    assert!(waited && matches!(second, Err(Error::InUse { .. })), "{second:?}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_changed_byte_anywhere_is_noticed(place in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let mut bytes = TWO.clone();
        let place = place.index(bytes.len());
        bytes[place] ^= 1_u8 << bit;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &bytes).unwrap();
        prop_assert!(open(file.path()).is_err());
    }

    #[test]
    fn no_bytes_at_all_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut database = TWO.clone();
        database.extend(bytes);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &database).unwrap();
        let _ = open(file.path());
    }
}
