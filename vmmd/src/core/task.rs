//! The one task that owns the engine: it takes events and questions in turn, and performs the
//! effects.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use vmm_engine::{Effect, Engine, Event, Spec, Token};
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::{Start, ToSpawn};

use super::{Ask, Core, Delivery, Inbox, Requester, Settled};
use crate::images::Images;
use crate::links::log::Recorder;
use crate::links::spawn::SpawnLink;
use crate::links::stats::StatsLink;
use crate::{clock, records};

/// What the core performs effects with.
pub(crate) struct Deeds {
    pub(crate) images: Images,
    pub(crate) spawn: SpawnLink,
    pub(crate) stats: StatsLink,
    pub(crate) recorder: Recorder,
}

/// Runs the core until every [`Core`] is gone.
pub(crate) async fn run(core: Core, mut engine: Engine, mut inbox: Inbox, deeds: Deeds) {
    let mut task =
        Task { core, pending: HashMap::new(), watchers: HashMap::new(), deeds, tokens: 0 };
    loop {
        let due = engine.next_wake().map(clock::instant_of);
        // However much is asked, nobody's timer waits for it.
        if due.is_some_and(|due| due <= tokio::time::Instant::now()) {
            task.take(&mut engine, Ask::Notice(Box::new(Event::Tick)));
        }
        let ask = tokio::select! {
            biased;
            notice = inbox.notices.recv() => notice,
            request = inbox.requests.recv() => request,
            () = sleep_until(due) => Some(Ask::Notice(Box::new(Event::Tick))),
        };
        let Some(ask) = ask else { return };
        task.take(&mut engine, ask);
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

struct Task {
    core: Core,
    pending: HashMap<Token, Pending>,
    watchers: HashMap<MachineId, Vec<oneshot::Sender<Settled>>>,
    deeds: Deeds,
    tokens: u64,
}

impl Task {
    fn take(&mut self, engine: &mut Engine, ask: Ask) {
        match ask {
            Ask::Notice(event) => self.handle(engine, *event),
            Ask::Look(question) => question(engine),
            Ask::Watch { id, settled } => self.watch(engine, id, settled),
            Ask::Request { make, by, answer } => {
                self.tokens += 1;
                let token = Token(self.tokens);
                self.pending.insert(token, Pending { by, answer });
                self.handle(engine, make(token));
            }
        }
    }

    fn handle(&mut self, engine: &mut Engine, event: Event) {
        for effect in engine.handle(clock::now(), event) {
            self.perform(effect);
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
            Effect::StartMachine { id, spec, .. } => self.start(id, &spec),
            Effect::StopMachine { id, force } => {
                self.deeds.spawn.tell(ToSpawn::Stop { id, force }, None);
            }
            Effect::ForgetMachine { id } => {
                self.watchers.remove(&id);
                self.deeds.spawn.tell(ToSpawn::Forget { id }, None);
                self.deeds.stats.forget(id);
            }
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

    fn start(&self, id: MachineId, spec: &Spec) {
        let start = Start {
            id,
            memory_mib: spec.memory_mib,
            cpus: spec.cpus.ids().to_vec(),
            arguments: spec.arguments.words().to_vec(),
        };
        match self.deeds.images.read(spec.image) {
            Ok(image) => self.deeds.spawn.tell(ToSpawn::Start(start), Some(image.into())),
            Err(error) => self.deeds.spawn.fail(id, format!("its image cannot be read: {error}")),
        }
    }
}
