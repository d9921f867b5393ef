//! Long revocation lists, each in a file of its own beside the journal: `lists/SHA256.crl`, as its
//! issuer has signed it.
//!
//! A list of a million entries takes long to get to the disk. So that happens before the engine is
//! shown it, apart from its task, and what the journal keeps of it is the name of the file
//! (`docs/adr/0012-long-lists-in-files.md`).

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use vmm_proto::chain::crl::{Crl, MAX_DER};
use vmm_proto::id::Digest;
use vmm_proto::name;
use vmm_proto::revocation::RevocationList;

/// A list with more serial numbers has a file: others take at most 86 KB of the journal. One of up
/// to [`crate::revocation::SHORT`] bytes never has more.
const SHORT: usize = 4096;

/// Whether a list has a file of its own.
pub(super) fn is_long(list: &RevocationList) -> bool {
    list.serials.len() > SHORT
}

/// The directory of those files.
#[derive(Debug)]
pub(super) struct Lists {
    dir: PathBuf,
}

impl Lists {
    /// The directory in `state`, made if it is missing.
    pub(super) fn open(state: &Path) -> io::Result<Self> {
        let dir = state.join("lists");
        match fs::create_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Its name has to last as long as that of the journal.
        File::open(state)?.sync_all()?;
        Ok(Self { dir })
    }

    fn path(&self, sha256: &Digest) -> PathBuf {
        self.dir.join(format!("{sha256}.crl"))
    }

    /// Puts a list into its file. When this returns, it is on the disk.
    pub(super) fn store(&self, der: &[u8], sha256: &Digest) -> io::Result<()> {
        let new = self.dir.join(format!("{sha256}.new"));
        let stored = write(&new, der).and_then(|()| fs::rename(&new, self.path(sha256)));
        if stored.is_err()
            && let Err(error) = fs::remove_file(&new)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!("cannot remove {}: {error}", new.display());
        }
        stored?;
        File::open(&self.dir)?.sync_all()
    }

    /// Whether there is a file of this list.
    pub(super) fn has(&self, sha256: &Digest) -> bool {
        self.path(sha256).is_file()
    }

    /// The list of a file. It was verified when it was stored; here it is held against its name.
    ///
    /// # Errors
    /// When it is missing, or not what was stored.
    pub(super) fn load(
        &self,
        sha256: &Digest,
        issuer: Digest,
        of: name::Path,
    ) -> anyhow::Result<RevocationList> {
        let path = self.path(sha256);
        let read = || -> anyhow::Result<RevocationList> {
            let mut der = Vec::new();
            File::open(&path)?.take(MAX_DER as u64 + 1).read_to_end(&mut der)?;
            let list = Crl::parse(&der)?.to_list(issuer, of)?;
            ensure!(list.sha256 == *sha256, "it is not the list that was stored there");
            Ok(list)
        };
        read().with_context(|| format!("cannot read the revocation list {}", path.display()))
    }

    /// Removes the file of a list.
    pub(super) fn remove(&self, sha256: &Digest) -> io::Result<()> {
        match fs::remove_file(self.path(sha256)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes every file but those of these lists.
    pub(super) fn retain(&self, named: &HashSet<Digest>) -> io::Result<()> {
        let named: HashSet<PathBuf> = named.iter().map(|sha256| self.path(sha256)).collect();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if !named.contains(&path) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
