//! Joins the table to `/proc`, to rtnetlink and to the socket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::MAX_INTERFACES;
use vmm_proto::message::stats::{FromStats, MAX_MACHINES, Running, ToStats};
use vmm_proto::resource::TapName;
use vmm_service::connection::greet;
use vmm_service::notify;
use vmm_service::socket::Listener;

use crate::interface::Interfaces;
use crate::process::{self, Reading, ReadingError};
use crate::table::{Process, Table, samples_each};

/// The most connections at a time: well below the usual limit of 1024 descriptors, so that `/proc`
/// can be read whoever connects.
const CONNECTIONS: usize = 512;

/// How often each machine is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// How many processes and interfaces are looked at before others get their turn: about a millisecond
/// of work.
const BATCH: usize = 64;

/// How long a question waits, right after the start, for word of what runs.
const TOLD: Duration = Duration::from_secs(2);

/// What the connections share.
#[derive(Debug)]
struct State {
    measured: Shared,
    /// Whether all that runs was told once.
    told: watch::Sender<bool>,
}

/// What there is to know, and the way to know more.
#[derive(Debug, Default)]
struct Measuring {
    table: Table,
    interfaces: Interfaces,
}

/// It as its users share it. Everything happens on one thread and nobody waits while holding it, so
/// taking it never waits.
type Shared = Mutex<Measuring>;

/// Samples, and serves every connection.
///
/// # Errors
/// When accepting fails for good.
pub async fn serve(listener: &Listener) -> anyhow::Result<()> {
    let state = Arc::new(State { measured: Shared::default(), told: watch::Sender::new(false) });
    let rounds = watch::Sender::new(());
    // Whoever asks for the next round learns that the sampler goes on.
    let answers = || {
        let mut rounds = rounds.subscribe();
        async move { rounds.changed().await.unwrap_or_default() }
    };
    notify::ready("sampling machines");
    tokio::select! {
        served = listener.serve(CONNECTIONS, |stream| connection(stream, Arc::clone(&state))) => served,
        () = sample(&state.measured, &rounds) => Ok(()),
        never = notify::watchdog(answers) => match never {},
    }
}

/// Looks at every machine that runs, once a second, for ever.
async fn sample(measured: &Shared, rounds: &watch::Sender<()>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let running = lock(measured).table.running();
        let mut looks = 0;
        for (id, process) in running {
            {
                let measuring = &mut *lock(measured);
                let Process { pid, interfaces, .. } = process;
                if let Ok(reading) = look(&mut measuring.interfaces, id, pid, interfaces) {
                    measuring.table.record(id, process, reading);
                }
            }
            looks += 1 + usize::from(process.interfaces);
            if looks >= BATCH {
                looks = 0;
                tokio::task::yield_now().await;
            }
        }
        rounds.send_replace(());
    }
}

async fn connection(stream: UnixStream, state: Arc<State>) -> anyhow::Result<()> {
    let State { measured, told } = &*state;
    let (mut reader, mut writer) = greet::<ToStats, FromStats>(stream, "vmm-stats").await?;
    while let Some((request, message)) = reader.next().await? {
        match message {
            ToStats::Reset(machines) => {
                within_limit(machines.len())?;
                lock(measured).table.end_all();
                for running in machines {
                    begin(measured, running)?;
                }
            }
            ToStats::Watch(running) => begin(measured, running)?,
            ToStats::Ended { machine } => lock(measured).table.ended(machine),
            ToStats::Forget { machine } => lock(measured).table.forget(machine),
            ToStats::Told => {
                told.send_replace(true);
            }
            ToStats::Query { machines, samples } => {
                within_limit(machines.len())?;
                // Just started, it would take everything that runs to be unknown.
                timeout(TOLD, told.subscribe().wait_for(|told| *told))
                    .await
                    .context("a question before it was told what runs")??;
                let report = report(&mut lock(measured), &machines, samples);
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

fn begin(measured: &Shared, running: Running) -> anyhow::Result<()> {
    let Running { machine, pid, interfaces } = running;
    ensure!(
        usize::from(interfaces) <= MAX_INTERFACES,
        "a machine with {interfaces} interfaces; it can have {MAX_INTERFACES}"
    );
    let measuring = &mut *lock(measured);
    // What cannot be read now cannot be told from a later process with this pid either.
    let first = look(&mut measuring.interfaces, machine, pid, interfaces).unwrap_or_default();
    if let Err(full) = measuring.table.watch(running, first) {
        tracing::warn!(%machine, "{full}");
    }
    Ok(())
}

/// Takes a fresh sample of each that runs, so that there is one right after its start.
fn report(measuring: &mut Measuring, machines: &[MachineId], samples: u16) -> FromStats {
    let Measuring { table, interfaces } = measuring;
    let told = machines.iter().map(|&id| table.interfaces(id)).sum();
    let each = samples_each(machines.len(), told, samples);
    let entry = |&id: &MachineId| {
        let fresh = table.process(id).and_then(|process| {
            let reading = look(interfaces, id, process.pid, process.interfaces).ok()?;
            let fresh = reading.filter(|reading| reading.started == process.started);
            if fresh.is_none() {
                table.ended(id);
            }
            fresh
        });
        table.newest(id, each, fresh)
    };
    FromStats::Report(machines.iter().map(entry).collect())
}

/// What a process uses and its interfaces have carried; `Ok(None)` when it has ended. A passing
/// failure is logged.
fn look(
    interfaces: &mut Interfaces,
    id: MachineId,
    pid: u32,
    count: u8,
) -> Result<Option<Reading>, ReadingError> {
    // Before the process: what is still the same after that had these, and no later one.
    let traffic = (0..count.into())
        .map(|index| interfaces.traffic(TapName::of(id, index).as_str()))
        .collect();
    match process::read(pid) {
        Ok(reading) => Ok(Some(Reading { traffic, ..reading })),
        Err(ReadingError::Ended) => Ok(None),
        Err(error) => {
            tracing::warn!(machine = %id, "no sample: {error}");
            Err(error)
        }
    }
}

fn lock(measured: &Shared) -> MutexGuard<'_, Measuring> {
    // A panic in one connection's task leaves it whole: each change of it is one step.
    measured.lock().unwrap_or_else(PoisonError::into_inner)
}
