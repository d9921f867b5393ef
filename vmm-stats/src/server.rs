//! Joins the table to `/proc` and to the socket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use vmm_proto::id::MachineId;
use vmm_proto::message::stats::{FromStats, MAX_MACHINES, ToStats};
use vmm_service::connection::greet;
use vmm_service::notify;
use vmm_service::socket::Listener;

use crate::process::{self, Reading, ReadingError};
use crate::table::{Table, samples_each};

/// The most connections at a time: well below the usual limit of 1024 descriptors, so that `/proc`
/// can be read whoever connects.
const CONNECTIONS: usize = 512;

/// How often each machine is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// How many machines are looked at before others get their turn: about a millisecond of work.
const BATCH: usize = 64;

/// How long a question waits, right after the start, for word of what runs.
const TOLD: Duration = Duration::from_secs(2);

/// What the connections share.
#[derive(Debug)]
struct State {
    table: Shared,
    /// Whether all that runs was told once.
    told: watch::Sender<bool>,
}

/// The table as its users share it. Everything happens on one thread and nobody waits while holding
/// it, so taking it never waits.
type Shared = Mutex<Table>;

/// Samples, and serves every connection.
///
/// # Errors
/// When accepting fails for good.
pub async fn serve(listener: &Listener) -> anyhow::Result<()> {
    let state = Arc::new(State { table: Shared::default(), told: watch::Sender::new(false) });
    let rounds = watch::Sender::new(());
    // Whoever asks for the next round learns that the sampler goes on.
    let answers = || {
        let mut rounds = rounds.subscribe();
        async move { rounds.changed().await.unwrap_or_default() }
    };
    notify::ready("sampling machines");
    tokio::select! {
        served = listener.serve(CONNECTIONS, |stream| connection(stream, Arc::clone(&state))) => served,
        () = sample(&state.table, &rounds) => Ok(()),
        never = notify::watchdog(answers) => match never {},
    }
}

/// Looks at every machine that runs, once a second, for ever.
async fn sample(table: &Shared, rounds: &watch::Sender<()>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let running = lock(table).running();
        for batch in running.chunks(BATCH) {
            for &(id, process) in batch {
                if let Ok(reading) = look(id, process.pid) {
                    lock(table).record(id, process, reading);
                }
            }
            tokio::task::yield_now().await;
        }
        rounds.send_replace(());
    }
}

async fn connection(stream: UnixStream, state: Arc<State>) -> anyhow::Result<()> {
    let State { table, told } = &*state;
    let (mut reader, mut writer) = greet::<ToStats, FromStats>(stream, "vmm-stats").await?;
    while let Some((request, message)) = reader.next().await? {
        match message {
            ToStats::Reset(machines) => {
                within_limit(machines.len())?;
                lock(table).end_all();
                for (id, pid) in machines {
                    begin(table, id, pid);
                }
            }
            ToStats::Watch { machine, pid } => begin(table, machine, pid),
            ToStats::Ended { machine } => lock(table).ended(machine),
            ToStats::Forget { machine } => lock(table).forget(machine),
            ToStats::Told => {
                told.send_replace(true);
            }
            ToStats::Query { machines, samples } => {
                within_limit(machines.len())?;
                // Just started, it would take everything that runs to be unknown.
                timeout(TOLD, told.subscribe().wait_for(|told| *told))
                    .await
                    .context("a question before it was told what runs")??;
                let report = report(&mut lock(table), &machines, samples);
                writer.send(request, &report).await?;
            }
        }
    }
    Ok(())
}

fn within_limit(machines: usize) -> anyhow::Result<()> {
    ensure!(
        machines <= MAX_MACHINES,
        "{machines} machines in one message; at most {MAX_MACHINES} are allowed"
    );
    Ok(())
}

fn begin(table: &Shared, id: MachineId, pid: u32) {
    // What cannot be read now cannot be told from a later process with this pid either.
    let first = look(id, pid).unwrap_or_default();
    if let Err(full) = lock(table).watch(id, pid, first) {
        tracing::warn!(machine = %id, "{full}");
    }
}

/// Takes a fresh sample of each that runs, so that there is one right after its start.
fn report(table: &mut Table, machines: &[MachineId], samples: u16) -> FromStats {
    let each = samples_each(machines.len(), samples);
    let entry = |&id: &MachineId| {
        let fresh = table.process(id).and_then(|process| {
            let reading = look(id, process.pid).ok()?;
            let fresh = reading.filter(|reading| reading.started == process.started);
            if fresh.is_none() {
                table.ended(id);
            }
            Some(fresh?.sample)
        });
        (id, table.newest(id, each, fresh))
    };
    FromStats::Report(machines.iter().map(entry).collect())
}

/// What a process uses; `Ok(None)` when it has ended. A passing failure is logged.
fn look(id: MachineId, pid: u32) -> Result<Option<Reading>, ReadingError> {
    match process::read(pid) {
        Ok(reading) => Ok(Some(reading)),
        Err(ReadingError::Ended) => Ok(None),
        Err(error) => {
            tracing::warn!(machine = %id, "no sample: {error}");
            Err(error)
        }
    }
}

fn lock(table: &Shared) -> MutexGuard<'_, Table> {
    // A panic in one connection's task leaves the table whole: each change of it is one step.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
