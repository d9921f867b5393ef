//! Getting the rings from `vmm-spawn`.

use std::convert::Infallible;
use std::path::Path;

use anyhow::{Context, bail};
use vmm_proto::message::spawn::{FromSpawn, Role, ToSpawn};
use vmm_proto::message::{VERSION, wire};
use vmm_service::packet::PacketSocket;
use vmm_service::socket::Backoff;

use crate::consoles::Consoles;

/// Keeps a connection to `vmm-spawn` for ever. While there is none, the rings that are held stay
/// readable: the machines' output still gets into them as long as `vmm-spawn` lives, and waits for
/// the next one if it does not.
pub async fn follow(path: &Path, consoles: &Consoles) -> Infallible {
    let mut backoff = Backoff::default();
    let mut connection = 0;
    let mut said = false;
    loop {
        connection += 1;
        let mut welcome = false;
        let error = match session(path, consoles, connection, &mut welcome).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        if welcome {
            (backoff, said) = (Backoff::default(), false);
        }
        // Once for each time that it is away, not once for each attempt.
        if said {
            tracing::debug!("no connection to vmm-spawn: {error:#}");
        } else {
            tracing::warn!("no connection to vmm-spawn, trying on: {error:#}");
            said = true;
        }
        backoff.wait().await;
    }
}

async fn session(
    path: &Path,
    consoles: &Consoles,
    connection: u64,
    welcome: &mut bool,
) -> anyhow::Result<Infallible> {
    let socket = PacketSocket::connect(path).with_context(|| path.display().to_string())?;
    let hello = ToSpawn::Hello { version: VERSION, role: Role::Console };
    socket.send(&wire::encode(&hello)?, &[]).await?;
    let mut to_come = None;
    loop {
        if to_come == Some(0) {
            to_come = None;
            let gone = consoles.keep_only(connection);
            tracing::debug!("vmm-spawn has named its rings; {gone} of earlier are gone");
        }
        let Some((packet, descriptors)) = socket.receive().await? else { bail!("it has closed") };
        match (wire::decode(&packet)?, <[_; 4]>::try_from(descriptors)) {
            (FromSpawn::Welcome { version: VERSION, known, .. }, _) => {
                *welcome = true;
                to_come = Some(known);
                tracing::info!("connected to vmm-spawn");
            }
            (FromSpawn::Welcome { version, .. }, _) => bail!(
                "it speaks version {version} of the messages, this is version {VERSION}: upgrade \
                 the older one"
            ),
            (_, _) if !*welcome => bail!("it said something before its welcome"),
            (FromSpawn::Ring { id }, Ok([ring, growth, console, stage])) => {
                consoles.arrived(id, ring, growth, [console, stage], connection)?;
                to_come = to_come.map(|rings| rings - 1);
            }
            (FromSpawn::Ring { .. }, Err(_)) => bail!("a ring came without its four descriptors"),
            (FromSpawn::RingGone { id }, _) => consoles.gone(id),
            (message, _) => tracing::warn!("not for a console: {message:?}"),
        }
    }
}
