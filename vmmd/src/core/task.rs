//! The one task that owns the engine: it takes events and questions in turn, and has the effects
//! performed, when what they rest upon is durable.

use tokio::sync::oneshot;
use vmm_engine::{Effect, Engine, Event, Token};
use vmm_proto::id::MachineId;

use super::keeper::Keeper;
use super::perform::Performer;
use super::{Ask, Inbox, Question, Settled};
use crate::clock;

/// Events that are taken together: what they change becomes durable at once.
const BATCH: usize = 64;

/// Runs the core until every [`super::Core`] is gone.
pub(crate) async fn run(mut engine: Engine, mut inbox: Inbox, mut task: Task) {
    loop {
        if !task.keeper.is_failing() {
            task.performer.perform_deferred();
        }
        let due = engine.next_wake().map(clock::instant_of);
        let mut steps = Vec::new();
        // However much is asked, nobody's timer waits for it.
        if due.is_some_and(|due| due <= tokio::time::Instant::now()) {
            steps.extend(task.take(&mut engine, Ask::Notice(Box::new(Event::Tick))).await);
        } else {
            let ask = tokio::select! {
                biased;
                () = task.keeper.progress() => continue,
                notice = inbox.notices.recv() => notice,
                request = inbox.requests.recv() => request,
                () = sleep_until(due) => Some(Ask::Notice(Box::new(Event::Tick))),
            };
            let Some(ask) = ask else { return };
            steps.extend(task.take(&mut engine, ask).await);
        }
        for _ in 1..BATCH {
            let next = inbox.notices.try_recv().or_else(|_| inbox.requests.try_recv());
            let Ok(ask) = next else { break };
            steps.extend(task.take(&mut engine, ask).await);
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

/// What is to be done about one ask, when what it rests upon is durable.
enum Step {
    Effects { by: Option<Token>, effects: Vec<Effect> },
    Look(Question),
    Watch { id: MachineId, settled: oneshot::Sender<Settled> },
}

impl Step {
    /// Whether it is not to be done before what has changed is durable.
    fn promises(&self) -> bool {
        match self {
            Self::Effects { effects, .. } => effects.iter().any(Effect::is_promise),
            Self::Look(_) | Self::Watch { .. } => false,
        }
    }
}

/// What the core's task works with.
pub(crate) struct Task {
    keeper: Keeper,
    performer: Performer,
    boots: Boots,
    tokens: u64,
}

/// Boots of the host, by the ids that its kernel makes up.
pub(crate) struct Boots {
    /// The one that what is kept of machines is of, if anything was kept.
    pub(crate) kept: Option<String>,
    pub(crate) now: String,
}

impl Task {
    pub(super) const fn new(keeper: Keeper, performer: Performer, boots: Boots) -> Self {
        Self { keeper, performer, boots, tokens: 0 }
    }

    /// Takes one ask: all that is to be kept and recorded of it is gathered here.
    async fn take(&mut self, engine: &mut Engine, ask: Ask) -> Option<Step> {
        match ask {
            Ask::Notice(event) => Some(self.handle(engine, None, *event)),
            Ask::Look(question) => Some(Step::Look(question)),
            Ask::Watch { id, settled } => Some(Step::Watch { id, settled }),
            Ask::Request { make, by, answer } => {
                self.tokens += 1;
                let token = Token(self.tokens);
                self.performer.expect(token, by, answer);
                let event = make(token);
                if changes_machines(&event)
                    && let Err(reason) = self.keeper.recovered().await
                {
                    self.performer.refuse(token, reason);
                    return None;
                }
                Some(self.handle(engine, Some(token), event))
            }
            Ask::Record(entry) => {
                self.keeper.record(entry);
                None
            }
            Ask::Flush(last) => {
                // Whoever asked may have gone.
                let _gone = last.send(self.keeper.hurry());
                None
            }
        }
    }

    fn handle(&mut self, engine: &mut Engine, by: Option<Token>, mut event: Event) -> Step {
        if let Event::SpawnKnows { same_boot, .. } = &mut event {
            let kept = self.boots.kept.replace(self.boots.now.clone());
            *same_boot = kept.as_ref().is_none_or(|kept| *kept == self.boots.now);
            if kept.as_ref() != Some(&self.boots.now) {
                self.keeper.keep_boot(self.boots.now.clone());
            }
        }
        let end = match &event {
            Event::StartFailed { id, run, .. } | Event::Exited { id, run, .. } => Some((*id, *run)),
            _ => None,
        };
        let effects = engine.handle(clock::now(), event);
        for effect in &effects {
            match effect {
                Effect::Record(record) => {
                    if let Some(entry) = self.performer.entry(record) {
                        self.keeper.record(entry);
                    }
                }
                Effect::Keep(keep) => self.keeper.keep(keep.clone()),
                _ => {}
            }
        }
        if let Some((id, run)) = end {
            self.keeper.end_seen(id, run);
        }
        Step::Effects { by, effects }
    }

    /// Makes durable what a promise rests upon, and then does everything else, in order.
    async fn perform_all(&mut self, engine: &Engine, steps: Vec<Step>) {
        let kept =
            if steps.iter().any(Step::promises) { self.keeper.keep_now().await } else { Ok(()) };
        for step in steps {
            let undo = kept.as_ref().err().filter(|_| step.promises());
            match step {
                Step::Look(question) => question(engine),
                Step::Watch { id, settled } => self.performer.watch(engine, id, settled),
                Step::Effects { by, effects } => {
                    for effect in effects {
                        match undo {
                            Some(reason) => self.performer.undo(effect, reason),
                            None => self.performer.perform(effect),
                        }
                    }
                    if let (Some(by), Some(reason)) = (by, undo) {
                        let later = "it is carried out as soon as it can be";
                        self.performer.refuse(by, format!("{reason}; {later}"));
                    }
                }
            }
        }
    }
}

/// Whether a request changes what runs, or what that runs on: while nothing can be made durable, it is refused before the
/// engine has begun with it.
const fn changes_machines(event: &Event) -> bool {
    matches!(
        event,
        Event::Deploy { .. }
            | Event::Start { .. }
            | Event::Stop { .. }
            | Event::Restart { .. }
            | Event::Destroy { .. }
            | Event::AddNetwork { .. }
            | Event::RemoveNetwork { .. }
    )
}
