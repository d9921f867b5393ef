//! The loop: waits for whatever happens, and hands it to who knows what to do.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};
use std::{io, iter};

use rustix::io::{Errno, read};
use rustix::process::{Resource, getrlimit, setrlimit};
use tracing::{error, info, warn};
use vmm_proto::message::VERSION;
use vmm_proto::message::spawn::{FromSpawn, Role};
use vmm_proto::resource::BridgeName;

use crate::inherited;
use crate::jail::{self, Jail};
use crate::machines::{AdoptError, Machines};
use crate::manager::{self, PassedError, Watchdog};
use crate::net::host::HostNetworks;
use crate::net::{self, Networks};
use crate::options::{Config, ConfigError};
use crate::peer::{Order, Request};
use crate::peers::{Message, Peers};
use crate::poller::{Poller, Readiness, Token};
use crate::signals;
use crate::socket::{self, Listener};
use crate::state::{self, State};

/// How long machines may take to end when all are killed. Only one that is stuck in the kernel
/// takes long.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// How long no connection is accepted after one could not be.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Why the daemon ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// {0}
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// {0}
    #[error(transparent)]
    Passed(#[from] PassedError),
    /// {0}
    #[error(transparent)]
    Socket(#[from] socket::Error),
    /// {0}
    #[error(transparent)]
    State(#[from] state::Error),
    /// machines cannot be gone on with
    #[error("cannot go on with the machines of an earlier vmm-spawn, which run on: {0}")]
    Adopt(#[from] AdoptError),
    /// {0}
    #[error(transparent)]
    Jail(#[from] jail::Error),
    /// {0}
    #[error(transparent)]
    Networks(#[from] net::Error),
    /// cannot {what}: {error}
    #[error("cannot {what}: {error}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// {left} machines did not end
    #[error("{left} machines did not end within {} s after they were killed", END_TIMEOUT.as_secs())]
    Survivors {
        /// How many.
        left: usize,
    },
}

/// For `map_err`: names what failed.
fn failed<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Kernel { what, error: error.into() }
}

/// Runs until a signal tells it to end ([`signals::to_end`]). Machines run on, or are ended first if
/// that was asked for.
///
/// # Errors
/// It could not begin, or machines could not be ended that should be.
pub fn run(config: &Config) -> Result<(), Error> {
    let mut daemon = Daemon::begin(config)?;
    while !daemon.over()? {
        daemon.turn()?;
    }
    daemon.machines.jail.leave();
    info!("ended");
    Ok(())
}

struct Daemon {
    poller: Rc<Poller>,
    /// `None` once this process is to end.
    listener: Option<Listener>,
    /// Until when no connection is accepted.
    accept_from: Option<Instant>,
    signals: UnixStream,
    watchdog: Watchdog,
    peers: Peers,
    machines: Machines,
    host_networks: HostNetworks,
    /// The bridges of those that machines may be put on.
    offered: BTreeSet<String>,
    /// Whether machines are ended with this process.
    stop_machines: bool,
    /// When all machines must have ended, once this process is to end with them.
    end_by: Option<Instant>,
    /// Whether this process is to end as it is.
    done: bool,
}

impl Daemon {
    fn begin(config: &Config) -> Result<Self, Error> {
        let passed = manager::passed()?;
        inherited::keep_to_ourselves().map_err(failed("keep inherited descriptors"))?;
        let signals = signals::to_end().map_err(failed("handle signals"))?;
        let poller = Rc::new(Poller::new().map_err(failed("make an epoll instance"))?);
        allow_many_descriptors();
        // Who has the lock may look at the state; who connects meanwhile waits.
        let listener = Listener::open(config, passed)?;
        let state = State::open(&config.dir)?;
        let watch = |error: Errno| failed("watch a descriptor")(error);
        poller.watch(&signals, Token::Signals).map_err(watch)?;
        poller.watch(&listener, Token::Listener).map_err(watch)?;
        let dir = config.dir.canonicalize().map_err(failed("find the directory of --dir"))?;
        let mut networks = Networks::open(&config.bridges, config.limits, &dir)?;
        networks.listen(&poller);
        let listed = config.bridges.iter().map(BridgeName::as_str);
        let host_networks = HostNetworks::new(&dir, listed);
        let jail = Jail::build(&config.jail, &config.tender, &dir)?;
        jail.log();
        let tender = config.tender.clone();
        let mut machines = Machines::new(tender, jail, networks, state, Rc::clone(&poller))
            .map_err(failed("make a pipe"))?;
        machines.adopt(Instant::now())?;
        machines.sweep();
        info!(tender = %config.tender.display(), "listening on {}", listener.path().display());
        manager::ready();
        Ok(Self {
            watchdog: Watchdog::new(),
            peers: Peers::new(Rc::clone(&poller), config.access),
            machines,
            host_networks,
            offered: BTreeSet::new(),
            stop_machines: config.stop_machines,
            poller,
            listener: Some(listener),
            accept_from: None,
            signals,
            end_by: None,
            done: false,
        })
    }

    /// Whether everything is done.
    fn over(&self) -> Result<bool, Error> {
        let Some(end_by) = self.end_by else { return Ok(self.done) };
        match self.machines.running() {
            0 if self.machines.jail.is_clean() => Ok(true),
            // What is left of their cgroups is removed by the next one.
            0 => Ok(end_by <= Instant::now()),
            left if end_by <= Instant::now() => Err(Error::Survivors { left }),
            _ => Ok(false),
        }
    }

    fn turn(&mut self) -> Result<(), Error> {
        let deadlines = [
            self.accept_from,
            self.end_by,
            self.watchdog.deadline(),
            self.peers.deadline(),
            self.machines.deadline(),
            self.machines.jail.deadline(),
            self.machines.networks.deadline(),
            self.host_networks.deadline(),
        ];
        let next = deadlines.into_iter().flatten().min();
        let events = self.poller.wait(next).map_err(failed("wait for events"))?;
        let now = Instant::now();
        for event in events {
            self.handle(event, now);
        }
        self.peers.expire(now);
        self.machines.on_time(now, &mut self.peers);
        self.machines.jail.on_time(now);
        if self.machines.networks.on_time(now) {
            self.host_networks.hurry(now);
        }
        if self.host_networks.on_time(now) {
            self.tell_host_networks();
        }
        self.accept_again(now);
        self.watchdog.turned(now);
        Ok(())
    }

    fn handle(&mut self, event: Readiness, now: Instant) {
        match event.token {
            Token::Listener => self.accept(now),
            Token::Signals => self.on_signal(now),
            Token::Peer(number) => {
                if event.writable {
                    self.peers.flush(number);
                }
                if event.readable
                    && let Some(request) = self.peers.receive(number)
                {
                    self.perform(request, now);
                }
            }
            Token::Console(number) => self.machines.on_console(number, now),
            Token::Statuses => self.machines.on_statuses(&mut self.peers),
            Token::Rules => self.machines.networks.on_news(&self.poller, now),
            Token::Process(number) => self.machines.on_process(number, now, &mut self.peers),
        }
    }

    fn perform(&mut self, request: Request, now: Instant) {
        match request {
            Request::Joined(role) => self.welcome(role),
            Request::Order(Order::Start(start, image)) => {
                self.machines.start(now, &start, image, &mut self.peers);
            }
            Request::Order(Order::Stop(id, run, force)) => self.machines.stop(id, run, force),
            Request::Order(Order::EndSeen(id, run)) => {
                self.machines.end_seen(id, run, &mut self.peers);
            }
            Request::Order(Order::Forget(id)) => self.machines.forget(id, &mut self.peers),
            Request::Order(Order::HostNetworks(number, networks)) => {
                self.host_networks.tell(number, &networks, now);
                self.tell_host_networks();
            }
        }
    }

    /// Tells the supervisor what became of the host networks, on which machines may be put now.
    fn tell_host_networks(&mut self) {
        let there: BTreeSet<String> = self.host_networks.bridges().map(str::to_owned).collect();
        let networks = &mut self.machines.networks;
        for gone in self.offered.difference(&there) {
            networks.disallow(gone);
        }
        for name in &there {
            networks.allow(name);
        }
        networks.listen(&self.poller);
        self.offered = there;
        let message = self.host_networks.message(self.bridges());
        self.peers.tell(Role::Supervisor, message);
    }

    /// The bridges that machines may be put on.
    fn bridges(&self) -> Vec<String> {
        self.machines.networks.bridges().map(str::to_owned).collect()
    }

    fn welcome(&mut self, role: Role) {
        let (known, state) = match role {
            Role::Supervisor => self.machines.for_supervisor(),
            Role::Console => self.machines.for_console(),
        };
        let known = u32::try_from(known).unwrap_or(u32::MAX);
        let jail = self.machines.jail.missing().to_vec();
        let bridges = self.bridges();
        let welcome = FromSpawn::Welcome { version: VERSION, jail, bridges, known };
        let messages = iter::once(Message::from(welcome)).chain(state).collect();
        self.peers.answer_hello(role, messages);
    }

    fn accept(&mut self, now: Instant) {
        let Some(listener) = &self.listener else { return };
        match listener.accept() {
            Ok(Some((socket, who))) => self.peers.admit(socket, who, now),
            Ok(None) => {}
            Err(error) => {
                error!("cannot accept a connection: {error}; pausing");
                // The connection still waits: without a pause this would go round and round.
                match self.poller.forget(listener) {
                    Ok(()) => self.accept_from = Some(now + ACCEPT_PAUSE),
                    Err(error) => error!("cannot pause: {error}"),
                }
            }
        }
    }

    fn accept_again(&mut self, now: Instant) {
        if self.accept_from.is_none_or(|from| now < from) {
            return;
        }
        self.accept_from = None;
        let Some(listener) = &self.listener else { return };
        if let Err(error) = self.poller.watch(listener, Token::Listener) {
            error!("cannot listen again: {error}; trying later");
            self.accept_from = Some(now + ACCEPT_PAUSE);
        }
    }

    fn on_signal(&mut self, now: Instant) {
        match read(&self.signals, &mut [0; 16]) {
            Ok(_) => {}
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(error) => error!("cannot tell which signal came, so it is taken for one: {error}"),
        }
        if self.end_by.is_some() || self.done {
            return;
        }
        if !self.stop_machines {
            info!("told to end: {} machines run on", self.machines.running());
            manager::stopping("ending; machines run on");
            self.done = true;
            return;
        }
        info!("told to end: {} machines are ended first", self.machines.running());
        manager::stopping("ending machines");
        self.end_by = Some(now + END_TIMEOUT);
        self.listener = None;
        self.machines.end_all();
    }
}

/// A running machine takes five descriptors here, so that the usual soft limit of 1024 would be
/// the end at 200 of them.
fn allow_many_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!("the limit of open descriptors cannot be raised: {error}");
    }
}
