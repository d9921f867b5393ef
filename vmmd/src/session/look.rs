//! Looking: machines, limits, what is used, what happened.

use std::iter;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use vmm_engine::{Engine, View};
use vmm_proto::id::MachineId;
use vmm_proto::message::client::{Error, ErrorCode, InterfaceUsage, Machine, Quota, Reply, Usage};
use vmm_proto::message::stats::Measured;
use vmm_proto::name::Target;
use vmm_proto::verb::Verb;

use super::Turn;
use crate::failure::Failure;
use crate::links::log::reading::{LogReader, Wanted};
use crate::links::stats;
use crate::links::stream::Absence;
use crate::records;

/// Rows or histories in one reply, so that it fits a frame: the CPUs of one may take 12 KiB, what the
/// interfaces of a machine have carried 8 KiB.
const ROWS: usize = 8;

/// Machines in one reply: beside CPUs, each may have 63 interfaces of 180 bytes.
const MACHINES: usize = 4;

/// Samples of a machine in an answer that does not follow: half a minute.
const HISTORY: u16 = 30;

/// How long the log may take to get to disk what has happened so far, before it is read.
const FRESH: Duration = Duration::from_secs(1);

/// How often statistics that follow are sent.
const PERIOD: Duration = Duration::from_secs(1);

/// `info`
pub(super) async fn info(turn: &Turn, name: Option<String>) -> Result<(), Failure> {
    let target = turn.target(Verb::Info, name.as_deref())?;
    let jail = turn.shared.spawn.jail_shown();
    let wanted = target.clone();
    let machines: Vec<Machine> = turn
        .shared
        .core
        .look(move |engine| {
            engine.machines(&wanted).map(|view| records::machine(&view, &jail)).collect()
        })
        .await?;
    if machines.is_empty() {
        missing(&target)?;
    }
    for machines in machines.chunks(MACHINES) {
        turn.say(Reply::Machines(machines.to_vec())).await?;
    }
    Ok(())
}

/// A machine that was named must be there; below a delegation there may be none.
fn missing(target: &Target) -> Result<(), Error> {
    match target {
        Target::Machine(name) => {
            Err(Error::new(ErrorCode::NotFound, format!("there is no machine \"{name}\"")))
        }
        Target::Below(_) => Ok(()),
    }
}

/// `quota`
pub(super) async fn quota(turn: &Turn) -> Result<(), Failure> {
    turn.target(Verb::Quota, None)?;
    let authorization = std::sync::Arc::clone(&turn.authorization);
    let rows: Vec<Quota> = turn
        .shared
        .core
        .look(move |engine| {
            let rows = engine.quota(authorization.links(), authorization.path());
            rows.iter().map(records::quota).collect()
        })
        .await?;
    for rows in rows.chunks(ROWS) {
        turn.say(Reply::Quota(rows.to_vec())).await?;
    }
    Ok(())
}

/// `statistics`
pub(super) async fn statistics(
    turn: &Turn,
    name: Option<String>,
    follow: bool,
) -> Result<(), Failure> {
    let target = turn.target(Verb::Statistics, name.as_deref())?;
    let socket = turn.shared.dirs.socket("stats");
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut absence = Absence::default();
    'ticks: loop {
        ticks.tick().await;
        let wanted = target.clone();
        let listed = move |engine: &Engine| -> Vec<Listed> {
            engine.machines(&wanted).map(|view| Listed::of(&view)).collect()
        };
        let listed = turn.shared.core.look(listed).await?;
        if listed.is_empty() {
            missing(&target)?;
        }
        let history = if follow { 1 } else { HISTORY };
        for machines in listed.chunks(ROWS) {
            let ids: Vec<_> = machines.iter().map(|listed| listed.id).collect();
            let measured = match stats::query(&socket, &ids, history).await {
                Ok(measured) => measured,
                // Who follows goes on when it is back, with all machines.
                Err(error) if follow => {
                    absence.goes_on(error).await?;
                    continue 'ticks;
                }
                Err(error) => return Err(error.into()),
            };
            absence.ends();
            let usages = machines.iter().zip(measured);
            let usages = usages.map(|(listed, measured)| listed.usage(measured));
            turn.say(Reply::Statistics(usages.collect())).await?;
        }
        if !follow {
            return Ok(());
        }
    }
}

/// A machine whose use is asked for.
struct Listed {
    name: String,
    id: MachineId,
    /// The names of its network devices.
    devices: Vec<String>,
}

impl Listed {
    fn of(view: &View<'_>) -> Self {
        let networks = view.spec.devices.networks().iter();
        let devices = networks.map(|network| network.device.to_string()).collect();
        Self { name: view.name.to_string(), id: view.id, devices }
    }

    fn usage(&self, measured: Measured) -> Usage {
        let Measured { machine: _, samples, traffic } = measured;
        // `vmm-stats` may have been told of none of them yet.
        let traffic = traffic.into_iter().chain(iter::repeat(None));
        let interfaces = self.devices.iter().zip(traffic);
        let interfaces = interfaces
            .map(|(device, traffic)| InterfaceUsage { device: device.clone(), traffic })
            .collect();
        Usage { name: self.name.clone(), id: self.id, samples, interfaces }
    }
}

/// `log`
pub(super) async fn log(
    turn: &Turn,
    name: Option<String>,
    since_ms: Option<u64>,
    follow: bool,
) -> Result<(), Failure> {
    let target = turn.target(Verb::Log, name.as_deref())?;
    let machine = match &target {
        Target::Machine(name) => Some(name.to_string()),
        Target::Below(_) => None,
    };
    let path = target.path().to_string();
    let socket = turn.shared.dirs.socket("log");
    let read = |since_ms| {
        let (path, machine) = (path.clone(), machine.clone());
        LogReader::open(&socket, Wanted { path, machine, since_ms, follow })
    };
    let _place = turn.reader_place()?;
    // Whoever has done something sees it in the log, unless that hangs: then it is read as it is.
    let _as_it_is = tokio::time::timeout(FRESH, turn.shared.recorder.flushed()).await;
    let mut reader = read(since_ms).await?;
    let mut any = false;
    while let Some(line) = reader.next().await? {
        turn.say(Reply::LogLine(line)).await?;
        any = true;
    }
    // Nothing happened to it in that time, or it never was.
    let known = any
        || since_ms.is_some() && read(None).await?.next().await?.is_some()
        || is_listed(turn, target.clone()).await?;
    if known { Ok(()) } else { Ok(missing(&target)?) }
}

async fn is_listed(turn: &Turn, target: Target) -> Result<bool, Error> {
    turn.shared.core.look(move |engine| engine.machines(&target).next().is_some()).await
}
