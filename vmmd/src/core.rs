//! The one task that owns the engine: it takes events and questions in turn, and performs the
//! effects.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};
use vmm_engine::{Answer, Effect, Engine, Event, ImageId, Refusal, Spec, Token};
use vmm_proto::id::MachineId;
use vmm_proto::message::client::{Error, ErrorCode};
use vmm_proto::message::spawn::{Start, ToSpawn};

use crate::clock;
use crate::images::Images;
use crate::links::log::Recorder;
use crate::links::spawn::SpawnLink;
use crate::links::stats::StatsLink;
use crate::records;
use crate::session::Failure;

/// Requests that wait for the engine. Past that, new ones are refused.
const QUEUE: usize = 1024;

/// A question to the engine.
type Question = Box<dyn FnOnce(&Engine) + Send>;

/// What the core is asked.
enum Ask {
    /// A request with an answer.
    Request {
        make: Box<dyn FnOnce(Token) -> Event + Send>,
        by: Arc<str>,
        answer: oneshot::Sender<Result<Answer, Refusal>>,
    },
    /// Something that happened.
    Notice(Box<Event>),
    /// A look at the state.
    Look(Question),
    /// Word when a machine has settled.
    Watch { id: MachineId, settled: oneshot::Sender<Settled> },
}

/// A machine that will write no more unless somebody starts it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// How many bytes it has written in all.
    pub(crate) output_end: u64,
}

/// The way to the core.
#[derive(Clone)]
pub(crate) struct Core {
    requests: mpsc::Sender<Ask>,
    /// Facts are never refused: there are as many as machines and sessions can cause.
    notices: mpsc::UnboundedSender<Ask>,
    images: Arc<AtomicU64>,
}

/// What the core performs effects with.
pub(crate) struct Deeds {
    pub(crate) images: Images,
    pub(crate) spawn: SpawnLink,
    pub(crate) stats: StatsLink,
    pub(crate) recorder: Recorder,
}

/// The receiving ends, for [`run`].
pub(crate) struct Inbox {
    requests: mpsc::Receiver<Ask>,
    notices: mpsc::UnboundedReceiver<Ask>,
}

/// A new core, not yet running.
pub(crate) fn new() -> (Core, Inbox) {
    let (requests, requests_in) = mpsc::channel(QUEUE);
    let (notices, notices_in) = mpsc::unbounded_channel();
    let core = Core { requests, notices, images: Arc::new(AtomicU64::new(1)) };
    (core, Inbox { requests: requests_in, notices: notices_in })
}

fn gone() -> Error {
    Error::new(ErrorCode::Internal, "the supervisor is shutting down")
}

impl Core {
    /// Asks for something on behalf of `by`, and waits for what became of it.
    ///
    /// # Errors
    /// The engine's refusal, or that too much waits already.
    pub(crate) async fn request(
        &self,
        by: &Arc<str>,
        make: impl FnOnce(Token) -> Event + Send + 'static,
    ) -> Result<Answer, Failure> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Request { make: Box::new(make), by: Arc::clone(by), answer };
        self.offer(ask)?;
        let answer = answered.await.map_err(|_| gone())?;
        // The engine has its refusals recorded itself.
        answer.map_err(|refusal| Failure { error: records::error(&refusal), recorded: true })
    }

    /// Looks at the state.
    ///
    /// # Errors
    /// That too much waits already.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.offer(Ask::Look(Box::new(move |engine| {
            // Whoever asked may have gone.
            let _gone = answer.send(question(engine));
        })))?;
        answered.await.map_err(|_| gone())
    }

    /// Word when a machine has settled; at once when it has.
    ///
    /// # Errors
    /// That too much waits already.
    pub(crate) fn watch(&self, id: MachineId) -> Result<oneshot::Receiver<Settled>, Error> {
        let (settled, word) = oneshot::channel();
        self.offer(Ask::Watch { id, settled })?;
        Ok(word)
    }

    fn offer(&self, ask: Ask) -> Result<(), Error> {
        self.requests.try_send(ask).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Error::new(ErrorCode::Busy, "too many requests wait on this host; try again")
            }
            mpsc::error::TrySendError::Closed(_) => gone(),
        })
    }

    /// Tells of something that happened.
    pub(crate) fn notice(&self, event: Event) {
        if self.notices.send(Ask::Notice(Box::new(event))).is_err() {
            tracing::debug!("an event came after the end");
        }
    }

    /// A number for an image that was never used before.
    pub(crate) fn fresh_image(&self) -> ImageId {
        ImageId(self.images.fetch_add(1, Ordering::Relaxed))
    }
}

/// Runs the core until every [`Core`] is gone.
pub(crate) async fn run(mut engine: Engine, mut inbox: Inbox, deeds: Deeds) {
    let mut task = Task { pending: HashMap::new(), watchers: HashMap::new(), deeds, tokens: 0 };
    loop {
        let due = engine.next_wake().map(clock::instant_of);
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
    by: Arc<str>,
    answer: oneshot::Sender<Result<Answer, Refusal>>,
}

struct Task {
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
                    // Whoever asked may have gone.
                    let _gone = pending.answer.send(answer);
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
