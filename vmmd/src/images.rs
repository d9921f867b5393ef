//! Stored images: one file each, named by a number that the server made up.
//!
//! Bytes are hashed while they are written and are never held in memory whole. Which image may be
//! used by whom is the engine's business.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use ruzstd::decoding::StreamingDecoder;
use sha2::{Digest as _, Sha256};
use vmm_engine::{ImageId, Keep, KeptMachine, KeptPhase, KeptStop, KeptThen, Spec};
use vmm_proto::id::Digest;
use vmm_proto::resource::{Encoding, Image};

use crate::inspect::Inspected;
use crate::manifest::Declared;

/// Bytes moved at once when an embedded image is unpacked.
const PIECE: usize = 64 << 10;

/// Why bytes are not the image that was named.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    /// the image has more bytes than the {0} that were signed
    #[error("the image has more bytes than the {0} that were signed")]
    TooLong(u64),
    /// the image ended after {found} bytes; {expected} were signed
    #[error("the image ended after {found} bytes; {expected} were signed")]
    TooShort {
        /// how many came
        found: u64,
        /// how many were signed
        expected: u64,
    },
    /// the image's SHA-256 is {found}; {expected} was signed
    #[error("the image's SHA-256 is {found}; {expected} was signed")]
    Digest {
        /// of what came
        found: Digest,
        /// what was signed
        expected: Digest,
    },
    /// the embedded image cannot be unpacked: {0}
    #[error("the embedded image cannot be unpacked: {0}")]
    Unpack(String),
    /// cannot store the image: {0}
    #[error("cannot store the image: {0}")]
    Io(#[from] io::Error),
}

/// The directory of stored images.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    dir: Arc<PathBuf>,
    /// The next image's number.
    next: Arc<AtomicU64>,
    /// What those are that are complete.
    known: Arc<Mutex<HashMap<ImageId, Inspected>>>,
    /// Parts whose upload broke off. Until when they are kept is the engine's business.
    parked: Arc<Mutex<HashMap<ImageId, Upload>>>,
}

impl Images {
    /// The store in `dir`, with the images that kept machines need. What else is there belongs to no
    /// machine and is removed.
    pub(crate) fn open(dir: &Path, kept: &[Keep]) -> anyhow::Result<Self> {
        let mut known = HashMap::new();
        for keep in kept {
            if let Keep::Machine(machine) = keep {
                needed(machine, &mut |spec| {
                    // Nothing else was accepted with it.
                    let declared = Declared::by(&spec.devices);
                    known.insert(spec.image, Inspected { kind: spec.kind, declared });
                });
            }
        }
        let dir = dir.join("images");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let names: BTreeSet<_> = known.keys().map(|image| file_name(*image)).collect();
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| names.contains(name)) {
                continue;
            }
            let path = entry.path();
            std::fs::remove_file(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let next = known.keys().map(|image| image.0).max().unwrap_or(0) + 1;
        Ok(Self {
            dir: Arc::new(dir),
            next: Arc::new(AtomicU64::new(next)),
            known: Arc::new(Mutex::new(known)),
            parked: Arc::default(),
        })
    }

    /// A number for an image that no other has.
    pub(crate) fn fresh(&self) -> ImageId {
        ImageId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn path(&self, image: ImageId) -> PathBuf {
        self.dir.join(file_name(image))
    }

    /// Opens a stored image for reading.
    pub(crate) fn read(&self, image: ImageId) -> io::Result<File> {
        File::open(self.path(image))
    }

    /// Opens the image of a machine, which must still be what it was.
    pub(crate) fn read_for(&self, spec: &Spec) -> io::Result<File> {
        let file = self.read(spec.image)?;
        let (found, expected) = (file.metadata()?.len(), spec.image_size);
        if found != u64::from(expected) {
            let name = file_name(spec.image);
            let message = format!("images/{name} has {found} bytes instead of {expected}");
            return Err(io::Error::other(message));
        }
        Ok(file)
    }

    /// Begins to store an image, or goes on where an upload of it broke off. What is neither
    /// [`Upload::finish`]ed nor parked is removed.
    pub(crate) fn begin(&self, image: ImageId, sha256: Digest, size: u32) -> io::Result<Upload> {
        if let Some(part) = self.take_parked(image) {
            return Ok(part);
        }
        let path = self.path(image);
        let file = File::options().write(true).create_new(true).open(&path)?;
        Ok(Upload {
            file,
            path: Some(path),
            hasher: Sha256::new(),
            sha256,
            size: size.into(),
            written: 0,
        })
    }

    /// Keeps a part for whoever goes on with it.
    pub(crate) fn park(&self, image: ImageId, part: Upload) {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).insert(image, part);
    }

    /// Whether there is a part of an image to go on with.
    pub(crate) fn is_parked(&self, image: ImageId) -> bool {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&image)
    }

    fn take_parked(&self, image: ImageId) -> Option<Upload> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).remove(&image)
    }

    /// Notes what a stored image is built for.
    pub(crate) fn know(&self, image: ImageId, inspected: Inspected) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(image, inspected);
    }

    /// What a stored image is built for.
    pub(crate) fn known(&self, image: ImageId) -> Option<Inspected> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&image).cloned()
    }

    /// Removes a stored image, or a part of one.
    pub(crate) fn remove(&self, image: ImageId) {
        if let Some(part) = self.take_parked(image) {
            return drop(part);
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&image);
        let path = self.path(image);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!("cannot remove {}: {error}", path.display());
            }
            _ => {}
        }
    }
}

fn file_name(image: ImageId) -> String {
    format!("{:016x}.image", image.0)
}

/// Every machine that a kept one brings along, and itself.
fn needed(machine: &KeptMachine, each: &mut impl FnMut(&Spec)) {
    each(&machine.spec);
    if let Some(probation) = &machine.probation {
        needed(&probation.former, each);
    }
    let stop = match &machine.phase {
        KeptPhase::Starting { stop: Some(stop), .. } | KeptPhase::Stopping(stop) => stop,
        KeptPhase::Starting { stop: None, .. }
        | KeptPhase::Running
        | KeptPhase::Waiting { .. }
        | KeptPhase::Queued
        | KeptPhase::Ended { .. } => return,
    };
    if let KeptStop { then: KeptThen::Replace { successor, .. }, .. } = stop {
        needed(successor, each);
    }
}

/// An image that is being stored.
#[derive(Debug)]
pub(crate) struct Upload {
    file: File,
    /// Where it is, until it is finished.
    path: Option<PathBuf>,
    hasher: Sha256,
    sha256: Digest,
    size: u64,
    written: u64,
}

impl Upload {
    /// Adds bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.written += bytes.len() as u64;
        if self.written > self.size {
            return Err(ImageError::TooLong(self.size));
        }
        self.hasher.update(bytes);
        Ok(self.file.write_all(bytes)?)
    }

    /// Whether all bytes are there.
    pub(crate) const fn is_complete(&self) -> bool {
        self.written >= self.size
    }

    /// How many bytes are there.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// Checks size and digest. The file is still removed unless it is kept.
    pub(crate) fn finish(mut self) -> Result<Complete, ImageError> {
        if self.written < self.size {
            return Err(ImageError::TooShort { found: self.written, expected: self.size });
        }
        let found = Digest(self.hasher.finalize_reset().into());
        if found != self.sha256 {
            return Err(ImageError::Digest { found, expected: self.sha256 });
        }
        let file = self.file.try_clone()?;
        Ok(Complete { path: self.path.take(), file })
    }
}

/// An image with the right size and digest. Dropped before it is kept, its file is removed.
#[derive(Debug)]
pub(crate) struct Complete {
    path: Option<PathBuf>,
    file: File,
}

impl Complete {
    /// Makes the file and its name durable, on a thread where that may take its time: before anything
    /// is that needs it.
    pub(crate) async fn durable(self) -> Result<Self, ImageError> {
        let sync = move || {
            self.file.sync_all()?;
            if let Some(dir) = self.path.as_deref().and_then(Path::parent) {
                File::open(dir)?.sync_all()?;
            }
            Ok(self)
        };
        tokio::task::spawn_blocking(sync).await.map_err(io::Error::other)?
    }

    /// Keeps the file.
    pub(crate) fn keep(mut self) {
        self.path = None;
    }
}

impl Drop for Complete {
    fn drop(&mut self) {
        remove_file(self.path.take());
    }
}

/// Removes a file that was not kept.
fn remove_file(path: Option<PathBuf>) {
    if let Some(path) = path
        && let Err(error) = std::fs::remove_file(&path)
    {
        tracing::error!("cannot remove {}: {error}", path.display());
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        remove_file(self.path.take());
    }
}

/// Digest and size of an image: what was signed, or for an embedded one what it unpacks to.
pub(crate) fn identify(image: &Image) -> Result<(Digest, u32), ImageError> {
    match image {
        Image::Digest { sha256, size } => Ok((*sha256, *size)),
        Image::Embedded { encoding, size, data } => {
            let mut hasher = Sha256::new();
            unpack(*encoding, *size, data, |piece| {
                hasher.update(piece);
                Ok(())
            })?;
            Ok((Digest(hasher.finalize().into()), *size))
        }
    }
}

/// Unpacks an embedded image piece by piece; never more than `size` bytes, and exactly so many.
pub(crate) fn unpack(
    encoding: Encoding,
    size: u32,
    data: &[u8],
    mut each: impl FnMut(&[u8]) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let expected = u64::from(size);
    let mut source: Box<dyn Read + '_> = match encoding {
        Encoding::Identity => Box::new(data),
        Encoding::Zstd => Box::new(
            StreamingDecoder::new(data).map_err(|error| ImageError::Unpack(error.to_string()))?,
        ),
    };
    let mut piece = vec![0; PIECE];
    let mut found = 0;
    loop {
        let count =
            source.read(&mut piece).map_err(|error| ImageError::Unpack(error.to_string()))?;
        if count == 0 {
            break;
        }
        found += count as u64;
        if found > expected {
            return Err(ImageError::TooLong(expected));
        }
        each(&piece[..count])?;
    }
    if found < expected {
        return Err(ImageError::TooShort { found, expected });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use vmm_engine::{KeptProbation, Kind};

    use super::*;
    use crate::journal::samples;

    fn digest(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    fn files(dir: &Path) -> usize {
        std::fs::read_dir(dir.join("images")).unwrap().count()
    }

    #[test]
    fn only_the_signed_bytes_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::open(dir.path(), &[]).unwrap();
        let begin = |id| images.begin(ImageId(id), digest(b"image"), 5).unwrap();

        let mut right = begin(1);
        right.write(b"im").unwrap();
        right.write(b"age").unwrap();
        right.finish().unwrap().keep();
        let mut unwanted = begin(6);
        unwanted.write(b"image").unwrap();
        drop(unwanted.finish().unwrap());
        assert_eq!(io::read_to_string(images.read(ImageId(1)).unwrap()).unwrap(), "image");

        let mut long = begin(2);
        assert!(matches!(long.write(b"images"), Err(ImageError::TooLong(5))));
        drop(long);
        let mut short = begin(3);
        short.write(b"imag").unwrap();
        assert!(matches!(short.finish(), Err(ImageError::TooShort { found: 4, expected: 5 })));
        let mut other = begin(4);
        other.write(b"IMAGE").unwrap();
        assert!(matches!(other.finish(), Err(ImageError::Digest { .. })));
        drop(begin(5));
        assert_eq!(files(dir.path()), 1, "nothing is left of what failed");

        images.remove(ImageId(1));
        assert_eq!(files(dir.path()), 0);
    }

    #[test]
    fn what_kept_machines_need_survives_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::open(dir.path(), &[]).unwrap();
        for id in 1..=6 {
            let mut upload = images.begin(ImageId(id), digest(b"image"), 5).unwrap();
            upload.write(b"image").unwrap();
            upload.finish().unwrap().keep();
        }
        let successor = Box::new(samples::machine(3, KeptPhase::Running));
        let then = KeptThen::Replace { successor, probation_ms: 0 };
        let stop =
            KeptStop { timeout_ms: 1, deadline_unix_ms: None, killed: false, gone: false, then };
        let mut replaced = samples::machine(2, KeptPhase::Stopping(stop));
        let former = samples::machine(5, KeptPhase::Queued);
        let probation = KeptProbation { former, probation_ms: 1, until_unix_ms: None };
        replaced.probation = Some(Box::new(probation));
        let kept = [Keep::Machine(Box::new(replaced.clone()))];

        let images = Images::open(dir.path(), &kept).unwrap();
        assert_eq!(files(dir.path()), 3);
        let known = Inspected { kind: Kind::Spt, declared: Declared::default() };
        assert_eq!(images.known(ImageId(5)), Some(known));
        assert_eq!(images.fresh(), ImageId(6));
        assert!(images.read_for(&replaced.spec).is_ok());
        std::fs::write(images.path(ImageId(2)), "imag").unwrap();
        let error = images.read_for(&replaced.spec).unwrap_err().to_string();
        assert!(error.contains("4 bytes instead of 5"), "{error}");
    }

    #[test]
    fn a_parked_part_is_gone_on_with_or_removed() {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::open(dir.path(), &[]).unwrap();
        let begin = |id| images.begin(ImageId(id), digest(b"image"), 5).unwrap();
        for id in [1, 2] {
            let mut part = begin(id);
            part.write(b"im").unwrap();
            images.park(ImageId(id), part);
        }
        let mut again = begin(1);
        assert_eq!((again.written(), images.is_parked(ImageId(1))), (2, false));
        again.write(b"age").unwrap();
        again.finish().unwrap().keep();
        images.remove(ImageId(2));
        assert_eq!(files(dir.path()), 1);
    }

    #[test]
    fn an_embedded_image_unpacks_to_its_size_or_not_at_all() {
        let sizes = |size| {
            let image = Image::Embedded { encoding: Encoding::Identity, size, data: vec![1; 9] };
            identify(&image)
        };
        assert_eq!(sizes(9).unwrap(), (digest(&[1; 9]), 9));
        assert!(matches!(sizes(8), Err(ImageError::TooLong(8))));
        assert!(matches!(sizes(10), Err(ImageError::TooShort { found: 9, .. })));
        let garbage =
            Image::Embedded { encoding: Encoding::Zstd, size: 9, data: b"not zstd".to_vec() };
        assert!(matches!(identify(&garbage), Err(ImageError::Unpack(_))));
    }
}
