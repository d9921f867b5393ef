//! The way to `vmm-spawn`, which starts and ends machines.

mod bridges;
mod packets;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use vmm_engine::{Event, Exit, KnownRun, Spent};
use vmm_proto::id::MachineId;
use vmm_proto::message::VERSION;
use vmm_proto::message::client::Error;
use vmm_proto::message::spawn::{FromSpawn, Role, ToSpawn};
use vmm_proto::resource::BridgeName;
use vmm_service::packet::PacketSocket;
use vmm_service::socket::Backoff;

use self::packets::{Silence, does_not_answer, next, send};
use super::PATIENCE;
use super::stats::StatsLink;
use crate::clock;
use crate::core::Core;
use crate::records;

/// Commands that wait for `vmm-spawn`. Past that, starts fail.
const QUEUE: usize = 1024;

/// What is said of the jail while `vmm-spawn` is away.
const JAIL_UNKNOWN: &str = "not known now, as vmm-spawn is not connected";

/// A command, and for a start the image.
pub(crate) struct Command {
    /// How often what `vmm-spawn` knows had been taken into account when this was given.
    joined: u64,
    message: ToSpawn,
    image: Option<OwnedFd>,
}

/// The way to `vmm-spawn`.
#[derive(Clone)]
pub(crate) struct SpawnLink {
    queue: mpsc::Sender<Command>,
    core: Core,
    /// How often what `vmm-spawn` knows was taken into account. A command that was given before
    /// that of the present connection was, is void: what counts of it was given again.
    joined: Arc<AtomicU64>,
    /// Counts what was lost, as too much waited: the connection is over then.
    lost: watch::Sender<u64>,
    /// What of the jail cannot be applied; `None` while there is no connection.
    jail: watch::Sender<Option<Vec<String>>>,
    /// The bridges on which all machines see each other.
    peers: Arc<[BridgeName]>,
}

impl SpawnLink {
    /// The way, and the receiving end for [`SpawnLink::run`].
    pub(crate) fn new(core: Core, peers: Vec<BridgeName>) -> (Self, mpsc::Receiver<Command>) {
        let (queue, out) = mpsc::channel(QUEUE);
        let joined = Arc::default();
        let (lost, jail) = (watch::Sender::new(0), watch::Sender::new(None));
        (Self { queue, core, joined, lost, jail, peers: peers.into() }, out)
    }

    pub(crate) fn set_jail(&self, jail: Option<Vec<String>>) {
        self.jail.send_replace(jail);
    }

    /// What of the jail `vmm-spawn` cannot apply; `None` while it is not connected.
    pub(crate) fn jail(&self) -> Option<Vec<String>> {
        self.jail.borrow().clone()
    }

    /// The same for people, who are not to read nothing as that nothing is missing.
    pub(crate) fn jail_shown(&self) -> Vec<String> {
        self.jail().unwrap_or_else(|| vec![JAIL_UNKNOWN.to_owned()])
    }

    /// Waits a little for `vmm-spawn`: the daemons may be started in any order.
    ///
    /// # Errors
    /// When it is still not there.
    pub(crate) async fn ready(&self) -> Result<(), Error> {
        let mut jail = self.jail.subscribe();
        let connected = jail.wait_for(Option::is_some);
        match tokio::time::timeout(PATIENCE, connected).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(super::unavailable("vmm-spawn", &"it is not running")),
        }
    }

    /// Comes to an end when there has been no connection for `time` without a break.
    pub(crate) async fn is_away(&self, time: Duration) {
        let mut jail = self.jail.subscribe();
        // The sender lives as long as `self`, so that only words of it end these waits.
        while jail.wait_for(Option::is_none).await.is_ok() {
            if tokio::time::timeout(time, jail.wait_for(Option::is_some)).await.is_err() {
                return;
            }
        }
    }

    /// Gives a command. Without a connection it is void: what counts of it is given again when
    /// `vmm-spawn` has said what it knows.
    pub(crate) fn tell(&self, message: ToSpawn, image: Option<OwnedFd>) {
        if self.jail().is_none() {
            return;
        }
        let joined = self.joined.load(Ordering::Relaxed);
        if let Err(error) = self.queue.try_send(Command { joined, message, image }) {
            match error.into_inner().message {
                ToSpawn::Start(start) => {
                    self.fail(start.id, start.run, "vmm-spawn does not keep up".to_owned());
                }
                // It is reported again on the next connection.
                ToSpawn::EndSeen { .. } => {}
                // All others, too, are told again then; but not before, and somebody may wait.
                other => {
                    tracing::warn!("{other:?} was not told: vmm-spawn does not keep up");
                    self.lost.send_modify(|count| *count += 1);
                }
            }
        }
    }

    /// What `vmm-spawn` knows was taken into account once more: from here on commands count again.
    pub(crate) fn joined(&self) {
        self.joined.fetch_add(1, Ordering::Relaxed);
    }

    /// Reports that a machine was not started.
    pub(crate) fn fail(&self, id: MachineId, run: u64, reason: String) {
        self.core.notice(Event::StartFailed { id, run, reason, jitter: clock::jitter() });
    }

    /// Keeps the connection, for ever.
    pub(crate) async fn run(
        self,
        socket: PathBuf,
        stats: StatsLink,
        mut out: mpsc::Receiver<Command>,
    ) {
        let mut backoff = Backoff::default();
        let mut connections = 0;
        loop {
            let lost = self.lost.subscribe();
            match self.connect(&socket, &stats).await {
                Ok(connection) => {
                    backoff = Backoff::default();
                    connections += 1;
                    tracing::info!("vmm-spawn is connected");
                    let served = self.serve(&connection, connections, &stats, &mut out, lost).await;
                    if let Err(error) = served {
                        tracing::error!("vmm-spawn is lost: {error}");
                    }
                    self.set_jail(None);
                    self.core.notice(Event::SpawnLost);
                }
                Err(error) => tracing::debug!("vmm-spawn: {error}"),
            }
            backoff.wait().await;
        }
    }

    /// Connects, and brings both sides to the same knowledge of what runs.
    async fn connect(
        &self,
        socket: &std::path::Path,
        stats: &StatsLink,
    ) -> io::Result<PacketSocket> {
        let connection = PacketSocket::connect(socket)?;
        let hello = ToSpawn::Hello { version: VERSION, role: Role::Supervisor };
        send(&connection, &hello, None).await?;
        let greeting = async {
            let FromSpawn::Welcome { version: VERSION, jail, bridges, known } =
                next(&connection).await?
            else {
                return Err(io::Error::other("it speaks another version; upgrade the older one"));
            };
            let mut all = Vec::new();
            for _ in 0..known {
                let FromSpawn::Known { id, run, pid, ready } = next(&connection).await? else {
                    return Err(io::Error::other("it said something before all that it knows"));
                };
                all.push(KnownRun { id, run, pid, ready });
            }
            Ok((jail, bridges, all))
        };
        let (jail, bridges, known) = tokio::time::timeout(PATIENCE, greeting)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.set_jail(Some(jail));
        // Those that are adopted; what has no right to run is forgotten with the machine.
        for KnownRun { id, pid, .. } in known.iter().filter(|known| known.ready) {
            if let Some(pid) = *pid {
                stats.watch(*id, pid);
            }
        }
        // Before what is started because of what it knows.
        self.offer(&bridges);
        let jitter = clock::jitter();
        self.core.notice(Event::SpawnKnows { same_boot: true, known, jitter });
        Ok(connection)
    }

    /// Machines may be put on these bridges of the host, and on no others.
    fn offer(&self, names: &[String]) {
        let bridges = bridges::offered(names);
        self.core.notice(Event::BridgesOffered { bridges });
    }

    async fn serve(
        &self,
        connection: &PacketSocket,
        connections: u64,
        stats: &StatsLink,
        out: &mut mpsc::Receiver<Command>,
        mut lost: watch::Receiver<u64>,
    ) -> io::Result<()> {
        let (mut silence, mut looked) = (Silence::default(), false);
        loop {
            tokio::select! {
                message = next(connection) => {
                    silence = Silence::default();
                    self.heard(stats, message?, &mut looked);
                }
                command = out.recv() => match command {
                    Some(Command { joined, message, image }) if joined == connections => {
                        send(connection, &message, image).await?;
                    }
                    Some(Command { message, .. }) => tracing::debug!("{message:?} is void"),
                    None => return Ok(()),
                },
                // The sender lives as long as `self`.
                Ok(()) = lost.changed() => {
                    return Err(io::Error::other("it does not keep up with what it is told"));
                }
                () = tokio::time::sleep_until(silence.until) => {
                    if silence.asked {
                        return Err(does_not_answer());
                    }
                    send(connection, &ToSpawn::Ping, None).await?;
                    silence = Silence { asked: true, ..Silence::default() };
                }
            }
        }
    }

    /// Passes a message on. `looked`: whether the bridges of peers were looked for; before the host
    /// networks are told of for the first time, theirs are not there.
    fn heard(&self, stats: &StatsLink, message: FromSpawn, looked: &mut bool) {
        let jitter = clock::jitter();
        match message {
            FromSpawn::Started { id, run, pid } => {
                stats.watch(id, pid);
                self.core.notice(Event::Started { id, run, pid });
            }
            FromSpawn::StartFailed { id, run, reason } => {
                self.fail(id, run, reason);
            }
            FromSpawn::Exited {
                id,
                run,
                exit,
                output_end,
                user_us,
                system_us,
                max_resident_kib,
            } => {
                stats.ended(id);
                let spent = Spent { user_us, system_us, max_resident_kib };
                let exit = records::exit_to_engine(exit);
                // Of an end that nobody saw, nothing was counted.
                let spent = (exit != Exit::Unknown).then_some(spent);
                self.core.notice(Event::Exited { id, run, exit, output_end, spent, jitter });
            }
            FromSpawn::HostNetworks { number, states: all, bridges } => {
                // What is no name of a bridge is none that was told.
                let named = |name: &str| BridgeName::parse(name).ok();
                let all = all.into_iter().filter_map(|it| Some((named(&it.name)?, it.problem)));
                let networks: BTreeMap<_, _> = all.collect();
                if !std::mem::replace(looked, true) {
                    let there =
                        bridges::offered(&bridges).into_iter().chain(networks.keys().cloned());
                    bridges::warn_of_absent(&self.peers, &there.collect());
                }
                self.core.notice(Event::NetworksAre { number, states: networks });
                self.offer(&bridges);
            }
            FromSpawn::Pong => {}
            FromSpawn::Welcome { .. }
            | FromSpawn::Known { .. }
            | FromSpawn::Ring { .. }
            | FromSpawn::RingGone { .. } => {
                tracing::warn!("vmm-spawn said something out of turn");
            }
        }
    }
}

/// What waits to be told.
#[cfg(test)]
pub(crate) fn told(out: &mut mpsc::Receiver<Command>) -> Vec<ToSpawn> {
    std::iter::from_fn(|| out.try_recv().ok()).map(|command| command.message).collect()
}

#[cfg(test)]
mod tests;
