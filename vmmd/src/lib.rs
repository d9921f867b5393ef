//! `vmmd`, the supervisor: it decides from certificates what may run on this host.
//!
//! * [`door`]: TLS and the local socket; a chain becomes an authorization, a connection a session.
//! * [`session`]: requests of one connection, each on its own, many at a time.
//! * [`core`]: the way to the one task that owns the engine; events in, effects out.
//! * [`links`]: the ways to `vmm-spawn`, `vmm-console`, `vmm-log` and `vmm-stats`.
//! * [`revocation`]: lists on their way to the engine.
//! * [`journal`]: what outlives this process.
//! * [`images`], [`inspect`]: stored images, and what they are.
//! * [`ending`]: the end of all machines with this process, where that was asked for.
//!
//! It runs without privileges and decides nothing that the engine can decide.

#![forbid(unsafe_code)]

mod attachments;
mod budget;
mod clock;
mod core;
mod door;
mod ending;
mod failpoint;
mod failure;
mod host;
mod images;
mod inspect;
mod journal;
mod links;
mod manifest;
pub mod options;
mod peers;
mod places;
mod records;
mod revocation;
mod session;
mod tls;

pub use door::{LOCAL, TLS};

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use vmm_engine::Engine;
use vmm_service::activation::Passed;
use vmm_service::dirs::Dirs;
use vmm_service::notify;
use vmm_service::run::{allow_descriptors, asked_to_end};

use crate::attachments::Attachments;
use crate::budget::Budget;
use crate::core::Core;
use crate::core::perform::Deeds;
use crate::core::task::Boots;
use crate::images::Images;
use crate::journal::Journal;
use crate::links::log::{Entry, Outbox, Recorder};
use crate::links::spawn::SpawnLink;
use crate::links::stats::StatsLink;
use crate::options::Options;
use crate::places::{Origin, Places};
use crate::revocation::Desk;

/// How long the log may take to get the last events to disk at the end.
const LAST_EVENTS: std::time::Duration = std::time::Duration::from_secs(2);

/// What a service manager is told while requests are served.
const SERVING: &str = "serving";

/// Images that are looked at at once: each is a process.
const INSPECTIONS: usize = 4;

/// Embedded images that are unpacked at once: half of the threads for such work.
const UNPACKINGS: usize = 2;

/// What every session needs.
struct Shared {
    dirs: Dirs,
    identity: tls::Identity,
    tender: PathBuf,
    core: Core,
    images: Images,
    recorder: Recorder,
    spawn: SpawnLink,
    attachments: Attachments,
    desk: Desk,
    /// Revocation lists on their way, at every path above who sends them.
    lists: Places<Origin>,
    /// Bytes of long revocation lists.
    list_budget: Budget<Origin>,
    /// Readers of consoles and of the log, at every path above them.
    readers: Places<Origin>,
    /// Turns at looking at images.
    inspections: Arc<Semaphore>,
    /// Turns at unpacking embedded images.
    unpackings: Arc<Semaphore>,
}

/// Serves until the process is asked to end.
///
/// # Errors
/// When it cannot begin: files that are missing or wrong, addresses in use.
pub async fn serve(options: &Options, mut passed: Passed) -> anyhow::Result<()> {
    // A session takes a descriptor, a reader one more.
    allow_descriptors();
    let dirs = options.common.dirs();
    dirs.make_run().context("cannot make the directory of the sockets")?;
    let own_dir = dirs.state("vmmd").context("cannot make the state directory")?;
    let identity = tls::identity(&options.ca, &options.cert, &options.key)?;
    let tender = inspect::find_tender(options.tender.as_deref())?;
    let limits = host::limits(options, &own_dir)?;
    let hangups = signal(SignalKind::hangup()).context("cannot watch for SIGHUP")?;
    let boot = host::boot()?;
    let claim = door::local::claim(&dirs)?;
    let journal = Journal::open(&own_dir)?;
    let mut engine = Engine::new(limits, identity.root.key())
        .with_on_expiry(options.on_expiry.into())
        .with_host_key(identity.key)
        .with_bridge_peers(options.bridge_peers.iter().cloned().collect());
    let left = journal.load()?;
    let images = Images::open(&own_dir, &left.kept)?;
    peers::warn_of_changes(&left.kept, &options.bridge_peers);
    left.kept.into_iter().for_each(|kept| engine.restore(kept));
    // Whatever can fail comes before the doors, and the local one last: once it is there, all are.
    let doors = door::tls::listen(&options.listen, passed.tcp(TLS)?).await?;
    let local = Arc::new(door::local::listen(&dirs, claim, passed.unix(LOCAL)?)?);

    let (core, inbox) = core::new();
    let (stats, stats_out) = StatsLink::new();
    let (spawn, spawn_out) = SpawnLink::new(core.clone(), options.bridge_peers.clone());
    let outbox = Outbox::new(left.events);
    let recorder = Recorder::new(core.clone(), outbox.clone());
    tokio::spawn(links::stats::run(dirs.socket("stats"), core.clone(), stats_out));
    tokio::spawn(links::log::run(dirs.socket("log"), outbox.clone()));
    tokio::spawn(spawn.clone().run(dirs.socket("spawn"), stats.clone(), spawn_out));
    tokio::spawn(recorder.clone().sum_up());
    let deeds =
        Deeds { images: images.clone(), spawn: spawn.clone(), stats, recorder: recorder.clone() };
    let kept = (journal.clone(), left.numbering);
    let boots = Boots { kept: left.boot, now: boot };
    tokio::spawn(core.clone().run(engine, inbox, kept, outbox, deeds, boots));

    recorder.record(Entry::of("up", "").with("version", env!("CARGO_PKG_VERSION")));
    let attachments = Attachments::default();
    let desk = Desk::new(identity.clone(), core.clone(), journal);
    let crls = options.crls.clone().unwrap_or_else(|| own_dir.join("crls"));
    desk.hand_in_directory(&crls, &recorder).await;
    tokio::spawn(on_hangup(hangups, desk.clone(), crls, recorder.clone()));
    let shared = Arc::new(Shared {
        dirs,
        identity,
        tender,
        core: core.clone(),
        images,
        recorder: recorder.clone(),
        spawn,
        attachments,
        desk,
        lists: Places::default(),
        list_budget: Budget::default(),
        readers: Places::default(),
        inspections: Arc::new(Semaphore::new(INSPECTIONS)),
        unpackings: Arc::new(Semaphore::new(UNPACKINGS)),
    });
    notify::ready(SERVING);
    tokio::select! {
        result = door::serve(&shared, doors, &local) => result?,
        end = asked_to_end() => end?,
        never = notify::watchdog(|| core.answers()) => match never {},
    }
    let ended = if options.stop_machines { ending::stop_machines(&core).await } else { Ok(()) };
    recorder.record(Entry::of("down", ""));
    if tokio::time::timeout(LAST_EVENTS, recorder.flushed()).await.is_err() {
        tracing::warn!("the last events did not reach vmm-log");
    }
    ended
}

/// Looks at the directory of revocation lists whenever the process is told to.
async fn on_hangup(mut hangups: Signal, desk: Desk, crls: PathBuf, recorder: Recorder) {
    while hangups.recv().await.is_some() {
        tracing::info!("looking at the revocation lists in {}", crls.display());
        notify::reloading("looking at revocation lists");
        desk.hand_in_directory(&crls, &recorder).await;
        notify::ready(SERVING);
    }
}
