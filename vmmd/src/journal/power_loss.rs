//! What is left of the journal when the power fails: whatever the disk had of it by then, it opens as
//! it was before a transaction or as it was after it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use proptest::collection::vec;
use proptest::prelude::*;
use redb::StorageBackend;
use vmm_engine::{Keep, KeptMachine, KeptPhase};
use vmm_proto::id::MachineId;
use vmm_proto::message::log::Event;

use super::{CACHE, Changes, Database, Journal, Left, samples};

/// What was asked of the disk.
#[derive(Debug, Clone)]
enum Op {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
    Sync,
}

impl Op {
    /// Done to what the disk has, up to `bytes` of it when it is a write.
    fn apply(&self, disk: &mut Vec<u8>, up_to: usize) {
        match self {
            Self::Write { offset, bytes } => {
                let bytes = &bytes[..bytes.len().min(up_to)];
                let end = offset + bytes.len();
                if disk.len() < end {
                    disk.resize(end, 0);
                }
                disk[*offset..end].copy_from_slice(bytes);
            }
            Self::SetLen(len) => disk.resize(*len, 0),
            Self::Sync => {}
        }
    }
}

/// A disk that remembers what was asked of it.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, Vec<Op>)>>);

impl Disk {
    fn with<T>(&self, look: impl FnOnce(&mut Vec<u8>, &mut Vec<Op>) -> T) -> T {
        let mut both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, ops) = &mut *both;
        look(bytes, ops)
    }

    fn ask(&self, op: Op) {
        self.with(|bytes, ops| {
            op.apply(bytes, usize::MAX);
            ops.push(op);
        });
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.with(|bytes, _| bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let begin = place(offset);
        self.with(|bytes, _| match bytes.get(begin..begin + out.len()) {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        })
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.ask(Op::SetLen(place(len)));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.ask(Op::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.ask(Op::Write { offset: place(offset), bytes: data.to_vec() });
        Ok(())
    }
}

fn opened(disk: Disk, dir: &Path) -> anyhow::Result<Journal> {
    let database = Database::builder().set_cache_size(CACHE).create_with_backend(disk)?;
    Journal::over(database, dir)
}

/// Everything that was asked of a disk, and what the journal held after how much of it.
struct Story {
    ops: Vec<Op>,
    states: Vec<(usize, Left)>,
}

/// A transaction that changes a few machines, and tells of it.
fn changes(number: u64, source: [u8; 16]) -> Changes {
    let machine = |image: u64| {
        let machine = samples::machine(image, KeptPhase::Running);
        let reason = Some("x".repeat(usize::try_from(number * 300).unwrap()));
        Keep::Machine(Box::new(KeptMachine { run: number, reason, ..machine }))
    };
    let id = MachineId(u128::from(number / 2).to_be_bytes());
    let kept = [machine(number), machine(number + 1), Keep::ForgetMachine { id }];
    let event = |sequence| Event {
        source,
        sequence,
        time_ms: number,
        kind: "started".to_owned(),
        path: "dev".to_owned(),
        machine: None,
        fields: vec![("note".to_owned(), "y".repeat(500))],
    };
    Changes {
        kept: kept.into_iter().map(|keep| (keep.slot(), keep)).collect(),
        events: (number * 3 - 2..=number * 3).map(event).collect(),
        sent: number.saturating_sub(2) * 3,
        boot: Some(format!("boot {}", number / 4)),
    }
}

fn story(transactions: u64) -> Story {
    let (disk, dir) = (Disk::default(), tempfile::tempdir().unwrap());
    let journal = opened(disk.clone(), dir.path()).unwrap();
    let now = || (disk.with(|_, ops| ops.len()), journal.load().unwrap());
    let mut states = vec![now()];
    let source = states[0].1.numbering.source;
    for number in 1..=transactions {
        journal.commit(&changes(number, source)).unwrap();
        states.push(now());
    }
    Story { ops: disk.with(|_, ops| ops.clone()), states }
}

/// What became of a write that nobody waited for.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Done,
    Lost,
    /// So many blocks of 512 bytes of it.
    Torn(u8),
}

impl Story {
    /// Fails unless what the disk has after so much of the story opens as it should.
    fn check(&self, until: usize, fate: impl Fn(usize) -> Fate) {
        let ops = &self.ops[..until];
        let synced = ops.iter().rposition(|op| matches!(op, Op::Sync)).map_or(0, |last| last + 1);
        let mut bytes = Vec::new();
        for (at, op) in ops.iter().enumerate() {
            match if at < synced { Fate::Done } else { fate(at) } {
                Fate::Done => op.apply(&mut bytes, usize::MAX),
                Fate::Lost => {}
                Fate::Torn(blocks) => op.apply(&mut bytes, usize::from(blocks) * 512),
            }
        }
        let disk = Disk(Arc::new(Mutex::new((bytes, Vec::new()))));
        let dir = tempfile::tempdir().unwrap();
        let done = self.states.iter().filter(|(ops, _)| *ops <= until).count();
        let journal = match opened(disk, dir.path()) {
            Ok(journal) => journal,
            // It was never there: nobody relied on it.
            Err(_) if done == 0 => return,
            Err(error) => panic!("after {until} of {}: {error:#}", self.ops.len()),
        };
        let left = journal.load().unwrap();
        if done == 0 {
            assert!(left.kept.is_empty() && left.events.is_empty(), "after {until}");
        } else {
            let right = self.states[done - 1..].iter().take(2).any(|(_, state)| *state == left);
            assert!(right, "after {until}: neither as before nor as after transaction {done}");
        }
        let next = left.numbering.last / 3 + 1;
        journal.commit(&changes(next, left.numbering.source)).unwrap();
        assert_eq!(journal.load().unwrap().numbering.last, next * 3);
    }
}

#[test]
fn every_prefix_of_what_was_written_opens_as_before_or_after_a_transaction() {
    let story = story(8);
    for until in 0..=story.ops.len() {
        story.check(until, |_| Fate::Done);
        story.check(until, |_| Fate::Lost);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn so_does_what_is_left_when_any_write_that_nobody_waited_for_is_lost_or_torn(
        transactions in 1..8_u64,
        until in any::<prop::sample::Index>(),
        fates in vec(
            prop_oneof![Just(Fate::Done), Just(Fate::Lost), (0..9_u8).prop_map(Fate::Torn)],
            32,
        ),
    ) {
        let story = story(transactions);
        story.check(until.index(story.ops.len() + 1), |at| fates[at % fates.len()]);
    }
}
