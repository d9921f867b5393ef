//! The engine: what it keeps, and which part of it takes which event.
//!
//! [`crate::admission`] decides what may run, [`crate::power`] takes the requests about machines
//! that exist, [`crate::lifecycle`] and [`crate::ending`] what becomes of their processes, and
//! [`crate::show`] looks at it all.

use std::collections::{BTreeSet, HashSet};

use vmm_proto::authority::Link;
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::name::MachineName;
use vmm_proto::revocation::Revocations;

use crate::admission::{Newcomer, Order};
use crate::boot::Boot;
use crate::bounds::Claim;
use crate::delegations::{Delegations, Renewal};
use crate::doors::Doors;
use crate::effect::{Answer, Effect};
use crate::ended::Ended;
use crate::event::{Chain, Event, HostLimits, Now, Token};
use crate::expiry::OnExpiry;
use crate::host_networks::HostNetworks;
use crate::images::{Content, Images};
use crate::keep::Restored;
use crate::ledger::Ledger;
use crate::machine::Machine;
use crate::machines::Machines;
use crate::names::Names;
use crate::networks::Networks;
use crate::record::{Record, What};
use crate::refusal::Refusal;

/// All machines of a host, and all that decides about them.
#[derive(Debug)]
pub struct Engine {
    pub(crate) host: HostLimits,
    pub(crate) delegations: Delegations,
    pub(crate) revocations: Revocations,
    pub(crate) ledger: Ledger,
    pub(crate) images: Images,
    pub(crate) machines: Machines,
    /// The names of listed machines.
    pub(crate) names: Names,
    pub(crate) networks: Networks,
    /// The private networks of the host.
    pub(crate) host_networks: HostNetworks,
    /// Machines that wait to take the place of listed ones.
    pub(crate) successors: HashSet<MachineId>,
    /// Machines whose successors are on probation.
    pub(crate) formers: HashSet<MachineId>,
    /// When which machine's probation is over, by the monotonic clock.
    pub(crate) probations: BTreeSet<(u64, MachineId)>,
    pub(crate) ended: Ended,
    /// Which machine has to be looked at when.
    pub(crate) timers: BTreeSet<(u64, MachineId)>,
    pub(crate) on_expiry: OnExpiry,
    /// At which Unix second which machine's authority has to be looked at.
    pub(crate) expiries: BTreeSet<(i64, MachineId)>,
    /// Whether vmm-spawn is there, and has said what it knows.
    pub(crate) joined: bool,
    /// What should run and waits for its turn.
    pub(crate) boot: Boot,
    /// Whether new machines are taken, and who waits for there to be none.
    pub(crate) doors: Doors,
    /// What was restored and not looked at yet, as the time was not known.
    pub(crate) restored: Vec<Restored>,
    /// The time of the last event.
    pub(crate) latest: Now,
}

/// One event while it is being taken: its time, and what is to be done about it so far.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) now: Now,
    pub(crate) effects: Vec<Effect>,
}

impl Turn {
    pub(crate) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Has machines started before others are forgotten: somebody waits for the one, and nobody for
    /// the other.
    fn start_first(&mut self) {
        if self.effects.iter().any(|effect| matches!(effect, Effect::StartMachine { .. })) {
            self.effects.sort_by_key(|effect| matches!(effect, Effect::ForgetMachine { .. }));
        }
    }

    pub(crate) fn reply(&mut self, token: Token, answer: Result<Answer, Refusal>) {
        self.push(Effect::Reply { token, answer });
    }

    /// Records what happened to a listed machine.
    pub(crate) fn record(&mut self, machine: &Machine, cause: Option<Token>, what: What) {
        let (name, id) = (machine.name.clone(), Some(machine.id));
        self.push(Effect::Record(Record::Machine { name, id, cause, what }));
    }

    /// Answers a request with a refusal, and records it.
    pub(crate) fn refuse(
        &mut self,
        token: Token,
        name: MachineName,
        id: Option<MachineId>,
        refusal: Refusal,
    ) {
        let what = What::Refused { code: refusal.code(), message: refusal.summary() };
        self.push(Effect::Record(Record::Machine { name, id, cause: Some(token), what }));
        self.reply(token, Err(refusal));
    }
}

impl Engine {
    /// An engine for a host with these limits. `root` is the SHA-256 of the root certificate's
    /// SubjectPublicKeyInfo: the issuer of the outermost delegations, from which the engine finds
    /// its way down to those that are remembered.
    pub fn new(host: HostLimits, root: Digest) -> Self {
        Self {
            host,
            delegations: Delegations::new(root),
            revocations: Revocations::default(),
            ledger: Ledger::default(),
            images: Images::default(),
            machines: Machines::default(),
            names: Names::default(),
            networks: Networks::default(),
            host_networks: HostNetworks::default(),
            successors: HashSet::new(),
            formers: HashSet::new(),
            probations: BTreeSet::new(),
            ended: Ended::default(),
            timers: BTreeSet::new(),
            on_expiry: OnExpiry::default(),
            expiries: BTreeSet::new(),
            joined: false,
            boot: Boot::default(),
            doors: Doors::default(),
            restored: Vec::new(),
            latest: Now::default(),
        }
    }

    /// Takes an event and returns what is to be done about it, in order.
    ///
    /// No event is out of order: what names a machine, an image or a state of things that is not
    /// (any more) is refused if it is a request, and otherwise changes nothing.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Effect> {
        self.latest = now;
        let mut turn = Turn { now, effects: Vec::new() };
        self.look_at_restored(&turn);
        self.take(&mut turn, event);
        self.start_queued(&mut turn);
        self.tell_who_waits(&mut turn);
        turn.start_first();
        self.keep_changes(&mut turn);
        turn.effects
    }

    fn take(&mut self, turn: &mut Turn, event: Event) {
        match event {
            Event::Presented { token, chain } => {
                let answer = self.present(turn, &chain).map(|()| Answer::Accepted);
                turn.reply(token, answer);
            }
            Event::OfferImage { token, fresh, sha256, size, name, need, chain, replace } => {
                let content = Content { path: name.path.clone(), sha256, size };
                let claim = Claim::from(&need);
                let order = Order { name: &name, claim, links: &chain.links, replace };
                self.offer_image(turn, token, fresh, content, order, &chain);
            }
            Event::UploadEnded { image, stored } => self.upload_ended(turn, image, stored),
            Event::UploadBroke { image } => self.upload_broke(turn, image),
            Event::ReleaseImage { image } => {
                let unneeded = self.images.release(image);
                turn.effects.extend(unneeded.map(|image| Effect::DropImage { image }));
            }
            Event::Deploy { token, id, name, spec, chain, replace, probation_ms } => {
                let newcomer = Newcomer { id, name, spec, probation_ms };
                self.deploy(turn, token, newcomer, &chain, replace);
            }
            Event::Started { id, run, pid } => self.started(turn, id, run, pid),
            Event::StartFailed { id, run, reason, jitter } => {
                self.start_failed(turn, id, run, reason, jitter);
            }
            Event::Exited { id, run, exit, output_end, spent, jitter } => {
                self.exited(turn, id, run, (exit, output_end, spent), jitter);
            }
            Event::Stop { token, name, timeout_ms } => self.stop(turn, token, name, timeout_ms),
            Event::Start { token, name, own } => self.start(turn, token, name, &own),
            Event::Restart { token, name, timeout_ms, own } => {
                self.restart(turn, token, name, timeout_ms, &own);
            }
            Event::Destroy { token, name } => self.destroy(turn, token, name),
            Event::Revoke { token, list } => self.revoke(turn, token, &list),
            Event::SpawnKnows { same_boot, known, jitter } => {
                self.spawn_knows(turn, same_boot, known, jitter);
            }
            Event::BridgesOffered { mut bridges } => {
                bridges.extend(self.host_networks.bridges());
                self.networks.offered = Some(bridges);
            }
            Event::AddNetwork { token, network } => self.add_network(turn, token, network),
            Event::RemoveNetwork { token, name } => self.remove_network(turn, token, &name),
            Event::NetworksAre { number, states } => self.networks_are(turn, number, &states),
            Event::SpawnLost => self.spawn_lost(turn),
            Event::Drain { token, on } => self.drain(turn, token, on),
            Event::AwaitDrained { token } => self.await_drained(turn, token),
            Event::StopAll { token } => self.stop_all(turn, token),
            Event::Tick => {
                self.tick(turn);
                self.probation_tick(turn);
                self.expiry_tick(turn);
                self.images_tick(turn);
            }
        }
    }

    /// When [`Event::Tick`] is due, in milliseconds of the monotonic clock.
    pub fn next_wake(&self) -> Option<u64> {
        if !self.restored.is_empty() {
            return Some(0);
        }
        let due = self.timers.first().map(|(due_ms, _)| *due_ms);
        let probation = self.probations.first().map(|(due_ms, _)| *due_ms);
        let times = due.into_iter().chain(probation);
        times.chain(self.next_expiry_wake()).chain(self.images.next_due()).min()
    }

    /// Judges and remembers a chain, and does what a new bound asks for at once.
    pub(crate) fn present(&mut self, turn: &mut Turn, chain: &Chain) -> Result<(), Refusal> {
        self.not_revoked(&chain.links, chain.leaf.as_ref())?;
        let mut renewals = Vec::new();
        let revocations = &self.revocations;
        let is_revoked = |link: &Link| revocations.holds(&link.issuer, &link.serial);
        let verdict = self.delegations.present(turn.now, &chain.links, &is_revoked, &mut renewals);
        for Renewal { path, before, link, other_bridges } in renewals {
            if other_bridges {
                self.note_overlaps(turn, &path, &link);
            }
            let Some(before) = before else { continue };
            let generation = link.grant.generation;
            if generation > before {
                let path = path.clone();
                turn.push(Effect::Record(Record::Renewed { path, before, generation }));
            }
            self.push_out(turn, &path, link.grant.machines.into());
            self.watch_expiry_below(turn.now.unix_s(), &path);
        }
        verdict
    }

    /// The listed machine of that name.
    pub(crate) fn listed(&self, name: &MachineName) -> Option<&Machine> {
        self.machines.get(self.names.get(name)?)
    }

    /// Lists a machine under its name.
    pub(crate) fn enlist(&mut self, machine: Machine) {
        self.names.insert(machine.name.clone(), machine.id);
        self.machines.insert(machine);
    }

    /// Sets or clears the one timer of a machine.
    pub(crate) fn set_timer(&mut self, id: MachineId, due_ms: Option<u64>) {
        let Some(machine) = self.machines.note(id) else { return };
        if let Some(old) = std::mem::replace(&mut machine.due_ms, due_ms) {
            self.timers.remove(&(old, id));
        }
        self.timers.extend(due_ms.map(|due_ms| (due_ms, id)));
    }
    /// Has the ledger hold what a listed machine needs now.
    pub(crate) fn hold(&mut self, id: MachineId) {
        let Some(machine) = self.machines.note(id) else { return };
        let needs = machine.needs();
        self.ledger.exchange(&machine.name.path, machine.held, needs);
        machine.held = needs;
    }
}
