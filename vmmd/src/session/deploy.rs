//! Deploying a machine: what is to run, its image, and the engine's word.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vmm_engine::{Answer, Event, ImageId, Kind, Need, Spec};
use vmm_proto::authority::Holder;
use vmm_proto::frame::MAX_DATA;
use vmm_proto::grant::Grant;
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::message::ConsoleStart;
use vmm_proto::message::client::{Described, Error, ErrorCode, Reply};
use vmm_proto::name::{MachineName, Target};
use vmm_proto::resource::{Image, Machine};
use vmm_proto::verb::Verb;

use super::{Turn, console, denied};
use crate::core::Core;
use crate::failure::Failure;
use crate::images::{self, Complete, ImageError, Upload};
use crate::inspect::{self, InspectError};
use crate::records;

/// How long a client may take to send the next piece of an image.
const PIECE_TIME: Duration = Duration::from_secs(30);

/// A machine to deploy, whoever described it.
struct Order {
    name: MachineName,
    machine: Arc<Machine>,
}

/// `deploy`
pub(super) async fn deploy(
    turn: &mut Turn,
    described: Option<Described>,
    attach: bool,
) -> Result<(), Failure> {
    turn.shared.recorder.check_room()?;
    turn.shared.spawn.ready().await?;
    let order = order(turn, described)?;
    if attach {
        let target = Target::Machine(order.name.clone());
        turn.authorization.may(Verb::Attach, &target).map_err(denied)?;
    }
    built(&order.machine)?;
    let image = obtain(turn, &order).await?;
    let id = MachineId(uuid::Uuid::new_v4().into_bytes());
    let spec = spec(&order.machine, &image);
    let links = turn.authorization.links().to_vec();
    let replace = order.machine.replace;
    let name = order.name.clone();
    let event = move |token| Event::Deploy { token, id, name, spec, links, replace };
    // The way to the console is made while the machine starts; a console that hangs holds up
    // nothing but the reading.
    let console = attach.then(|| tokio::spawn(console::connect(turn)));
    let _running: Answer = turn.shared.core.request(&turn.by, event).await?;
    drop(image);
    let jail = turn.shared.spawn.jail().unwrap_or_default();
    let seen = turn
        .shared
        .core
        .look(move |engine| engine.by_id(id).map(|view| records::machine(&view, &jail)))
        .await?;
    let gone = || Error::new(ErrorCode::NotFound, "the machine ran, and was destroyed meanwhile");
    turn.say(Reply::Deployed(seen.ok_or_else(gone)?)).await?;
    if let Some(console) = console {
        let connection = console.await.map_err(|error| internal(&error.to_string()))??;
        console::read(turn, connection, id, ConsoleStart::Position(0), true).await?;
    }
    Ok(())
}

/// What is to run: what the leaf says, or what the request describes and the leaf may create.
fn order(turn: &Turn, described: Option<Described>) -> Result<Order, Error> {
    let authorization = &turn.authorization;
    let usage = |message: &dyn std::fmt::Display| Error::new(ErrorCode::Usage, message);
    let Some(Described { name, grant }) = described else {
        return match (authorization.holder(), authorization.own_machine()) {
            (Holder::Machine(machine), Some(name)) => {
                authorization.may(Verb::Deploy, &Target::Machine(name.clone())).map_err(denied)?;
                Ok(Order { name, machine: Arc::clone(machine) })
            }
            _ => Err(usage(
                &"this certificate is not a machine's; describe the machine in the request",
            )),
        };
    };
    let name = turn.machine(Verb::Deploy, &name)?;
    if let Some(own) = authorization.own_machine() {
        return Err(Error::new(
            ErrorCode::Permission,
            format!(
                "the certificate of machine \"{own}\" deploys exactly what it says, not what a request describes"
            ),
        ));
    }
    let machine = match Grant::from_der(&grant) {
        Ok(Grant::Machine(machine)) => machine,
        Ok(other) => {
            return Err(usage(&format!("a {} is no machine", other.kind())));
        }
        Err(error) => return Err(usage(&error)),
    };
    if machine.replace {
        authorization.may(Verb::Replace, &Target::Machine(name.clone())).map_err(denied)?;
    }
    Ok(Order { name, machine: Arc::new(machine) })
}

/// Refuses what cannot be given yet.
fn built(machine: &Machine) -> Result<(), Error> {
    let unavailable = |what: &str| {
        let message = format!("{what} are not built yet; deploy the machine without them");
        Err(Error::new(ErrorCode::Unavailable, message))
    };
    if !machine.devices.networks().is_empty() {
        return unavailable("networks");
    }
    if !machine.devices.volumes().is_empty() {
        return unavailable("volumes");
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

/// A place for an image that is not there yet. Given up, everything about it is undone.
struct Place {
    core: Core,
    image: ImageId,
    stored: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self { image, stored, .. } = *self;
        self.core.notice(Event::UploadEnded { image, stored });
        if !stored {
            self.core.notice(Event::ReleaseImage { image });
        }
    }
}

/// Finds the image under the machine's own path, or asks the client for it (rule 10).
async fn obtain(turn: &mut Turn, order: &Order) -> Result<Hold, Failure> {
    let (sha256, size) = identify(turn, &order.machine).await?;
    let core = turn.shared.core.clone();
    let fresh = core.fresh_image();
    let machine = &order.machine;
    let need = Need {
        memory_mib: machine.memory_mib,
        cpus: machine.cpus.clone(),
        devices: machine.devices.clone(),
    };
    let name = order.name.clone();
    let links = turn.authorization.links().to_vec();
    let replace = machine.replace;
    let offer =
        move |token| Event::OfferImage { token, fresh, sha256, size, name, need, links, replace };
    let image = match core.request(&turn.by, offer).await? {
        Answer::Have(image) => Release { core, image },
        Answer::Upload(image) => {
            let mut place = Place { core: core.clone(), image, stored: false };
            let kind = store(turn, order, image, sha256, size).await?;
            turn.shared.images.set_kind(image, kind);
            place.stored = true;
            Release { core, image }
        }
        other => return Err(internal(&format!("the engine answered {other:?}")).into()),
    };
    let kind = turn.shared.images.kind(image.image);
    let kind = kind.ok_or_else(|| internal("the kind of a stored image is not known"))?;
    Ok(Hold { image, sha256, size, kind })
}

fn internal(message: &str) -> Error {
    Error::new(ErrorCode::Internal, message)
}

/// Digest and size; an embedded image is unpacked for it, apart from everyone else's work.
async fn identify(turn: &Turn, machine: &Arc<Machine>) -> Result<(Digest, u32), Error> {
    match &machine.image {
        Image::Digest { sha256, size } => Ok((*sha256, *size)),
        Image::Embedded { .. } => {
            let machine = Arc::clone(machine);
            let permit = permit(&turn.shared.unpackings).await?;
            let work = move || {
                let _permit = permit;
                images::identify(&machine.image)
            };
            tokio::task::spawn_blocking(work)
                .await
                .map_err(|error| internal(&error.to_string()))?
                .map_err(|error| image_error(&error))
        }
    }
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
) -> Result<Kind, Failure> {
    let images = turn.shared.images.clone();
    let upload = images.begin(image, sha256, size).map_err(|error| image_error(&error.into()))?;
    let complete = match &order.machine.image {
        Image::Digest { .. } => receive(turn, upload).await?,
        Image::Embedded { .. } => unpack(turn, Arc::clone(&order.machine), upload).await?,
    };
    let kind = look_at(turn, image).await?;
    complete.keep();
    Ok(kind)
}

/// What a stored file is, if it is one that runs here.
async fn look_at(turn: &Turn, image: ImageId) -> Result<Kind, Error> {
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

/// A turn at work of which there is only so much at once on this host.
async fn permit(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    Arc::clone(of).acquire_owned().await.map_err(|error| internal(&error.to_string()))
}

/// Asks the client for the bytes and stores them as they come.
async fn receive(turn: &mut Turn, mut upload: Upload) -> Result<Complete, Error> {
    turn.wanting.store(true, Ordering::Relaxed);
    turn.say(Reply::NeedImage { offset: upload.written() }).await?;
    while !upload.is_complete() {
        let piece = tokio::time::timeout(PIECE_TIME, turn.pieces.recv()).await;
        let stalled = |_| {
            let seconds = PIECE_TIME.as_secs();
            let message = format!("no piece of the image came within {seconds} seconds");
            Error::new(ErrorCode::Busy, message)
        };
        let piece = piece.map_err(stalled)?.ok_or_else(|| internal("the connection is over"))?;
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
