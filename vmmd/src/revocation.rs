//! Revocation lists on their way to the engine: from a file of the host's own directory, or from
//! pieces that a client sends.
//!
//! A list may have 64 MiB. Nobody but whoever hands it in waits while it is verified and gets to the
//! disk, and only one long list is held in memory at a time. Short lists never wait for long ones:
//! whoever wants to cut somebody off can.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;

use anyhow::Context;
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;
use vmm_engine::{Answer, Engine, Event};
use vmm_proto::chain::crl::authorize_crl;
use vmm_proto::chain::crl::pem::{CrlFile, MAX_FILE};
use vmm_proto::id::MachineId;
use vmm_proto::message::client::{Error, ErrorCode};
use vmm_proto::name::Path;
use vmm_proto::revocation::{CrlNumber, NotTaken, RevocationList};

use crate::core::{Core, Requester};
use crate::failure::Failure;
use crate::journal::Journal;
use crate::links::log::{Entry, Recorder};
use crate::{clock, tls};

/// The bytes of a short list, at most: about 1,700 serial numbers. To verify it takes no longer than
/// a handshake, and it has no file of its own.
pub(crate) const SHORT: usize = 64 << 10;

/// A list in DER and the chain of its issuer.
pub(crate) type Signed = (Vec<u8>, Vec<CertificateDer<'static>>);

/// What lists are verified with, and where they go.
#[derive(Clone)]
pub(crate) struct Desk {
    identity: tls::Identity,
    core: Core,
    journal: Journal,
    /// The one turn at a short list, and the one at a long list.
    turns: [Arc<Semaphore>; 2],
}

/// A list that came into force.
pub(crate) struct InForce {
    /// The issuer's path and the list's number.
    pub(crate) issuer: Path,
    pub(crate) number: CrlNumber,
    /// How many serial numbers it holds.
    pub(crate) serials: usize,
    /// The machines that it ends.
    pub(crate) machines: Vec<MachineId>,
}

impl Desk {
    pub(crate) fn new(identity: tls::Identity, core: Core, journal: Journal) -> Self {
        let turns = [(), ()].map(|()| Arc::new(Semaphore::new(1)));
        Self { identity, core, journal, turns }
    }

    /// Verifies the list of `size` bytes that `read` gets, and has it come into force on behalf of
    /// `by`. What has begun is seen through, also when nobody waits for it any more.
    ///
    /// # Errors
    /// Which rule it breaks, or why it cannot be kept; in the answer: why it would change nothing or
    /// has no room.
    pub(crate) async fn hand_in(
        &self,
        by: &Arc<Requester>,
        size: usize,
        read: impl FnOnce() -> Result<Signed, Error> + Send + 'static,
    ) -> Result<Result<InForce, NotTaken>, Failure> {
        let turns = &self.turns[usize::from(size > SHORT)];
        let turn = Arc::clone(turns).acquire_owned().await.map_err(|error| internal(&error))?;
        let (desk, by) = (self.clone(), Arc::clone(by));
        let work = async move {
            let _turn = turn;
            desk.see_through(&by, read).await
        };
        tokio::spawn(work).await.map_err(|error| internal(&error))?
    }

    async fn see_through(
        &self,
        by: &Arc<Requester>,
        read: impl FnOnce() -> Result<Signed, Error> + Send + 'static,
    ) -> Result<Result<InForce, NotTaken>, Failure> {
        let (list, der) = self.verify(read).await?;
        let judged = Arc::clone(&list);
        let judge = move |engine: &Engine| engine.judge_list(&judged);
        if let Err(reason) = self.core.look_in_turn(judge).await? {
            return Ok(Err(reason));
        }
        let stored = Arc::clone(&list);
        self.on_disk(move |journal| journal.store_list(&stored, &der)).await?;
        let done = self.enforce(by, &list).await;
        // Nobody waits for what is only tidied up.
        if done.is_err() && !self.is_in_force(&list).await? {
            self.tidy(move |journal| journal.discard_list(&list)).await;
        }
        self.tidy(Journal::remove_replaced_lists).await;
        done.map(Ok)
    }

    async fn verify(
        &self,
        read: impl FnOnce() -> Result<Signed, Error> + Send + 'static,
    ) -> Result<(Arc<RevocationList>, Vec<u8>), Error> {
        let identity = self.identity.clone();
        let work = move || {
            let (der, chain) = read()?;
            let now = clock::unix_s();
            let verified = authorize_crl(&der, &chain, &identity.root, Some(&identity.key), now);
            let verified = verified.map_err(|error| Error::new(ErrorCode::Chain, error))?;
            Ok((Arc::new(verified.list), der))
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| internal(&error))?
    }

    async fn enforce(
        &self,
        by: &Arc<Requester>,
        list: &Arc<RevocationList>,
    ) -> Result<InForce, Failure> {
        let (issuer, number) = (list.path.clone(), list.number);
        let list = Arc::clone(list);
        let event = move |token| Event::Revoke { token, list };
        match self.core.request_in_turn(by, event).await? {
            Answer::Revoked { serials, machines } => {
                Ok(InForce { issuer, number, serials, machines })
            }
            other => Err(internal(&format!("the engine answered {other:?}")).into()),
        }
    }

    /// Whether this very list is in force, which the journal may still have to be told.
    async fn is_in_force(&self, list: &RevocationList) -> Result<bool, Error> {
        let (issuer, sha256) = (list.issuer, list.sha256);
        let known = move |engine: &Engine| {
            engine.list_in_force(&issuer).is_some_and(|known| known.sha256 == sha256)
        };
        self.core.look_in_turn(known).await
    }

    async fn on_disk(
        &self,
        work: impl FnOnce(&Journal) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        let journal = self.journal.clone();
        let done = tokio::task::spawn_blocking(move || work(&journal)).await;
        done.map_err(|error| internal(&error))?.map_err(|error| not_stored(&error))
    }

    /// Removes files; those that stay are removed at the next start.
    async fn tidy(&self, work: impl FnOnce(&Journal) -> io::Result<()> + Send + 'static) {
        if let Err(error) = self.on_disk(work).await {
            tracing::error!("a list that is not in force is left over: {error}");
        }
    }

    /// Hands in every `*.crl` file of the host's own directory. One that is not taken is reported
    /// and holds up nothing; one that is in force already is passed over.
    pub(crate) async fn hand_in_directory(&self, dir: &std::path::Path, recorder: &Recorder) {
        let files = match list_files(dir) {
            Ok(files) => files,
            Err(error) => return tracing::error!("{error:#}"),
        };
        let by = Requester::host(format!("the host's directory {}", dir.display()));
        for path in files {
            match self.hand_in_file(&by, &path).await {
                Ok(()) => {}
                Err(Failure { error, recorded }) => {
                    tracing::error!("{} was not taken: {error}", path.display());
                    if !recorded {
                        let entry = Entry::of("refused", "").with("by", &by.who);
                        let message = format!("{}: {error}", path.display());
                        let entry = entry.with("code", error.code.as_str());
                        recorder.record(entry.with("message", message));
                    }
                }
            }
        }
    }

    async fn hand_in_file(
        &self,
        by: &Arc<Requester>,
        path: &std::path::Path,
    ) -> Result<(), Failure> {
        let usage = |error: io::Error| Error::new(ErrorCode::Usage, error);
        let size = std::fs::metadata(path).map_err(usage)?.len();
        let (file, size) = (path.to_owned(), usize::try_from(size).unwrap_or(usize::MAX));
        let done = self.hand_in(by, size, move || read_file(&file)).await?;
        let InForce { issuer, number, serials, machines } = match done {
            Ok(in_force) => in_force,
            Err(NotTaken::Known { .. } | NotTaken::NotNewer { .. }) => {
                tracing::debug!("{}: this one, or a newer one, is in force", path.display());
                return Ok(());
            }
            Err(reason) => return Err(Error::new(ErrorCode::Chain, reason).into()),
        };
        tracing::info!(
            "{}: list {number} of \"{issuer}/\" is in force: {serials} serial numbers, {} machines \
             ended",
            path.display(),
            machines.len()
        );
        Ok(())
    }
}

/// What whoever hands in a list is told when there is no room for it on the disk.
pub(crate) fn not_stored(error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorCode::Internal, format!("the list cannot be stored here: {error}"))
}

fn internal(error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorCode::Internal, error)
}

/// The lists of a directory in the order of their names; none when there is no directory.
fn list_files(dir: &std::path::Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot read {}", dir.display()))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "crl") {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn read_file(path: &std::path::Path) -> Result<Signed, Error> {
    let usage = |error: &dyn std::fmt::Display| Error::new(ErrorCode::Usage, error);
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| usage(&error))?;
    let limit = MAX_FILE as u64 + 1;
    file.take(limit).read_to_end(&mut text).map_err(|error| usage(&error))?;
    let CrlFile { der, chain } = CrlFile::parse(&text).map_err(|error| usage(&error))?;
    Ok((der, chain))
}

/// A list that arrives in pieces.
pub(crate) struct Spool {
    kept: Kept,
    left: usize,
}

/// Where its pieces are.
enum Kept {
    /// Those of a short list.
    Memory(Vec<u8>),
    /// Those of a long one: a file without a name, gone with whoever holds it.
    File(File),
}

impl Spool {
    /// Room for `size` bytes; for a long list in the directory `dir`.
    pub(crate) fn new(dir: &std::path::Path, size: usize) -> io::Result<Self> {
        use rustix::fs::{Mode, OFlags, open};
        if size <= SHORT {
            return Ok(Self { kept: Kept::Memory(Vec::new()), left: size });
        }
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = File::from(open(dir, flags, Mode::RUSR | Mode::WUSR)?);
        Ok(Self { kept: Kept::File(file), left: size })
    }

    /// How many bytes have not come yet.
    pub(crate) const fn left(&self) -> usize {
        self.left
    }

    /// Takes a piece.
    ///
    /// # Errors
    /// When it has more bytes than are left, or cannot be stored.
    pub(crate) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let left = self.left.checked_sub(piece.len());
        self.left = left.ok_or_else(|| io::Error::other("more bytes than were announced"))?;
        match &mut self.kept {
            Kept::Memory(bytes) => bytes.write_all(piece),
            Kept::File(file) => file.write_all(piece),
        }
    }

    /// All of it.
    pub(crate) fn read(self) -> io::Result<Vec<u8>> {
        match self.kept {
            Kept::Memory(bytes) => Ok(bytes),
            Kept::File(mut file) => {
                file.rewind()?;
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                Ok(bytes)
            }
        }
    }
}
