//! The way to the engine: requests, questions, and word of what happened.
//!
//! The engine itself is owned by one task, [`task`], which takes these in turn: [`keeper`] makes
//! durable what has to be, [`perform`] does what the engine wants done.

mod keeper;
pub(crate) mod perform;
pub(crate) mod task;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use vmm_engine::{Answer, Engine, Event, Refusal, Token};
use vmm_proto::authority::Authorization;
use vmm_proto::id::MachineId;
use vmm_proto::message::client::{Error, ErrorCode};
use vmm_proto::name::{Path, Target};
use vmm_proto::verb::Verb;

use self::keeper::Keeper;
use self::perform::{Deeds, Performer};
use self::task::{Boots, Task};
use crate::failure::Failure;
use crate::journal::{Journal, Numbering};
use crate::links::log::{Entry, Outbox};
use crate::records;

/// Requests that wait for the engine. Past that, new ones are refused.
const QUEUE: usize = 1024;

/// A question to the engine.
type Question = Box<dyn FnOnce(&Engine) + Send>;

/// What the core is asked.
enum Ask {
    /// A request with an answer.
    Request {
        make: Box<dyn FnOnce(Token) -> Event + Send>,
        by: Arc<Requester>,
        answer: oneshot::Sender<Delivery>,
    },
    /// Something that happened.
    Notice(Box<Event>),
    /// A look at the state.
    Look(Question),
    /// Word when a machine has settled.
    Watch { id: MachineId, settled: oneshot::Sender<Settled> },
    /// Something for the log.
    Record(Entry),
    /// The number of the last record, which is not to wait for others.
    Flush(oneshot::Sender<u64>),
}

/// Who asks: under which path, and by which name in the log.
#[derive(Debug)]
pub(crate) struct Requester {
    pub(crate) path: Path,
    pub(crate) who: Arc<str>,
    /// Whether it may list the machines below its path: if not, no refusal names them.
    pub(crate) lists: bool,
}

impl Requester {
    /// The holder of an authorization.
    pub(crate) fn of(authorization: &Authorization) -> Arc<Self> {
        let path = authorization.path().clone();
        let lists = authorization.may(Verb::Info, &Target::Below(path.clone())).is_ok();
        Arc::new(Self { path, who: authorization.describe().into(), lists })
    }

    /// The host itself, which `who` names in the log.
    pub(crate) fn host(who: String) -> Arc<Self> {
        Arc::new(Self { path: Path::host(), who: who.into(), lists: true })
    }

    /// What it is told of a refusal.
    pub(crate) fn told(&self, refusal: Refusal) -> Error {
        records::error(&if self.lists { refusal } else { refusal.without_names() })
    }
}

/// An answer on its way. An image that it hands out is given back when nobody takes it: whoever
/// asked has gone.
struct Delivery {
    answer: Option<Result<Answer, Refusal>>,
    core: Core,
}

impl Delivery {
    fn take(mut self) -> Option<Result<Answer, Refusal>> {
        self.answer.take()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        match self.answer.take() {
            Some(Ok(Answer::Have(image))) => self.core.notice(Event::ReleaseImage { image }),
            Some(Ok(Answer::Upload(image))) => {
                self.core.notice(Event::UploadEnded { image, stored: false });
                self.core.notice(Event::ReleaseImage { image });
            }
            _ => {}
        }
    }
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
    /// Counts what was revoked.
    revoked: watch::Sender<u64>,
}

/// The receiving ends, for [`task::run`].
pub(crate) struct Inbox {
    requests: mpsc::Receiver<Ask>,
    notices: mpsc::UnboundedReceiver<Ask>,
}

/// A new core, not yet running.
pub(crate) fn new() -> (Core, Inbox) {
    let (requests, requests_in) = mpsc::channel(QUEUE);
    let (notices, notices_in) = mpsc::unbounded_channel();
    let core = Core { requests, notices, revoked: watch::Sender::new(0) };
    (core, Inbox { requests: requests_in, notices: notices_in })
}

fn gone() -> Error {
    Error::new(ErrorCode::Internal, "the supervisor is shutting down")
}

/// A request, and what its answer comes through.
fn asking(
    by: &Arc<Requester>,
    make: impl FnOnce(Token) -> Event + Send + 'static,
) -> (Ask, oneshot::Receiver<Delivery>) {
    let (answer, answered) = oneshot::channel();
    (Ask::Request { make: Box::new(make), by: Arc::clone(by), answer }, answered)
}

async fn answer(by: &Requester, answered: oneshot::Receiver<Delivery>) -> Result<Answer, Failure> {
    let answer = answered.await.ok().and_then(Delivery::take).ok_or_else(gone)?;
    // The engine has its own refusals recorded itself.
    answer.map_err(|refusal| {
        let recorded = !matches!(refusal, Refusal::NotKept { .. });
        Failure { error: by.told(refusal), recorded }
    })
}

/// A question, and what its answer comes through.
fn looking<T: Send + 'static>(
    question: impl FnOnce(&Engine) -> T + Send + 'static,
) -> (Ask, oneshot::Receiver<T>) {
    let (answer, answered) = oneshot::channel();
    let question = move |engine: &Engine| {
        // Whoever asked may have gone.
        let _gone = answer.send(question(engine));
    };
    (Ask::Look(Box::new(question)), answered)
}

impl Core {
    /// Asks for something on behalf of `by`, and waits for what became of it.
    ///
    /// # Errors
    /// The engine's refusal, or that too much waits already.
    pub(crate) async fn request(
        &self,
        by: &Arc<Requester>,
        make: impl FnOnce(Token) -> Event + Send + 'static,
    ) -> Result<Answer, Failure> {
        let (ask, answered) = asking(by, make);
        self.offer(ask)?;
        answer(by, answered).await
    }

    /// As [`Core::request`], but waits its turn however much waits already: for those of whom there
    /// are few.
    ///
    /// # Errors
    /// The engine's refusal.
    pub(crate) async fn request_in_turn(
        &self,
        by: &Arc<Requester>,
        make: impl FnOnce(Token) -> Event + Send + 'static,
    ) -> Result<Answer, Failure> {
        let (ask, answered) = asking(by, make);
        self.requests.send(ask).await.map_err(|_| gone())?;
        answer(by, answered).await
    }

    /// Looks at the state.
    ///
    /// # Errors
    /// That too much waits already.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (ask, answered) = looking(question);
        self.offer(ask)?;
        answered.await.map_err(|_| gone())
    }

    /// As [`Core::look`], but waits its turn however much waits already: for those of whom there are
    /// few.
    ///
    /// # Errors
    /// That the supervisor ends.
    pub(crate) async fn look_in_turn<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (ask, answered) = looking(question);
        self.requests.send(ask).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }

    /// Waits until the core has taken a question: it does its work.
    pub(crate) async fn answers(&self) {
        const AGAIN: std::time::Duration = std::time::Duration::from_millis(20);
        while self.look(|_| ()).await.is_err() {
            tokio::time::sleep(AGAIN).await;
        }
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

    /// Has something recorded in the log.
    pub(crate) fn record(&self, entry: Entry) {
        if self.notices.send(Ask::Record(entry)).is_err() {
            tracing::debug!("an entry for the log came after the end");
        }
    }

    /// Has everything recorded so far made durable without waiting for more; returns the number of
    /// the last record, or `None` after the end.
    pub(crate) async fn flush(&self) -> Option<u64> {
        let (last, number) = oneshot::channel();
        self.notices.send(Ask::Flush(last)).ok()?;
        number.await.ok()
    }

    /// Runs the core, until every [`Core`] is gone.
    pub(crate) async fn run(
        self,
        engine: Engine,
        inbox: Inbox,
        (journal, numbering): (Journal, Numbering),
        outbox: Outbox,
        deeds: Deeds,
        boots: Boots,
    ) {
        let keeper = Keeper::new(journal, numbering, outbox, deeds.spawn.clone());
        task::run(engine, inbox, Task::new(keeper, Performer::new(self, deeds), boots)).await;
    }

    /// Word whenever something was revoked: chains that were accepted may not be any more.
    pub(crate) fn revoked(&self) -> watch::Receiver<u64> {
        self.revoked.subscribe()
    }
}
