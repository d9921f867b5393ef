//! The event log: what happened is kept in the journal until `vmm-log` has it on disk.
//!
//! ```text
//!   sessions ─▶ recorder ─▶ core ─▶ journal ─▶ outbox ─▶ vmm-log
//!                           number   durable             on disk: leaves the journal
//! ```
//!
//! [`reading`]: what is on disk, for those who ask.

mod entry;
mod outbox;
pub(crate) mod reading;
mod recorder;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::unix::OwnedReadHalf;
use vmm_proto::message::log::{Event, FromLog, ToLog};
use vmm_service::connection::{ConnectionError, Reader};
use vmm_service::socket::Backoff;

pub(crate) use entry::Entry;
pub(crate) use outbox::Outbox;
pub(crate) use recorder::Recorder;

/// How long `vmm-log` may take to get a message to disk.
const DURABLE: Duration = Duration::from_secs(10);

/// Keeps `vmm-log` told, for ever.
pub(crate) async fn run(socket: PathBuf, outbox: Outbox) {
    let mut backoff = Backoff::default();
    loop {
        let batch = outbox.batch().await;
        match serve(&socket, &outbox, batch, &mut backoff).await {
            Ok(()) => {}
            Err(error) => tracing::debug!("vmm-log: {error}"),
        }
        backoff.wait().await;
    }
}

async fn serve(
    socket: &Path,
    outbox: &Outbox,
    mut batch: Vec<Event>,
    backoff: &mut Backoff,
) -> Result<(), ConnectionError> {
    let (mut reader, mut writer) = super::connect::<FromLog, ToLog>(socket).await?;
    loop {
        let Some(last) = batch.last().map(|event| (event.source, event.sequence)) else {
            return Ok(());
        };
        writer.send(0, &ToLog::Append(batch)).await?;
        let all = durable(&mut reader, last);
        let on_disk =
            tokio::time::timeout(DURABLE, all).await.map_err(|_| ConnectionError::Stalled)??;
        crate::failpoint::boundary();
        outbox.durable(on_disk);
        *backoff = Backoff::default();
        batch = outbox.batch().await;
    }
}

/// Waits until everything up to `last` is on disk; returns up to which number everything is.
async fn durable(
    reader: &mut Reader<OwnedReadHalf, FromLog>,
    last: ([u8; 16], u64),
) -> Result<u64, ConnectionError> {
    loop {
        match reader.next().await? {
            Some((_, FromLog::Durable { source, sequence })) => {
                if source == last.0 && sequence >= last.1 {
                    return Ok(sequence);
                }
            }
            Some((_, FromLog::Failed(why))) => {
                tracing::error!("vmm-log cannot write: {why}");
                return Err(ConnectionError::Cut);
            }
            Some(_) => {}
            None => return Err(ConnectionError::Cut),
        }
    }
}
