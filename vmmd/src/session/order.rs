//! What is to run, and what has to be said about it before the engine is asked: for a deploy, and
//! for the question why one would be refused.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vmm_engine::Need;
use vmm_proto::authority::Holder;
use vmm_proto::grant::Grant;
use vmm_proto::id::Digest;
use vmm_proto::message::client::{Described, Error, ErrorCode};
use vmm_proto::name::{MachineName, Target};
use vmm_proto::resource::{Image, Machine};
use vmm_proto::verb::Verb;

use super::{Turn, denied};
use crate::images::{self, ImageError};
use crate::inspect::Inspected;

/// A machine to deploy, whoever described it.
pub(super) struct Order {
    pub(super) name: MachineName,
    pub(super) machine: Arc<Machine>,
    /// Whether the request describes it, and not a certificate.
    described: bool,
}

impl Order {
    /// What is to run: what the leaf says, or what the request describes. Names only what the leaf
    /// may do `verb` with.
    pub(super) fn of(turn: &Turn, verb: Verb, described: Option<Described>) -> Result<Self, Error> {
        let authorization = &turn.authorization;
        let usage = |message: &dyn std::fmt::Display| Error::new(ErrorCode::Usage, message);
        let Some(Described { name, grant }) = described else {
            return match (authorization.holder(), authorization.own_machine()) {
                (Holder::Machine(machine), Some(name)) => {
                    authorization.may(verb, &Target::Machine(name.clone())).map_err(denied)?;
                    Ok(Self { name, machine: Arc::clone(machine), described: false })
                }
                _ => Err(usage(
                    &"this certificate is not a machine's; describe the machine in the request",
                )),
            };
        };
        let name = turn.machine(verb, &name)?;
        if let Some(own) = authorization.own_machine() {
            return Err(Error::new(
                ErrorCode::Permission,
                format!(
                    "the certificate of machine \"{own}\" deploys exactly what it says, not what a \
                     request describes"
                ),
            ));
        }
        match Grant::from_der(&grant) {
            Ok(Grant::Machine(machine)) => {
                Ok(Self { name, machine: Arc::new(machine), described: true })
            }
            Ok(other) => Err(usage(&format!("a {} is no machine", other.kind()))),
            Err(error) => Err(usage(&error)),
        }
    }

    /// What stands in the way of deploying it before anything else is looked at: what the leaf may
    /// not do, and what is not there.
    pub(super) async fn first_obstacles(&self, turn: &Turn, attach: bool) -> Vec<Error> {
        let may = |verb| {
            let target = Target::Machine(self.name.clone());
            turn.authorization.may(verb, &target).map_err(denied)
        };
        let replace = self.described && self.machine.replace;
        let verdicts = [
            may(Verb::Deploy),
            turn.shared.recorder.check_room(),
            turn.shared.spawn.ready().await,
            if replace { may(Verb::Replace) } else { Ok(()) },
            if attach { may(Verb::Attach) } else { Ok(()) },
        ];
        verdicts.into_iter().filter_map(Result::err).collect()
    }

    /// What cannot be given yet, though the delegations allow it.
    pub(super) fn not_built(&self) -> Option<Error> {
        let message = "volumes are not built yet; deploy the machine without them";
        let any = !self.machine.devices.volumes().is_empty();
        any.then(|| Error::new(ErrorCode::Unavailable, message))
    }

    /// Whether it has just the devices that its image declares.
    ///
    /// # Errors
    /// The first one that is missing or too much.
    pub(super) fn check_devices(&self, image: &Inspected) -> Result<(), Error> {
        let checked = image.declared.check(&self.machine.devices);
        checked.map_err(|mismatch| Error::new(ErrorCode::Image, mismatch))
    }

    /// What it asks of the delegations above it.
    pub(super) fn need(&self) -> Need {
        Need {
            memory_mib: self.machine.memory_mib,
            cpus: self.machine.cpus.clone(),
            devices: self.machine.devices.clone(),
            arguments: self.machine.arguments.clone(),
        }
    }

    /// Digest and size of its image; an embedded one is unpacked for it, apart from everyone
    /// else's work.
    pub(super) async fn identify(&self, turn: &Turn) -> Result<(Digest, u32), Error> {
        match &self.machine.image {
            Image::Digest { sha256, size } => Ok((*sha256, *size)),
            Image::Embedded { .. } => {
                let machine = Arc::clone(&self.machine);
                let permit = permit(&turn.shared.unpackings).await?;
                let work = move || {
                    let _permit = permit;
                    images::identify(&machine.image)
                };
                tokio::task::spawn_blocking(work)
                    .await
                    .map_err(|error| internal(&error.to_string()))?
                    .map_err(|error| self.grant_error(&error))
            }
        }
    }

    /// An embedded image that is not what its own grant says: that grant is not accepted, as the
    /// certificate profile wants it of everything that stands in one.
    fn grant_error(&self, error: &ImageError) -> Error {
        let Self { name, described, .. } = self;
        if *described {
            return Error::new(ErrorCode::Usage, format!("the machine that is described: {error}"));
        }
        let message =
            format!("the certificate of machine \"{name}\": its grant is not accepted: {error}");
        Error::new(ErrorCode::Chain, message)
    }
}

/// A turn at work of which there is only so much at once on this host.
pub(super) async fn permit(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    Arc::clone(of).acquire_owned().await.map_err(|error| internal(&error.to_string()))
}

/// A fault of this program.
pub(super) fn internal(message: &str) -> Error {
    Error::new(ErrorCode::Internal, message)
}
