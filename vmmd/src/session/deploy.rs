//! Deploying a machine: what is to run, its image, and the engine's word.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use vmm_engine::{Answer, Chain, Event, ImageId, Kind, Spec};
use vmm_proto::frame::MAX_DATA;
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::message::ConsoleStart;
use vmm_proto::message::client::{Described, Error, ErrorCode, Reply};
use vmm_proto::resource::{Image, Machine};
use vmm_proto::verb::Verb;

use super::order::{Order, internal, permit};
use super::{Turn, console};
use crate::core::Core;
use crate::failure::Failure;
use crate::images::{self, Complete, ImageError, Images, Upload};
use crate::inspect::{self, InspectError, Inspected};
use crate::records;

/// How long the failure of a machine brings back the one whose place it took, when the client does
/// not say, in milliseconds.
const PROBATION_MS: u64 = 10_000;

/// The longest time that it can: an hour.
const MAX_PROBATION_MS: u64 = 3_600_000;

/// `deploy`
pub(super) async fn deploy(
    turn: &mut Turn,
    described: Option<Described>,
    attach: bool,
    probation_ms: Option<u32>,
) -> Result<(), Failure> {
    let order = Order::of(turn, Verb::Deploy, described)?;
    if let Some(error) = order.first_obstacles(turn, attach).await.into_iter().next() {
        return Err(error.into());
    }
    let image = obtain(turn, &order).await?;
    let id = MachineId(uuid::Uuid::new_v4().into_bytes());
    let spec = spec(&order.machine, &image);
    let chain = Chain::from(&*turn.authorization);
    let replace = order.machine.replace;
    let name = order.name.clone();
    let probation_ms = probation_ms.map_or(PROBATION_MS, u64::from).min(MAX_PROBATION_MS);
    let event = move |token| Event::Deploy { token, id, name, spec, chain, replace, probation_ms };
    // The way to the console is made while the machine starts; a console that hangs holds up
    // nothing but the reading.
    let console = attach.then(|| tokio::spawn(console::connect(turn)));
    let _running: Answer = turn.shared.core.request(&turn.by, event).await?;
    drop(image);
    let jail = turn.shared.spawn.jail_shown();
    let seen = turn
        .shared
        .core
        .look(move |engine| engine.by_id(id).map(|view| records::machine(&view, &jail)))
        .await?;
    let gone = || {
        let message = "the machine ran, and is not listed any more: it was destroyed, or failed on \
                       probation and gave its place back";
        Error::new(ErrorCode::NotFound, message)
    };
    turn.say(Reply::Deployed(seen.ok_or_else(gone)?)).await?;
    if let Some(console) = console {
        let connection = console.await.map_err(|error| internal(&error.to_string()))??;
        console::read(turn, connection, id, ConsoleStart::Position(0), true).await?;
    }
    Ok(())
}

fn spec(machine: &Machine, image: &Hold) -> Spec {
    Spec {
        kind: image.kind,
        image: image.image.image,
        image_sha256: image.sha256,
        image_size: image.size,
        memory_mib: machine.memory_mib,
        cpus: machine.cpus.clone(),
        devices: machine.devices.clone(),
        arguments: machine.arguments.clone(),
        restart: machine.restart.clone(),
        priority: machine.priority,
    }
}

/// A stored image and what is known of it.
struct Hold {
    image: Release,
    sha256: Digest,
    size: u32,
    kind: Kind,
}

/// An image that this request holds. Let go, it is dropped unless a machine uses it.
struct Release {
    core: Core,
    image: ImageId,
}

impl Drop for Release {
    fn drop(&mut self) {
        self.core.notice(Event::ReleaseImage { image: self.image });
    }
}

/// A place for an image that is not there yet. Given up, everything about it is undone, unless a
/// part of it was parked.
struct Place {
    core: Core,
    images: Images,
    image: ImageId,
    stored: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        let (image, stored) = (self.image, self.stored);
        self.core.notice(if self.images.is_parked(image) {
            Event::UploadBroke { image }
        } else {
            Event::UploadEnded { image, stored }
        });
        if !stored {
            self.core.notice(Event::ReleaseImage { image });
        }
    }
}

/// Finds the image under the machine's own path, or asks the client for it (rule 10).
async fn obtain(turn: &mut Turn, order: &Order) -> Result<Hold, Failure> {
    let (sha256, size) = order.identify(turn).await?;
    let core = turn.shared.core.clone();
    let fresh = turn.shared.images.fresh();
    let (name, need, replace) = (order.name.clone(), order.need(), order.machine.replace);
    let chain = Chain::from(&*turn.authorization);
    let offer =
        move |token| Event::OfferImage { token, fresh, sha256, size, name, need, chain, replace };
    let image = match core.request(&turn.by, offer).await? {
        Answer::Have(image) => {
            let release = Release { core, image };
            built(order)?;
            release
        }
        Answer::Upload(image) => {
            let mut place = Place {
                core: core.clone(),
                images: turn.shared.images.clone(),
                image,
                stored: false,
            };
            built(order)?;
            let inspected = store(turn, order, image, sha256, size).await?;
            turn.shared.images.know(image, inspected);
            place.stored = true;
            Release { core, image }
        }
        other => return Err(internal(&format!("the engine answered {other:?}")).into()),
    };
    let known = turn.shared.images.known(image.image);
    let known = known.ok_or_else(|| internal("what a stored image is, is not known"))?;
    order.check_devices(&known)?;
    Ok(Hold { image, sha256, size, kind: known.kind })
}

/// Refuses what cannot be given yet, once it is known that the delegations allow it.
fn built(order: &Order) -> Result<(), Error> {
    order.not_built().map_or(Ok(()), Err)
}

fn image_error(error: &ImageError) -> Error {
    let code = match error {
        ImageError::Io(_) => ErrorCode::Internal,
        _ => ErrorCode::Image,
    };
    Error::new(code, error)
}

/// Stores an image that comes from the certificate or from the client, and looks at it. A file
/// that is not kept is removed.
async fn store(
    turn: &mut Turn,
    order: &Order,
    image: ImageId,
    sha256: Digest,
    size: u32,
) -> Result<Inspected, Failure> {
    let images = turn.shared.images.clone();
    let upload = images.begin(image, sha256, size).map_err(|error| image_error(&error.into()))?;
    let complete = match &order.machine.image {
        Image::Digest { .. } => receive(turn, Arriving::new(images, image, upload)).await?,
        Image::Embedded { .. } => unpack(turn, Arc::clone(&order.machine), upload).await?,
    };
    let durable = async { complete.durable().await.map_err(|error| image_error(&error)) };
    let (inspected, complete) = tokio::try_join!(look_at(turn, image), durable)?;
    crate::failpoint::boundary();
    complete.keep();
    Ok(inspected)
}

/// What a stored file is, if it is one that runs here.
async fn look_at(turn: &Turn, image: ImageId) -> Result<Inspected, Error> {
    let shared = &turn.shared;
    let _permit = permit(&shared.inspections).await?;
    let file = shared.images.read(image).map_err(|error| image_error(&error.into()))?;
    inspect::inspect(&shared.tender, file).await.map_err(|error| {
        let code = match error {
            InspectError::Failed(_) => ErrorCode::Internal,
            InspectError::NotAnImage(_) | InspectError::NotRunnable(_) => ErrorCode::Image,
        };
        Error::new(code, error)
    })
}

/// An upload on its way. When it breaks off, by the end of the connection or of the client's
/// patience or ours, what there is of it is parked.
struct Arriving {
    images: Images,
    image: ImageId,
    upload: Option<Upload>,
}

impl Arriving {
    fn new(images: Images, image: ImageId, upload: Upload) -> Self {
        Self { images, image, upload: Some(upload) }
    }

    fn written(&self) -> u64 {
        self.upload.as_ref().map_or(0, Upload::written)
    }

    fn is_complete(&self) -> bool {
        self.upload.as_ref().is_none_or(Upload::is_complete)
    }

    /// Adds bytes. If they are wrong, nothing of it is kept.
    fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let mut upload = self.take()?;
        upload.write(bytes)?;
        self.upload = Some(upload);
        Ok(())
    }

    fn finish(mut self) -> Result<Complete, ImageError> {
        self.take()?.finish()
    }

    fn take(&mut self) -> Result<Upload, ImageError> {
        self.upload.take().ok_or_else(|| io::Error::other("the upload is over").into())
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some(part) = self.upload.take().filter(|part| part.written() > 0) {
            self.images.park(self.image, part);
        }
    }
}

/// Asks the client for the bytes and stores them as they come.
async fn receive(turn: &mut Turn, mut upload: Arriving) -> Result<Complete, Error> {
    turn.wanting.store(true, Ordering::Relaxed);
    turn.say(Reply::NeedImage { offset: upload.written() }).await?;
    while !upload.is_complete() {
        let piece = turn.piece("image").await?;
        if piece.is_empty() || piece.len() > MAX_DATA {
            let message = format!("a piece of an image has 1 to {MAX_DATA} bytes");
            return Err(Error::new(ErrorCode::Usage, message));
        }
        upload.write(&piece).map_err(|error| image_error(&error))?;
    }
    turn.wanting.store(false, Ordering::Relaxed);
    turn.pieces.close();
    upload.finish().map_err(|error| image_error(&error))
}

async fn unpack(turn: &Turn, machine: Arc<Machine>, mut upload: Upload) -> Result<Complete, Error> {
    let permit = permit(&turn.shared.unpackings).await?;
    let work = move || {
        // The turn ends with the work, also when nobody waits for it any more.
        let _permit = permit;
        if let Image::Embedded { encoding, size, data } = &machine.image {
            images::unpack(*encoding, *size, data, |piece| upload.write(piece))?;
        }
        upload.finish()
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| internal(&error.to_string()))?
        .map_err(|error| image_error(&error))
}
