//! The one task that owns the engine: it takes events and questions in turn, and performs the
//! effects, when what they rest upon is durable.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::oneshot;
use vmm_engine::{Effect, Engine, Event, Keep, Refusal, Slot, Spec, Token};
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::{Start, ToSpawn};

use super::{Ask, Core, Delivery, Inbox, Question, Requester, Settled};
use crate::images::Images;
use crate::journal::Journal;
use crate::links::log::Recorder;
use crate::links::spawn::SpawnLink;
use crate::links::stats::StatsLink;
use crate::{clock, records};

/// Events that are taken together: what they change becomes durable at once.
const BATCH: usize = 64;

/// What the core performs effects with.
pub(crate) struct Deeds {
    pub(crate) journal: Journal,
    pub(crate) images: Images,
    pub(crate) spawn: SpawnLink,
    pub(crate) stats: StatsLink,
    pub(crate) recorder: Recorder,
}

/// Runs the core until every [`Core`] is gone.
pub(crate) async fn run(core: Core, mut engine: Engine, mut inbox: Inbox, deeds: Deeds) {
    let mut task = Task {
        core,
        pending: HashMap::new(),
        watchers: HashMap::new(),
        deeds,
        tokens: 0,
        unkept: BTreeMap::new(),
    };
    loop {
        let due = engine.next_wake().map(clock::instant_of);
        let mut steps = Vec::new();
        // However much is asked, nobody's timer waits for it.
        if due.is_some_and(|due| due <= tokio::time::Instant::now()) {
            steps.push(task.take(&mut engine, Ask::Notice(Box::new(Event::Tick))));
        } else {
            let ask = tokio::select! {
                biased;
                notice = inbox.notices.recv() => notice,
                request = inbox.requests.recv() => request,
                () = sleep_until(due) => Some(Ask::Notice(Box::new(Event::Tick))),
            };
            let Some(ask) = ask else { return };
            steps.push(task.take(&mut engine, ask));
        }
        while steps.len() < BATCH {
            let next = inbox.notices.try_recv().or_else(|_| inbox.requests.try_recv());
            let Ok(ask) = next else { break };
            steps.push(task.take(&mut engine, ask));
        }
        task.perform_all(&engine, steps).await;
    }
}

async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// A request that is not answered yet.
struct Pending {
    by: Arc<Requester>,
    answer: oneshot::Sender<Delivery>,
}

/// What is to be done about one ask, when what it changed is durable.
enum Step {
    Effects(Vec<Effect>),
    Look(Question),
    Watch { id: MachineId, settled: oneshot::Sender<Settled> },
}

struct Task {
    core: Core,
    pending: HashMap<Token, Pending>,
    watchers: HashMap<MachineId, Vec<oneshot::Sender<Settled>>>,
    deeds: Deeds,
    tokens: u64,
    /// What should be durable and is not, since the journal could not be written.
    unkept: BTreeMap<Slot, Keep>,
}

impl Task {
    fn take(&mut self, engine: &mut Engine, ask: Ask) -> Step {
        match ask {
            Ask::Notice(event) => Step::Effects(engine.handle(clock::now(), *event)),
            Ask::Look(question) => Step::Look(question),
            Ask::Watch { id, settled } => Step::Watch { id, settled },
            Ask::Request { make, by, answer } => {
                self.tokens += 1;
                let token = Token(self.tokens);
                self.pending.insert(token, Pending { by, answer });
                Step::Effects(engine.handle(clock::now(), make(token)))
            }
        }
    }

    /// Makes durable what is to be kept, and then does everything else, in order.
    async fn perform_all(&mut self, engine: &Engine, steps: Vec<Step>) {
        for step in &steps {
            let Step::Effects(effects) = step else { continue };
            for effect in effects {
                if let Effect::Keep(keep) = effect {
                    self.unkept.insert(keep.slot(), keep.clone());
                }
            }
        }
        let kept = self.keep().await;
        for step in steps {
            match step {
                Step::Look(question) => question(engine),
                Step::Watch { id, settled } => self.watch(engine, id, settled),
                Step::Effects(effects) => {
                    let changed = effects.iter().any(|effect| matches!(effect, Effect::Keep(_)));
                    for effect in effects {
                        match &kept {
                            Err(reason) if changed => self.undo(effect, reason),
                            _ => self.perform(effect),
                        }
                    }
                }
            }
        }
    }

    /// Makes durable what is not yet.
    async fn keep(&mut self) -> Result<(), String> {
        if self.unkept.is_empty() {
            return Ok(());
        }
        let journal = self.deeds.journal.clone();
        let changes: Vec<Keep> = self.unkept.values().cloned().collect();
        let written = tokio::task::spawn_blocking(move || journal.commit(&changes)).await;
        match written.map_err(anyhow::Error::from).flatten() {
            Ok(()) => {
                self.unkept.clear();
                Ok(())
            }
            Err(error) => {
                tracing::error!("{error:#}");
                Err(format!("{error:#}"))
            }
        }
    }

    /// Takes an effect of an event whose changes could not be made durable: nothing is granted on
    /// the strength of them. The changes themselves stay in force, and are written with the next.
    fn undo(&mut self, effect: Effect, reason: &str) {
        match effect {
            Effect::Reply { token, answer: Ok(answer) } => {
                // What it hands out goes back.
                drop(Delivery { answer: Some(Ok(answer)), core: self.core.clone() });
                let refusal = Refusal::NotKept { reason: reason.to_owned() };
                self.perform(Effect::Reply { token, answer: Err(refusal) });
            }
            Effect::StartMachine { id, run, .. } => {
                self.deeds.spawn.fail(id, run, reason.to_owned());
            }
            effect => self.perform(effect),
        }
    }

    fn watch(&mut self, engine: &Engine, id: MachineId, settled: oneshot::Sender<Settled>) {
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

    fn perform(&mut self, effect: Effect) {
        match effect {
            // Done already, before any other.
            Effect::Keep(_) => {}
            Effect::StartMachine { id, run, spec, .. } => self.start(id, run, &spec),
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
            Effect::Record(record) => {
                let by = records::cause(&record)
                    .and_then(|token| self.pending.get(&token))
                    .map(|pending| Arc::clone(&pending.by));
                self.deeds.recorder.record(records::entry(&record, by.as_deref()));
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

    fn start(&self, id: MachineId, run: u64, spec: &Spec) {
        let start = Start {
            id,
            run,
            memory_mib: spec.memory_mib,
            cpus: spec.cpus.ids().to_vec(),
            arguments: spec.arguments.words().to_vec(),
        };
        match self.deeds.images.read(spec.image) {
            Ok(image) => self.deeds.spawn.tell(ToSpawn::Start(start), Some(image.into())),
            Err(error) => {
                self.deeds.spawn.fail(id, run, format!("its image cannot be read: {error}"));
            }
        }
    }
}
