//! Telling `vmm-stats` what runs, and asking it what that uses.

use std::path::{Path, PathBuf};

use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use vmm_engine::{Engine, View};
use vmm_proto::id::MachineId;
use vmm_proto::message::client::Error;
use vmm_proto::message::stats::{FromStats, MAX_MACHINES, Measured, Running, ToStats};
use vmm_proto::name::{Path as Names, Target};
use vmm_service::connection::{ConnectionError, Reader, Writer};
use vmm_service::socket::Backoff;

use super::PATIENCE;
use crate::core::Core;

/// Messages that wait for `vmm-stats`. Past that they are dropped, and it is told everything anew.
const QUEUE: usize = 256;

/// Machines in one question, of as many as a message holds: a report of so many has room for half a
/// minute of each, however many interfaces they have.
const ASKED: usize = MAX_MACHINES / 2;

/// What happened.
#[derive(Debug)]
pub(crate) enum Word {
    Runs { machine: MachineId, pid: u32 },
    Ended(MachineId),
    Gone(MachineId),
}

/// The way to `vmm-stats`.
#[derive(Clone)]
pub(crate) struct StatsLink {
    queue: mpsc::Sender<Word>,
}

impl StatsLink {
    /// The way, and the receiving end for [`run`].
    pub(crate) fn new() -> (Self, mpsc::Receiver<Word>) {
        let (queue, out) = mpsc::channel(QUEUE);
        (Self { queue }, out)
    }

    /// This machine runs.
    pub(crate) fn watch(&self, machine: MachineId, pid: u32) {
        self.tell(Word::Runs { machine, pid });
    }

    /// This machine has ended.
    pub(crate) fn ended(&self, machine: MachineId) {
        self.tell(Word::Ended(machine));
    }

    /// This machine is no longer listed.
    pub(crate) fn forget(&self, machine: MachineId) {
        self.tell(Word::Gone(machine));
    }

    fn tell(&self, word: Word) {
        // A full queue means that nobody takes from it: the next connection begins with a reset.
        if self.queue.try_send(word).is_err() {
            tracing::debug!("vmm-stats does not keep up");
        }
    }
}

/// Keeps `vmm-stats` told, for ever.
pub(crate) async fn run(socket: PathBuf, core: Core, mut out: mpsc::Receiver<Word>) {
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
    out: &mut mpsc::Receiver<Word>,
    mut reader: Reader<tokio::net::unix::OwnedReadHalf, FromStats>,
    mut writer: Writer<OwnedWriteHalf, ToStats>,
) -> Result<(), ConnectionError> {
    // In turn: this way is one alone, and has to be served however much is asked.
    let running = core.look_in_turn(|engine| {
        let all = Target::Below(Names::host());
        let running = |view: View<'_>| Some(running(&view, view.pid?));
        engine.machines(&all).filter_map(running).collect::<Vec<_>>()
    });
    let Ok(running) = running.await else { return Ok(()) };
    writer.push(0, &ToStats::Reset(Vec::new()))?;
    for running in running {
        writer.push(0, &ToStats::Watch(running))?;
    }
    writer.push(0, &ToStats::Told)?;
    writer.flush().await?;
    let mut words = Vec::new();
    loop {
        // A full queue has lost something; a new connection begins with everything.
        if out.len() == QUEUE {
            return Ok(());
        }
        tokio::select! {
            count = out.recv_many(&mut words, QUEUE) => {
                if count == 0 {
                    return Ok(());
                }
                let words = std::mem::take(&mut words);
                // What a machine has beside its process, the engine knows.
                let messages = core.look_in_turn(|engine| messages(engine, words));
                let Ok(messages) = messages.await else { return Ok(()) };
                for message in messages {
                    writer.push(0, &message)?;
                }
                writer.flush().await?;
            }
            end = reader.next() => if end?.is_none() {
                return Ok(());
            },
        }
    }
}

fn messages(engine: &Engine, words: Vec<Word>) -> Vec<ToStats> {
    let message = |word| match word {
        // What has no right to run is ended, and not watched.
        Word::Runs { machine, pid } => {
            engine.by_id(machine).map(|view| ToStats::Watch(running(&view, pid)))
        }
        Word::Ended(machine) => Some(ToStats::Ended { machine }),
        Word::Gone(machine) => Some(ToStats::Forget { machine }),
    };
    words.into_iter().filter_map(message).collect()
}

fn running(view: &View<'_>, pid: u32) -> Running {
    // A grant has at most 63 devices.
    let interfaces = u8::try_from(view.spec.devices.networks().len()).unwrap_or(u8::MAX);
    Running { machine: view.id, pid, interfaces }
}

/// The newest of what was measured of some machines, in their order.
///
/// # Errors
/// When `vmm-stats` is not there or does not answer.
pub(crate) async fn query(
    socket: &Path,
    machines: &[MachineId],
    samples: u16,
) -> Result<Vec<Measured>, Error> {
    let ask = async {
        let (mut reader, mut writer) = super::connect::<FromStats, ToStats>(socket).await?;
        let mut all = Vec::with_capacity(machines.len());
        for machines in machines.chunks(ASKED) {
            writer.send(0, &ToStats::Query { machines: machines.to_vec(), samples }).await?;
            match reader.next().await? {
                Some((_, FromStats::Report(report))) => all.extend(report),
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

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn a_connection_is_not_given_up_while_many_requests_wait() {
        let (core, _inbox) = crate::core::new();
        while core.watch(MachineId([0; 16])).is_ok() {}
        let (_link, mut out) = StatsLink::new();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (reader, writer) = ours.into_split();
        let served = serve(&core, &mut out, Reader::new(reader), Writer::new(writer));
        tokio::select! {
            biased;
            end = served => panic!("given up: {end:?}"),
            () = std::future::ready(()) => {}
        }
    }
}
