//! What outlives the supervisor: an embedded transactional store, `journal.redb` in its state
//! directory (`docs/adr/0010-the-journal.md`).
//!
//! The engine says what is to be kept ([`Keep`]), and what is to be recorded of it in the log goes
//! with it ([`outbox`]); the changes of one batch of events become durable together. What is stored
//! is DER ([`record`]); long revocation lists have files of their own ([`lists`]).

mod host_networks;
mod lists;
mod machines;
mod outbox;
#[cfg(test)]
mod power_loss;
mod record;
#[cfg(test)]
pub(crate) mod samples;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail, ensure};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use vmm_engine::{Keep, Slot};
use vmm_proto::id::Digest;
use vmm_proto::message::log::Event;
use vmm_proto::revocation::RevocationList;

use lists::{Lists, is_long};

/// The delegations that are remembered, by the key that signed them and their label.
const DELEGATIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("delegations");

/// The revocation lists that are in force, by the key of their issuer.
const LISTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("lists");

/// What this file is: the version of its tables.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const VERSION: u64 = 4;

/// Memory for pages of the store, in bytes.
const CACHE: usize = 1 << 20;

/// What one transaction changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// What is kept, or is not any more.
    pub(crate) kept: BTreeMap<Slot, Keep>,
    /// What is to be recorded in the log, numbered on from what was before.
    pub(crate) events: Vec<Event>,
    /// Events up to this number are on `vmm-log`'s disk and need not be kept.
    pub(crate) sent: u64,
    /// Of which boot of the host the machines are from now on.
    pub(crate) boot: Option<String>,
}

/// What a former run left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// What the engine is handed back.
    pub(crate) kept: Vec<Keep>,
    /// What was recorded and may not be on `vmm-log`'s disk.
    pub(crate) events: Vec<Event>,
    /// How events are numbered.
    pub(crate) numbering: Numbering,
    /// Of which boot of the host the machines are; `None` before the first machine.
    pub(crate) boot: Option<String>,
}

/// How events are numbered: by their journal, and on from the last one over all runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbering {
    /// The journal's own random number.
    pub(crate) source: [u8; 16],
    /// The number of the last event; 0 before the first.
    pub(crate) last: u64,
}

/// The journal. Clones are of the same one.
#[derive(Clone)]
pub(crate) struct Journal {
    path: Arc<PathBuf>,
    /// `None` after a failed write: the store has to be opened again then.
    database: Arc<Mutex<Option<Database>>>,
    lists: Arc<Lists>,
    /// Long lists that are not in force any more, and whose files may be removed.
    replaced: Arc<Mutex<Vec<Digest>>>,
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
        Self::of(database, path, dir)
    }

    /// A journal that is not in a file.
    #[cfg(test)]
    fn over(database: Database, dir: &Path) -> anyhow::Result<Self> {
        begin(&database)?;
        Self::of(database, dir.join("journal.redb"), dir)
    }

    fn of(database: Database, path: PathBuf, dir: &Path) -> anyhow::Result<Self> {
        let lists = Lists::open(dir)
            .with_context(|| format!("cannot make {}", dir.join("lists").display()))?;
        Ok(Self {
            path: Arc::new(path),
            database: Arc::new(Mutex::new(Some(database))),
            lists: Arc::new(lists),
            replaced: Arc::default(),
        })
    }

    /// Everything that was kept. Files that belong to none of it are removed.
    ///
    /// # Errors
    /// When it cannot be read: nothing is skipped, since what is missing could have refused
    /// something.
    pub(crate) fn load(&self) -> anyhow::Result<Left> {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().context("the journal is not open")?;
        let read = || -> anyhow::Result<Left> {
            let transaction = database.begin_read()?;
            let (mut kept, mut named) = (Vec::new(), HashSet::new());
            for entry in transaction.open_table(DELEGATIONS)?.iter()? {
                let (_, value) = entry?;
                kept.push(Keep::Delegation(Box::new(record::delegation(value.value())?)));
            }
            for entry in transaction.open_table(LISTS)?.iter()? {
                let (_, value) = entry?;
                named.extend(record::file_of_list(value.value())?);
                let list = record::list(value.value(), &self.lists)?;
                kept.push(Keep::Revocations(Arc::new(list)));
            }
            self.lists.retain(&named).context("cannot remove what is left of former lists")?;
            let boot = machines::load(&transaction, &mut kept)?;
            host_networks::load(&transaction, &mut kept)?;
            let (events, numbering) = outbox::load(&transaction)?;
            Ok(Left { kept, events, numbering, boot })
        };
        read().with_context(|| {
            let path = self.path.display();
            format!(
                "cannot read the journal {path}: put it back from a copy, or move it away to begin \
                 anew; then machines that run are ended, and lists of what is revoked have to be \
                 handed in again"
            )
        })
    }

    /// Makes changes durable: all of them or none.
    ///
    /// # Errors
    /// When the store cannot be written. The changes may be offered again.
    pub(crate) fn commit(&self, changes: &Changes) -> anyhow::Result<()> {
        let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match slot.take() {
            Some(database) => database,
            None => open(&self.path)?,
        };
        let replaced = write(&database, changes, &self.lists)
            .with_context(|| format!("cannot write the journal {}", self.path.display()))?;
        *slot = Some(database);
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner).extend(replaced);
        Ok(())
    }

    /// Puts a long list, `der` as its issuer has signed it, where [`Journal::commit`] will look for
    /// it. To be called before the engine is shown it; a short one goes into the journal with it.
    ///
    /// # Errors
    /// When it cannot be written; nothing is left of it then.
    pub(crate) fn store_list(&self, list: &RevocationList, der: &[u8]) -> io::Result<()> {
        if is_long(list) { self.lists.store(der, &list.sha256) } else { Ok(()) }
    }

    /// Removes what [`Journal::store_list`] stored of a list that did not come into force.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn discard_list(&self, list: &RevocationList) -> io::Result<()> {
        if is_long(list) { self.lists.remove(&list.sha256) } else { Ok(()) }
    }

    /// Removes the files of lists that newer ones have taken the place of.
    ///
    /// # Errors
    /// When one cannot be removed: it is when the journal is loaded again.
    pub(crate) fn remove_replaced_lists(&self) -> io::Result<()> {
        let replaced =
            std::mem::take(&mut *self.replaced.lock().unwrap_or_else(PoisonError::into_inner));
        replaced.iter().try_for_each(|sha256| self.lists.remove(sha256))
    }
}

fn open(path: &Path) -> anyhow::Result<Database> {
    let database = Database::builder().set_cache_size(CACHE).create(path)?;
    begin(&database)?;
    Ok(database)
}

/// Makes the tables that are missing.
fn begin(database: &Database) -> anyhow::Result<()> {
    let transaction = database.begin_write()?;
    {
        let mut about = transaction.open_table(ABOUT)?;
        let version = about.get("version")?.map(|version| version.value());
        match version {
            Some(VERSION) => {}
            // A new one, or one with some tables and fields less.
            None | Some(1..=3) => {
                about.insert("version", VERSION)?;
            }
            Some(other) => {
                bail!("version {other} of this program wrote it; this one reads version {VERSION}")
            }
        }
        transaction.open_table(DELEGATIONS)?;
        transaction.open_table(LISTS)?;
        machines::prepare(&transaction)?;
        host_networks::prepare(&transaction)?;
        outbox::prepare(&transaction)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Returns the files of lists that others have taken the place of.
fn write(database: &Database, changes: &Changes, files: &Lists) -> anyhow::Result<Vec<Digest>> {
    let transaction = database.begin_write()?;
    let mut replaced = Vec::new();
    {
        let mut delegations = transaction.open_table(DELEGATIONS)?;
        let mut lists = transaction.open_table(LISTS)?;
        for change in changes.kept.values() {
            match change {
                Keep::Delegation(remembered) => {
                    let link = &remembered.link;
                    let key = record::delegation_key(&link.issuer, &link.label);
                    let value = record::delegation_to_der(remembered)?;
                    delegations.insert(key.as_slice(), value.as_slice())?;
                }
                Keep::Revocations(list) => {
                    ensure!(!is_long(list) || files.has(&list.sha256), "a list has no file");
                    let value = record::list_to_der(list)?;
                    let former = lists.insert(list.issuer.0.as_slice(), value.as_slice())?;
                    let former = former.map(|former| record::file_of_list(former.value()));
                    let former = former.transpose()?.flatten();
                    replaced.extend(former.filter(|former| *former != list.sha256));
                }
                Keep::ForgetDelegation { issuer, label } => {
                    delegations.remove(record::delegation_key(issuer, label).as_slice())?;
                }
                Keep::Machine(machine) => machines::keep(&transaction, machine)?,
                Keep::ForgetMachine { id } => machines::forget(&transaction, *id)?,
                Keep::Host(host) => machines::keep_host(&transaction, *host)?,
                Keep::HostNetwork(network) => host_networks::keep(&transaction, network)?,
                Keep::ForgetHostNetwork { name } => host_networks::forget(&transaction, name)?,
            }
        }
    }
    if let Some(boot) = &changes.boot {
        machines::keep_boot(&transaction, boot)?;
    }
    outbox::write(&transaction, &changes.events, changes.sent)?;
    transaction.commit()?;
    Ok(replaced)
}

#[cfg(test)]
mod tests {
    use vmm_engine::Remembered;
    use vmm_proto::authority::{Link, Serial, Validity};
    use vmm_proto::resource::{Bridges, Delegation};

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
        Remembered { link, seen_unix_ms: 1_700_000_000_123, until_s: i64::MAX, paths: paths.into() }
    }

    fn changes(kept: impl IntoIterator<Item = Keep>) -> Changes {
        let kept = kept.into_iter().map(|keep| (keep.slot(), keep)).collect();
        Changes { kept, ..Changes::default() }
    }

    fn keep(label: &str, generation: u64) -> Keep {
        Keep::Delegation(Box::new(remembered(label, generation)))
    }

    #[test]
    fn what_was_committed_is_there_when_it_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.load().unwrap().kept, []);
        journal.commit(&changes([keep("dev", 1), keep("ops", 1)])).unwrap();
        journal.commit(&changes([keep("dev", 2)])).unwrap();
        let issuer = Digest([1; 32]);
        let label = "ops".parse().unwrap();
        let forget = Keep::ForgetDelegation { issuer, label };
        journal.commit(&changes([forget, keep("qa", 4)])).unwrap();
        drop(journal);
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.load().unwrap().kept, [keep("dev", 2), keep("qa", 4)]);
    }

    #[test]
    fn machines_the_host_and_its_boot_come_back_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let machine = |image, run| {
            let machine = samples::machine(image, vmm_engine::KeptPhase::Running);
            Keep::Machine(Box::new(vmm_engine::KeptMachine { run, ..machine }))
        };
        let host = |draining| Keep::Host(vmm_engine::KeptHost { draining });
        assert_eq!(journal.load().unwrap().boot, None);
        let boot = Some("this one".to_owned());
        let first = changes([machine(1, 1), machine(2, 1), host(true)]);
        journal.commit(&Changes { boot: boot.clone(), ..first }).unwrap();
        let id = vmm_proto::id::MachineId(2_u128.to_be_bytes());
        journal.commit(&changes([machine(1, 2), Keep::ForgetMachine { id }])).unwrap();
        drop(journal);
        let left = Journal::open(dir.path()).unwrap().load().unwrap();
        assert_eq!((left.kept, left.boot), (vec![machine(1, 2), host(true)], boot));
    }

    #[test]
    fn a_machine_that_cannot_be_read_is_named_with_the_file_and_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let machine = samples::machine(1, vmm_engine::KeptPhase::Running);
        journal.commit(&changes([Keep::Machine(Box::new(machine.clone()))])).unwrap();
        drop(journal);
        let path = dir.path().join("journal.redb");
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let machines: TableDefinition<'_, [u8; 16], &[u8]> = TableDefinition::new("machines");
        let mut der = record::machine_to_der(&machine).unwrap();
        der[8] ^= 0x80;
        transaction.open_table(machines).unwrap().insert(machine.id.0, der.as_slice()).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = format!("{:#}", Journal::open(dir.path()).unwrap().load().unwrap_err());
        for part in [path.to_str().unwrap(), "put it back", &machine.id.to_string()] {
            assert!(error.contains(part), "{error}");
        }
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
        transaction.open_table(ABOUT).unwrap().insert("version", 1_000).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = Journal::open(dir.path()).err().unwrap();
        assert!(format!("{error:#}").contains("version 1000"), "{error:#}");

        std::fs::write(&path, b"something else").unwrap();
        assert!(Journal::open(dir.path()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"something else");
    }
}
