//! The cached images: who needs them, and how much room they take (rule 10).
//!
//! An image belongs to a path and is found by digest and size under that path only, so that a
//! digest says nothing about what others have. It stays while a listed machine uses it or a
//! session holds it. It counts once at its path and at every path above, with its bytes, from the
//! moment its upload is allowed. An upload that broke off is parked for a while, so that it can go
//! on where it was.

use std::collections::{BTreeSet, HashMap, VecDeque};

use vmm_proto::id::Digest;
use vmm_proto::name::{Label, Path};

use crate::effect::Answer;
use crate::event::{ImageId, Token};
use crate::per_path::PerPath;
use crate::refusal::Refusal;

/// What an image is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Content {
    /// The path it belongs to.
    pub(crate) path: Path,
    /// SHA-256 of its bytes.
    pub(crate) sha256: Digest,
    /// How many they are.
    pub(crate) size: u32,
}

#[derive(Debug)]
struct Image {
    content: Content,
    arrival: Arrival,
    /// Listed machines and machines to be that use it.
    machines: usize,
    /// Sessions that were offered it.
    holds: usize,
    /// Requests that wait for the upload to end, each with the number it proposed.
    waiting: VecDeque<(Token, ImageId)>,
}

/// How much of an image is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// All of it.
    Stored,
    /// Somebody is uploading it.
    Arriving,
    /// A part, until this time of the monotonic clock.
    Parked { until_ms: u64 },
}

/// How long a part of an image is kept for whoever goes on with it, in milliseconds: time to connect
/// again, and no more, since it takes room.
pub const PARKED_MS: u64 = 30_000;

/// What images take at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Taken {
    pub(crate) images: u64,
    pub(crate) bytes: u64,
}

/// What comes of asking for an image.
#[derive(Debug)]
#[must_use]
pub(crate) enum Offer {
    /// It is there.
    Answer(Answer),
    /// It is being uploaded; the request waits for that.
    Waits,
    /// It must be uploaded.
    Unknown,
}

/// What comes of the end of an upload.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Outcome {
    pub(crate) answers: Vec<(Token, Result<Answer, Refusal>)>,
    pub(crate) drop: Option<ImageId>,
}

/// All cached images.
#[derive(Debug, Default)]
pub(crate) struct Images {
    by_id: HashMap<ImageId, Image>,
    by_content: HashMap<Content, ImageId>,
    room: PerPath<Taken>,
    /// Parts of images, and until when they are kept.
    parked: BTreeSet<(u64, ImageId)>,
}

impl Images {
    /// What is taken at and below the path of these labels.
    pub(crate) fn room(&self, labels: &[Label]) -> Taken {
        self.room.get(labels).copied().unwrap_or_default()
    }

    /// Whether that number is taken.
    pub(crate) fn is_known(&self, id: ImageId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// The numbers of all files.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ImageId> {
        self.by_id.keys().copied()
    }

    /// A machine that was restored uses a file that was stored for a former process.
    pub(crate) fn restore(&mut self, id: ImageId, content: Content) {
        if !self.is_known(id) {
            self.expect(id, content);
            if let Some(image) = self.by_id.get_mut(&id) {
                image.arrival = Arrival::Stored;
                image.holds = 0;
            }
        }
        self.used(id);
    }

    /// Whether a machine may use this file as this image.
    pub(crate) fn is_stored_as(&self, id: ImageId, content: &Content) -> bool {
        self.by_id
            .get(&id)
            .is_some_and(|image| image.arrival == Arrival::Stored && image.content == *content)
    }

    /// Whether there is such an image, or it is being uploaded.
    pub(crate) fn is_known_as(&self, content: &Content) -> bool {
        self.by_content.contains_key(content)
    }

    /// Such an image, if it is stored.
    pub(crate) fn stored_as(&self, content: &Content) -> Option<ImageId> {
        let id = self.by_content.get(content)?;
        self.is_stored_as(*id, content).then_some(*id)
    }

    /// If there is such an image: hands it out, or has the request wait for its upload.
    pub(crate) fn offer(&mut self, content: &Content, token: Token, fresh: ImageId) -> Offer {
        let known = self.by_content.get(content).copied();
        let Some((id, image)) = known.and_then(|id| Some((id, self.by_id.get_mut(&id)?))) else {
            return Offer::Unknown;
        };
        match image.arrival {
            Arrival::Stored => {
                image.holds += 1;
                Offer::Answer(Answer::Have(id))
            }
            Arrival::Arriving => {
                image.waiting.push_back((token, fresh));
                Offer::Waits
            }
            Arrival::Parked { until_ms } => {
                self.parked.remove(&(until_ms, id));
                image.arrival = Arrival::Arriving;
                image.holds += 1;
                Offer::Answer(Answer::Upload(id))
            }
        }
    }

    /// Takes the room for an image that is about to be uploaded into the file `id`.
    pub(crate) fn expect(&mut self, id: ImageId, content: Content) {
        let size = u64::from(content.size);
        self.room.change_lineage(&content.path, |room| {
            room.images = room.images.saturating_add(1);
            room.bytes = room.bytes.saturating_add(size);
        });
        self.insert(id, content, VecDeque::new());
    }

    /// An upload is over.
    pub(crate) fn upload_ended(&mut self, id: ImageId, stored: bool) -> Outcome {
        match self.by_id.get_mut(&id) {
            Some(image) if image.arrival == Arrival::Arriving && stored => {
                image.arrival = Arrival::Stored;
                let waiting = std::mem::take(&mut image.waiting);
                image.holds += waiting.len();
                let have = |(token, _)| (token, Ok(Answer::Have(id)));
                let answers = waiting.into_iter().map(have).collect();
                Outcome { answers, drop: self.collect(id) }
            }
            Some(image) if image.arrival == Arrival::Arriving => {
                let waiting = std::mem::take(&mut image.waiting);
                self.hand_on(id, waiting)
            }
            // Of an upload that is over already, or was never allowed.
            Some(_) | None => Outcome::default(),
        }
    }

    /// An upload broke off, and what there is of it can be gone on with: by the next who waits for
    /// it, or by whoever asks until a while from `now_ms`.
    pub(crate) fn upload_broke(&mut self, id: ImageId, now_ms: u64) -> Option<Token> {
        let image = self.by_id.get_mut(&id).filter(|it| it.arrival == Arrival::Arriving)?;
        if let Some((token, _)) = image.waiting.pop_front() {
            image.holds += 1;
            return Some(token);
        }
        let until_ms = now_ms.saturating_add(PARKED_MS);
        image.arrival = Arrival::Parked { until_ms };
        self.parked.insert((until_ms, id));
        None
    }

    /// When the next part of an image is kept no longer.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.parked.first().map(|(until_ms, _)| *until_ms)
    }

    /// Forgets a part of an image that nobody went on with in time.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Option<ImageId> {
        let (until_ms, id) = *self.parked.first().filter(|(until_ms, _)| *until_ms <= now_ms)?;
        self.parked.remove(&(until_ms, id));
        let image = self.by_id.remove(&id)?;
        self.by_content.remove(&image.content);
        self.give_back(&image.content);
        Some(id)
    }

    /// A session needs it no longer. Returns it when nobody else does either.
    pub(crate) fn release(&mut self, id: ImageId) -> Option<ImageId> {
        let image = self.by_id.get_mut(&id)?;
        image.holds = image.holds.saturating_sub(1);
        self.collect(id)
    }

    /// A machine uses it from now on.
    pub(crate) fn used(&mut self, id: ImageId) {
        if let Some(image) = self.by_id.get_mut(&id) {
            image.machines += 1;
        }
    }

    /// A machine uses it no longer. Returns it when nobody else does either.
    pub(crate) fn unused(&mut self, id: ImageId) -> Option<ImageId> {
        let image = self.by_id.get_mut(&id)?;
        image.machines = image.machines.saturating_sub(1);
        self.collect(id)
    }

    fn insert(&mut self, id: ImageId, content: Content, waiting: VecDeque<(Token, ImageId)>) {
        self.by_content.insert(content.clone(), id);
        self.by_id.insert(
            id,
            Image { content, arrival: Arrival::Arriving, machines: 0, holds: 1, waiting },
        );
    }

    /// After a failed upload, the next one who waits may try, in the room that is there.
    fn hand_on(&mut self, id: ImageId, mut waiting: VecDeque<(Token, ImageId)>) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(image) = self.by_id.remove(&id) else {
            return outcome;
        };
        self.by_content.remove(&image.content);
        while let Some((token, fresh)) = waiting.pop_front() {
            if self.is_known(fresh) {
                outcome.answers.push((token, Err(Refusal::ImageInUse { image: fresh })));
                continue;
            }
            self.insert(fresh, image.content, waiting);
            outcome.answers.push((token, Ok(Answer::Upload(fresh))));
            return outcome;
        }
        self.give_back(&image.content);
        outcome
    }

    /// Forgets an image that is complete and that nobody needs. The end of an upload, not of the
    /// interest in it, decides about one that is not complete.
    fn collect(&mut self, id: ImageId) -> Option<ImageId> {
        let image = self.by_id.get(&id)?;
        if image.arrival != Arrival::Stored || image.machines > 0 || image.holds > 0 {
            return None;
        }
        let image = self.by_id.remove(&id)?;
        self.by_content.remove(&image.content);
        self.give_back(&image.content);
        Some(id)
    }

    fn give_back(&mut self, content: &Content) {
        let size = u64::from(content.size);
        self.room.change_lineage(&content.path, |room| {
            room.images = room.images.saturating_sub(1);
            room.bytes = room.bytes.saturating_sub(size);
        });
    }
}
