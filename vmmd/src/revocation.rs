//! Revocation lists on their way to the engine: from a file of the host's own directory, or from
//! pieces that a client sends. What is verified is what was stored, and only one list is held in
//! memory at a time.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;
use vmm_engine::{Answer, Event};
use vmm_proto::chain::crl::authorize_crl;
use vmm_proto::chain::crl::pem::{CrlFile, MAX_FILE};
use vmm_proto::id::MachineId;
use vmm_proto::message::client::{Error, ErrorCode};
use vmm_proto::revocation::RevocationList;

use crate::core::{Core, Requester};
use crate::failure::Failure;
use crate::links::log::{Entry, Recorder};
use crate::{clock, tls};

/// What lists are verified with, and where they go.
#[derive(Clone)]
pub(crate) struct Desk {
    identity: tls::Identity,
    core: Core,
    /// The one turn at verifying: a list may have 64 MiB.
    turn: Arc<Semaphore>,
}

/// A list that came into force.
pub(crate) struct InForce {
    /// How many serial numbers it holds.
    pub(crate) serials: usize,
    /// The machines that it ends.
    pub(crate) machines: Vec<MachineId>,
}

impl Desk {
    pub(crate) fn new(identity: tls::Identity, core: Core) -> Self {
        Self { identity, core, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Verifies the list that `read` gets, with the chain of its issuer.
    ///
    /// # Errors
    /// Which rule it breaks.
    pub(crate) async fn verify(
        &self,
        read: impl FnOnce() -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), Error> + Send + 'static,
    ) -> Result<Arc<RevocationList>, Error> {
        let turn =
            Arc::clone(&self.turn).acquire_owned().await.map_err(|error| internal(&error))?;
        let identity = self.identity.clone();
        let work = move || {
            // The turn ends with the work, also when nobody waits for it any more.
            let _turn = turn;
            let (der, chain) = read()?;
            let now = clock::unix_s();
            let verified = authorize_crl(&der, &chain, &identity.root, Some(&identity.key), now);
            let verified = verified.map_err(|error| Error::new(ErrorCode::Chain, error))?;
            Ok(Arc::new(verified.list))
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| internal(&error))?
    }

    /// Has a verified list come into force on behalf of `by`.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(crate) async fn enforce(
        &self,
        by: &Arc<Requester>,
        list: Arc<RevocationList>,
    ) -> Result<InForce, Failure> {
        let event = move |token| Event::Revoke { token, list };
        match self.core.request(by, event).await? {
            Answer::Revoked { serials, machines } => Ok(InForce { serials, machines }),
            other => Err(internal(&format!("the engine answered {other:?}")).into()),
        }
    }

    /// Whether this list, or a newer one of its issuer, is in force already.
    async fn is_in_force(&self, list: &RevocationList) -> Result<bool, Error> {
        let (issuer, number) = (list.issuer, list.number);
        let known = move |engine: &vmm_engine::Engine| {
            engine.list_in_force(&issuer).is_some_and(|known| known.number >= number)
        };
        self.core.look(known).await
    }

    /// Hands in every `*.crl` file of the host's own directory. One that is not taken is reported
    /// and holds up nothing; one that is in force already is passed over.
    pub(crate) async fn hand_in_directory(&self, dir: &Path, recorder: &Recorder) {
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

    async fn hand_in_file(&self, by: &Arc<Requester>, path: &Path) -> Result<(), Failure> {
        let file = path.to_owned();
        let list = self.verify(move || read_file(&file)).await?;
        if self.is_in_force(&list).await? {
            tracing::debug!("{}: in force already", path.display());
            return Ok(());
        }
        let (issuer, number) = (list.path.clone(), list.number);
        let InForce { serials, machines } = self.enforce(by, list).await?;
        tracing::info!(
            "{}: list {number} of \"{issuer}/\" is in force: {serials} serial numbers, {} machines \
             ended",
            path.display(),
            machines.len()
        );
        Ok(())
    }
}

fn internal(error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorCode::Internal, error)
}

/// The lists of a directory in the order of their names; none when there is no directory.
fn list_files(dir: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
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

fn read_file(path: &Path) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), Error> {
    let usage = |error: &dyn std::fmt::Display| Error::new(ErrorCode::Usage, error);
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| usage(&error))?;
    let limit = MAX_FILE as u64 + 1;
    file.take(limit).read_to_end(&mut text).map_err(|error| usage(&error))?;
    let CrlFile { der, chain } = CrlFile::parse(&text).map_err(|error| usage(&error))?;
    Ok((der, chain))
}

/// A list that arrives in pieces: a file without a name, gone with whoever holds it.
pub(crate) struct Spool {
    file: File,
    left: usize,
}

impl Spool {
    /// Room for `size` bytes, in the directory `dir`.
    pub(crate) fn new(dir: &Path, size: usize) -> io::Result<Self> {
        use rustix::fs::{Mode, OFlags, open};
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = File::from(open(dir, flags, Mode::RUSR | Mode::WUSR)?);
        Ok(Self { file, left: size })
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
        self.file.write_all(piece)
    }

    /// All of it.
    pub(crate) fn read(mut self) -> io::Result<Vec<u8>> {
        self.file.rewind()?;
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
