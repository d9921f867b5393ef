//! Telling `vmm-stats` what runs, and asking it what that uses.

use std::path::{Path, PathBuf};

use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use vmm_proto::id::MachineId;
use vmm_proto::message::Sample;
use vmm_proto::message::client::Error;
use vmm_proto::message::stats::{FromStats, MAX_MACHINES, ToStats};
use vmm_proto::name::{Path as Names, Target};
use vmm_service::connection::{ConnectionError, Reader, Writer};
use vmm_service::socket::Backoff;

use super::PATIENCE;
use crate::core::Core;

/// Messages that wait for `vmm-stats`. Past that they are dropped, and it is told everything anew.
const QUEUE: usize = 256;

/// The way to `vmm-stats`.
#[derive(Clone)]
pub(crate) struct StatsLink {
    queue: mpsc::Sender<ToStats>,
}

impl StatsLink {
    /// The way, and the receiving end for [`run`].
    pub(crate) fn new() -> (Self, mpsc::Receiver<ToStats>) {
        let (queue, out) = mpsc::channel(QUEUE);
        (Self { queue }, out)
    }

    /// This machine runs.
    pub(crate) fn watch(&self, machine: MachineId, pid: u32) {
        self.tell(ToStats::Watch { machine, pid });
    }

    /// This machine has ended.
    pub(crate) fn ended(&self, machine: MachineId) {
        self.tell(ToStats::Ended { machine });
    }

    /// This machine is no longer listed.
    pub(crate) fn forget(&self, machine: MachineId) {
        self.tell(ToStats::Forget { machine });
    }

    fn tell(&self, message: ToStats) {
        // A full queue means that nobody takes from it: the next connection begins with a reset.
        if self.queue.try_send(message).is_err() {
            tracing::debug!("vmm-stats does not keep up");
        }
    }
}

/// Keeps `vmm-stats` told, for ever.
pub(crate) async fn run(socket: PathBuf, core: Core, mut out: mpsc::Receiver<ToStats>) {
    let mut backoff = Backoff::default();
    loop {
        match super::connect::<FromStats, ToStats>(&socket).await {
            Ok((reader, writer)) => {
                backoff = Backoff::default();
                // What waited is older than the state that is sent now.
                while out.try_recv().is_ok() {}
                if let Err(error) = serve(&core, &mut out, reader, writer).await {
                    tracing::warn!("vmm-stats: {error}");
                }
            }
            Err(error) => tracing::debug!("vmm-stats: {error}"),
        }
        backoff.wait().await;
    }
}

async fn serve(
    core: &Core,
    out: &mut mpsc::Receiver<ToStats>,
    mut reader: Reader<tokio::net::unix::OwnedReadHalf, FromStats>,
    mut writer: Writer<OwnedWriteHalf, ToStats>,
) -> Result<(), ConnectionError> {
    let running = core.look(|engine| {
        let all = Target::Below(Names::host());
        engine.machines(&all).filter_map(|view| Some((view.id, view.pid?))).collect::<Vec<_>>()
    });
    let Ok(running) = running.await else { return Ok(()) };
    writer.push(0, &ToStats::Reset(Vec::new()))?;
    for (machine, pid) in running {
        writer.push(0, &ToStats::Watch { machine, pid })?;
    }
    writer.push(0, &ToStats::Told)?;
    writer.flush().await?;
    loop {
        // A full queue has lost something; a new connection begins with everything.
        if out.len() == QUEUE {
            return Ok(());
        }
        tokio::select! {
            message = out.recv() => match message {
                Some(message) => writer.send(0, &message).await?,
                None => return Ok(()),
            },
            end = reader.next() => if end?.is_none() {
                return Ok(());
            },
        }
    }
}

/// The newest samples of some machines, in their order.
///
/// # Errors
/// When `vmm-stats` is not there or does not answer.
pub(crate) async fn query(
    socket: &Path,
    machines: &[MachineId],
    samples: u16,
) -> Result<Vec<Vec<Sample>>, Error> {
    let ask = async {
        let (mut reader, mut writer) = super::connect::<FromStats, ToStats>(socket).await?;
        let mut all = Vec::with_capacity(machines.len());
        for machines in machines.chunks(MAX_MACHINES / 8) {
            writer.send(0, &ToStats::Query { machines: machines.to_vec(), samples }).await?;
            match reader.next().await? {
                Some((_, FromStats::Report(report))) => {
                    all.extend(report.into_iter().map(|(_, samples)| samples));
                }
                None => return Err(ConnectionError::Cut),
            }
        }
        Ok(all)
    };
    tokio::time::timeout(PATIENCE, ask)
        .await
        .map_err(|_| super::silent("vmm-stats"))?
        .map_err(|error| super::unavailable("vmm-stats", &error))
}
