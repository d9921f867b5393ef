//! Performing effects.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use vmm_engine::{Effect, Engine, Interface, Record, Refusal, Spec, Token};
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::{self, Start, ToSpawn};
use vmm_proto::resource::Arguments;

use super::{Core, Delivery, Requester, Settled};
use crate::images::Images;
use crate::links::log::{Entry, Recorder};
use crate::links::spawn::SpawnLink;
use crate::links::stats::StatsLink;
use crate::{failpoint, records};

/// What effects are performed with.
pub(crate) struct Deeds {
    pub(crate) images: Images,
    pub(crate) spawn: SpawnLink,
    pub(crate) stats: StatsLink,
    pub(crate) recorder: Recorder,
}

/// A request that is not answered yet.
struct Pending {
    by: Arc<Requester>,
    answer: oneshot::Sender<Delivery>,
}

/// Performs effects, for those who wait for them.
pub(super) struct Performer {
    core: Core,
    pending: HashMap<Token, Pending>,
    watchers: HashMap<MachineId, Vec<oneshot::Sender<Settled>>>,
    deeds: Deeds,
    /// What waits until the journal can be written again.
    deferred: Vec<Effect>,
}

impl Performer {
    pub(super) fn new(core: Core, deeds: Deeds) -> Self {
        let (pending, watchers) = (HashMap::new(), HashMap::new());
        Self { core, pending, watchers, deeds, deferred: Vec::new() }
    }

    /// This request will be answered.
    pub(super) fn expect(
        &mut self,
        token: Token,
        by: Arc<Requester>,
        answer: oneshot::Sender<Delivery>,
    ) {
        self.pending.insert(token, Pending { by, answer });
    }

    /// A record as an entry of the log, unless it is one refusal too many.
    pub(super) fn entry(&self, record: &Record) -> Option<Entry> {
        let by = records::cause(record).and_then(|token| self.pending.get(&token));
        let entry = records::entry(record, by.map(|pending| &*pending.by));
        self.deeds.recorder.admits(&entry).then_some(entry)
    }

    /// Answers a request, if it is not answered yet, with what could not be made durable.
    pub(super) fn refuse(&mut self, token: Token, reason: String) {
        self.perform(Effect::Reply { token, answer: Err(Refusal::NotKept { reason }) });
    }

    /// Takes an effect of an event whose changes could not be made durable: nothing is granted on
    /// the strength of them, and nothing that runs is touched. The changes themselves stay in
    /// force, and are written with the next.
    pub(super) fn undo(&mut self, effect: Effect, reason: &str) {
        match effect {
            Effect::Reply { token, answer: Ok(answer) } => {
                // What it hands out goes back.
                drop(Delivery { answer: Some(Ok(answer)), core: self.core.clone() });
                self.refuse(token, reason.to_owned());
            }
            Effect::StartMachine { id, run, .. } => {
                self.deeds.spawn.fail(id, run, reason.to_owned());
            }
            // A new process would go by what is durable, and miss these.
            Effect::StopMachine { force: false, .. }
            | Effect::ForgetMachine { .. }
            | Effect::HostNetworks { .. }
            | Effect::DropImage { .. } => self.deferred.push(effect),
            effect => self.perform(effect),
        }
    }

    /// Performs what had to wait until the journal could be written again.
    pub(super) fn perform_deferred(&mut self) {
        for effect in std::mem::take(&mut self.deferred) {
            self.perform(effect);
        }
    }

    /// Whether a run is to be asked to stop when the journal can be written again.
    fn stop_is_deferred(&self, machine: MachineId, start: u64) -> bool {
        let waits = |effect: &Effect| matches!(effect, Effect::StopMachine { id, run, .. } if (*id, *run) == (machine, start));
        self.deferred.iter().any(waits)
    }

    pub(super) fn watch(
        &mut self,
        engine: &Engine,
        id: MachineId,
        settled: oneshot::Sender<Settled>,
    ) {
        match engine.by_id(id) {
            Some(view) if view.state.is_live() => {
                let watchers = self.watchers.entry(id).or_default();
                // Attachments come and go while a machine runs on.
                watchers.retain(|watcher| !watcher.is_closed());
                watchers.push(settled);
            }
            Some(view) => {
                // Whoever asked may have gone.
                let _gone = settled.send(Settled { output_end: view.output_end });
            }
            // Dropping the sender says that there is no such machine.
            None => {}
        }
    }

    pub(super) fn perform(&mut self, effect: Effect) {
        if !matches!(effect, Effect::Keep(_) | Effect::Record(_)) {
            failpoint::boundary();
        }
        match effect {
            // Gathered when the event was taken.
            Effect::Keep(_) | Effect::Record(_) => {}
            Effect::StartMachine { id, run, spec, interfaces, arguments, .. } => {
                self.start((id, run), &spec, &interfaces, &arguments);
            }
            Effect::Joined => self.deeds.spawn.joined(),
            Effect::HostNetworks { number, networks } => {
                // What waits is older, and would take this back.
                self.deferred.retain(|effect| !matches!(effect, Effect::HostNetworks { .. }));
                let networks = networks.iter().map(Into::into).collect();
                self.deeds.spawn.tell(ToSpawn::HostNetworks { number, networks }, None);
            }
            // It was not even asked yet.
            Effect::StopMachine { id, run, force: true } if self.stop_is_deferred(id, run) => {
                self.deferred.push(effect);
            }
            Effect::StopMachine { id, run, force } => {
                self.deeds.spawn.tell(ToSpawn::Stop { id, run, force }, None);
            }
            Effect::ForgetMachine { id } => {
                self.watchers.remove(&id);
                self.deeds.spawn.tell(ToSpawn::Forget { id }, None);
                self.deeds.stats.forget(id);
            }
            Effect::JudgeSessions => self.core.revoked.send_modify(|count| *count += 1),
            Effect::DropImage { image } => self.deeds.images.remove(image),
            Effect::Settled { id, output_end } => {
                for watcher in self.watchers.remove(&id).unwrap_or_default() {
                    // Whoever watched may have gone.
                    let _gone = watcher.send(Settled { output_end });
                }
            }
            Effect::Reply { token, answer } => {
                if let Some(pending) = self.pending.remove(&token) {
                    let delivery = Delivery { answer: Some(answer), core: self.core.clone() };
                    // Whoever asked may have gone: then the delivery undoes itself.
                    let _gone = pending.answer.send(delivery);
                }
            }
        }
    }

    fn start(
        &self,
        (id, run): (MachineId, u64),
        spec: &Spec,
        interfaces: &[Interface],
        arguments: &Arguments,
    ) {
        let start = Start {
            id,
            run,
            memory_mib: spec.memory_mib,
            cpus: spec.cpus.ids().to_vec(),
            arguments: arguments.words().to_vec(),
            networks: interfaces.iter().map(to_wire).collect(),
        };
        match self.deeds.images.read_for(spec) {
            Ok(image) => self.deeds.spawn.tell(ToSpawn::Start(start), Some(image.into())),
            Err(error) => {
                self.deeds.spawn.fail(id, run, format!("its image cannot be read: {error}"));
            }
        }
    }
}

/// An interface as vmm-spawn is told of it.
fn to_wire(interface: &Interface) -> spawn::Interface {
    let Interface { device, bridge, mac, address, address6, group } = interface;
    spawn::Interface {
        device: device.to_string(),
        bridge: bridge.to_string(),
        mac: *mac,
        address: address.map(|(address, _)| address),
        address6: address6.map(|(address, _)| address),
        group: *group,
    }
}

#[cfg(test)]
mod tests {
    use vmm_proto::resource::{BridgeName, HostNetwork};

    use super::*;
    use crate::links::log::Outbox;
    use crate::links::spawn::told;

    #[tokio::test]
    async fn host_networks_that_had_to_wait_do_not_overtake_newer_ones() {
        let dir = tempfile::tempdir().unwrap();
        let (core, _inbox) = super::super::new();
        let (spawn, mut out) = SpawnLink::new(core.clone(), Vec::new());
        spawn.set_jail(Some(Vec::new()));
        let deeds = Deeds {
            images: Images::open(dir.path(), &[]).unwrap(),
            spawn,
            stats: StatsLink::new().0,
            recorder: Recorder::new(core.clone(), Outbox::new(Vec::new())),
        };
        let mut performer = Performer::new(core, deeds);
        let name = BridgeName::parse("nat0").unwrap();
        let network = HostNetwork::new(name, [10, 0, 0, 1].into(), 24, None).unwrap();
        let wanted = |number, networks| Effect::HostNetworks { number, networks };
        performer.undo(wanted(1, Vec::new()), "the disk is full");
        performer.undo(wanted(2, vec![network.clone()]), "the disk is full");
        assert_eq!(told(&mut out), [], "nothing of it is durable");
        performer.perform(wanted(3, vec![network.clone()]));
        performer.perform_deferred();
        let networks = vec![(&network).into()];
        assert_eq!(told(&mut out), [ToSpawn::HostNetworks { number: 3, networks }]);
    }
}
