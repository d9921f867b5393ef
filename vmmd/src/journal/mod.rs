//! What outlives the supervisor: an embedded transactional store, `journal.redb` in its state
//! directory (`docs/adr/0010-the-journal.md`).
//!
//! The engine says what is to be kept ([`Keep`]); the changes of one batch of events become durable
//! together, before anything that depends on them is done or answered. What is stored is DER
//! ([`record`]).

mod record;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use vmm_engine::Keep;

/// The delegations that are remembered, by the key that signed them and their label.
const DELEGATIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("delegations");

/// The revocation lists that are in force, by the key of their issuer.
const LISTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("lists");

/// What this file is: the version of its tables.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const VERSION: u64 = 1;

/// Memory for pages of the store, in bytes.
const CACHE: usize = 1 << 20;

/// The journal. Clones are of the same one.
#[derive(Clone)]
pub(crate) struct Journal {
    path: Arc<PathBuf>,
    /// `None` after a failed write: the store has to be opened again then.
    database: Arc<Mutex<Option<Database>>>,
}

impl Journal {
    /// Opens the journal of the state directory `dir`, or begins one.
    ///
    /// # Errors
    /// When it cannot be read or made, or another version wrote it.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("journal.redb");
        let database =
            open(&path).with_context(|| format!("cannot open the journal {}", path.display()))?;
        Ok(Self { path: Arc::new(path), database: Arc::new(Mutex::new(Some(database))) })
    }

    /// Everything that was kept.
    ///
    /// # Errors
    /// When it cannot be read: nothing is skipped, since what is missing could have refused
    /// something.
    pub(crate) fn load(&self) -> anyhow::Result<Vec<Keep>> {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().context("the journal is not open")?;
        let read = || -> anyhow::Result<Vec<Keep>> {
            let transaction = database.begin_read()?;
            let mut kept = Vec::new();
            for entry in transaction.open_table(DELEGATIONS)?.iter()? {
                let (_, value) = entry?;
                kept.push(Keep::Delegation(Box::new(record::delegation(value.value())?)));
            }
            for entry in transaction.open_table(LISTS)?.iter()? {
                let (_, value) = entry?;
                kept.push(Keep::Revocations(Arc::new(record::list(value.value())?)));
            }
            Ok(kept)
        };
        read().with_context(|| format!("cannot read the journal {}", self.path.display()))
    }

    /// Makes changes durable: all of them or none.
    ///
    /// # Errors
    /// When the store cannot be written. The changes may be offered again.
    pub(crate) fn commit(&self, changes: &[Keep]) -> anyhow::Result<()> {
        let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match slot.take() {
            Some(database) => database,
            None => open(&self.path)?,
        };
        write(&database, changes)
            .with_context(|| format!("cannot write the journal {}", self.path.display()))?;
        *slot = Some(database);
        Ok(())
    }
}

fn open(path: &Path) -> anyhow::Result<Database> {
    let database = Database::builder().set_cache_size(CACHE).create(path)?;
    let transaction = database.begin_write()?;
    {
        let mut about = transaction.open_table(ABOUT)?;
        let version = about.get("version")?.map(|version| version.value());
        match version {
            Some(VERSION) => {}
            Some(other) => {
                bail!("version {other} of this program wrote it; this one reads version {VERSION}")
            }
            None => {
                about.insert("version", VERSION)?;
            }
        }
        transaction.open_table(DELEGATIONS)?;
        transaction.open_table(LISTS)?;
    }
    transaction.commit()?;
    Ok(database)
}

fn write(database: &Database, changes: &[Keep]) -> anyhow::Result<()> {
    let transaction = database.begin_write()?;
    {
        let mut delegations = transaction.open_table(DELEGATIONS)?;
        let mut lists = transaction.open_table(LISTS)?;
        for change in changes {
            match change {
                Keep::Delegation(remembered) => {
                    let link = &remembered.link;
                    let key = record::delegation_key(&link.issuer, &link.label);
                    let value = record::delegation_to_der(remembered)?;
                    delegations.insert(key.as_slice(), value.as_slice())?;
                }
                Keep::Revocations(list) => {
                    lists
                        .insert(list.issuer.0.as_slice(), record::list_to_der(list)?.as_slice())?;
                }
                Keep::ForgetDelegation { issuer, label } => {
                    delegations.remove(record::delegation_key(issuer, label).as_slice())?;
                }
                Keep::Machine(_) | Keep::ForgetMachine { .. } | Keep::Host(_) => {
                    bail!("this version of the journal has no place for {:?}", change.slot());
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use vmm_engine::Remembered;
    use vmm_proto::authority::{Link, Serial, Validity};
    use vmm_proto::id::Digest;
    use vmm_proto::resource::{Bridges, Delegation};
    use vmm_proto::revocation::{BadSerial, RevocationList, Serials};

    use super::*;

    fn remembered(label: &str, generation: u64) -> Remembered {
        let link = Link {
            label: label.parse().unwrap(),
            issuer: Digest([1; 32]),
            key: Digest([2; 32]),
            serial: Serial([7, 0, 255].into()),
            grant: Delegation {
                generation,
                machines: 3,
                memory_mib: 64,
                cpus: [0, 5].into_iter().collect(),
                storage_mib: 9,
                bridges: Bridges::default(),
                hosts: None,
            },
            validity: Validity { not_before: -5, not_after: 253_402_300_799 },
        };
        let path = |text: &str| vmm_proto::name::Path::parse(text).unwrap();
        let paths = vec![path(label), path(&format!("x/{label}"))];
        Remembered { link, seen_unix_ms: 1_700_000_000_123, until_s: i64::MAX, paths }
    }

    fn keep(label: &str, generation: u64) -> Keep {
        Keep::Delegation(Box::new(remembered(label, generation)))
    }

    #[test]
    fn what_was_committed_is_there_when_it_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.load().unwrap(), []);
        journal.commit(&[keep("dev", 1), keep("ops", 1)]).unwrap();
        journal.commit(&[keep("dev", 2)]).unwrap();
        let issuer = Digest([1; 32]);
        let label = "ops".parse().unwrap();
        journal.commit(&[Keep::ForgetDelegation { issuer, label }, keep("qa", 4)]).unwrap();
        drop(journal);
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.load().unwrap(), [keep("dev", 2), keep("qa", 4)]);
    }

    #[test]
    fn a_list_comes_back_as_it_was_however_long_it_is() {
        let list = |number: u64, count: u32| {
            let serials: Vec<_> = (1..=count).map(u32::to_be_bytes).collect();
            let serials = serials.iter().map(|serial| Ok::<_, BadSerial>(serial.as_slice()));
            Keep::Revocations(Arc::new(RevocationList {
                issuer: Digest([9; 32]),
                path: vmm_proto::name::Path::parse("dev/alice").unwrap(),
                number: number.into(),
                this_update: 1_700_000_000,
                next_update: 1_800_000_000,
                serials: Serials::collect(serials).unwrap(),
            }))
        };
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        journal.commit(&[list(1, 100_000)]).unwrap();
        assert_eq!(journal.load().unwrap(), [list(1, 100_000)]);
        journal.commit(&[list(1 << 40, 0)]).unwrap();
        drop(journal);
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.load().unwrap(), [list(1 << 40, 0)]);
    }

    #[test]
    fn only_one_process_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let _journal = Journal::open(dir.path()).unwrap();
        assert!(Journal::open(dir.path()).is_err());
    }

    #[test]
    fn another_version_or_another_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.redb");
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(ABOUT).unwrap().insert("version", 2).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = Journal::open(dir.path()).err().unwrap();
        assert!(format!("{error:#}").contains("version 2"), "{error:#}");

        std::fs::write(&path, b"something else").unwrap();
        assert!(Journal::open(dir.path()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"something else");
    }
}
