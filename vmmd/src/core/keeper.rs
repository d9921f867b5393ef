//! What is to be durable: gathered while events are taken, written in one transaction at a time.
//!
//! A promise waits for its transaction ([`Keeper::keep_now`]). Everything else is written in the
//! background, some milliseconds later, so that what happens at about the same time shares one wait
//! for the disk. What depends on a transaction is done when it is durable: `vmm-log` gets its events,
//! and `vmm-spawn` is told which ends of machines need not be kept any more.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use vmm_engine::Keep;
use vmm_proto::id::MachineId;
use vmm_proto::message::log::Event;
use vmm_proto::message::spawn::ToSpawn;

use crate::journal::{Changes, Journal, Numbering};
use crate::links::log::{Entry, Outbox};
use crate::links::spawn::SpawnLink;
use crate::{clock, failpoint};

/// How long a change that nobody waits for may wait for others.
const LAZY: Duration = Duration::from_millis(10);

/// So many changes wait for no others.
const MANY: usize = 256;

/// How long after a failed write it is tried again, if nothing else tries before.
const AGAIN: Duration = Duration::from_secs(1);

/// One transaction, and what is to be done when it is durable.
#[derive(Debug, Default)]
struct Gathered {
    changes: Changes,
    /// Runs of machines whose end was taken note of.
    ends: Vec<(MachineId, u64)>,
}

impl Gathered {
    fn len(&self) -> usize {
        self.changes.kept.len() + self.changes.events.len() + self.ends.len()
    }

    /// What came before `later`, and could not be written: now part of it.
    fn before(mut self, later: Self) -> Self {
        let Self { changes, ends } = later;
        self.changes.kept.extend(changes.kept);
        self.changes.events.extend(changes.events);
        self.changes.sent = self.changes.sent.max(changes.sent);
        self.changes.boot = changes.boot.or(self.changes.boot);
        self.ends.extend(ends);
        self
    }
}

type Written = (Gathered, anyhow::Result<()>);

/// Makes durable what is gathered.
pub(super) struct Keeper {
    journal: Journal,
    numbering: Numbering,
    outbox: Outbox,
    spawn: SpawnLink,
    /// What the next transaction holds.
    next: Gathered,
    /// When it begins, if nothing waits for it.
    due: Option<Instant>,
    in_flight: Option<JoinHandle<Written>>,
    /// Whether the last transaction failed.
    failing: bool,
}

impl Keeper {
    /// Goes on from where a former run ended.
    pub(super) fn new(
        journal: Journal,
        numbering: Numbering,
        outbox: Outbox,
        spawn: SpawnLink,
    ) -> Self {
        Self {
            journal,
            numbering,
            outbox,
            spawn,
            next: Gathered::default(),
            due: None,
            in_flight: None,
            failing: false,
        }
    }

    /// Something is kept from now on, or not any more.
    pub(super) fn keep(&mut self, keep: Keep) {
        self.next.changes.kept.insert(keep.slot(), keep);
        self.gathered();
    }

    /// Something is to be in the log, once.
    pub(super) fn record(&mut self, entry: Entry) {
        tracing::info!(
            kind = entry.kind,
            path = entry.path,
            machine = entry.machine,
            fields = entry.shown(),
        );
        self.numbering.last += 1;
        let event = Event {
            source: self.numbering.source,
            sequence: self.numbering.last,
            time_ms: clock::unix_ms(),
            kind: entry.kind.to_owned(),
            path: entry.path,
            machine: entry.machine,
            fields: entry.fields,
        };
        self.outbox.expect(&event);
        self.next.changes.events.push(event);
        self.gathered();
    }

    /// The end of this run of a machine was taken note of: what was made of it is gathered.
    pub(super) fn end_seen(&mut self, id: MachineId, run: u64) {
        self.next.ends.push((id, run));
        self.gathered();
    }

    /// The machines are of this boot of the host from now on.
    pub(super) fn keep_boot(&mut self, boot: String) {
        self.next.changes.boot = Some(boot);
        self.gathered();
    }

    fn gathered(&mut self) {
        let due = *self.due.get_or_insert_with(|| Instant::now() + LAZY);
        if self.next.len() >= MANY && !self.failing {
            self.due = Some(due.min(Instant::now()));
        }
    }

    /// What is gathered waits for nothing else; returns the number of the last event.
    pub(super) fn hurry(&mut self) -> u64 {
        if self.due.is_some() && !self.failing {
            self.due = Some(Instant::now());
        }
        self.numbering.last
    }

    /// Makes durable what is gathered, and waits for it.
    ///
    /// # Errors
    /// Why it could not be written. It is written with the next.
    pub(super) async fn keep_now(&mut self) -> Result<(), String> {
        // What was on its way and failed is in the next one again.
        let _again = self.written().await;
        self.begin();
        self.written().await
    }

    /// Whether the last transaction failed.
    pub(super) const fn is_failing(&self) -> bool {
        self.failing
    }

    /// After a failed write, tries again.
    ///
    /// # Errors
    /// Why it still cannot be written.
    pub(super) async fn recovered(&mut self) -> Result<(), String> {
        if self.failing { self.keep_now().await } else { Ok(()) }
    }

    /// Waits for the next step of what nobody waits for, and takes it. May be given up at any time.
    pub(super) async fn progress(&mut self) {
        if self.in_flight.is_some() {
            // Nobody depends on it; it was reported, and is tried again.
            let _reported = self.written().await;
        } else if let Some(due) = self.due {
            tokio::time::sleep_until(due).await;
            self.begin();
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// Begins to write, if there is anything and nothing is being written.
    fn begin(&mut self) {
        self.due = None;
        let mut gathered = std::mem::take(&mut self.next);
        let Changes { kept, events, sent, boot } = &mut gathered.changes;
        if kept.is_empty() && events.is_empty() && boot.is_none() {
            // What was made of these ends was durable before.
            return self.ended(gathered.ends);
        }
        *sent = self.outbox.acknowledged();
        let journal = self.journal.clone();
        let write = move || {
            failpoint::boundary();
            let written = journal.commit(&gathered.changes);
            failpoint::boundary();
            (gathered, written)
        };
        self.in_flight = Some(tokio::task::spawn_blocking(write));
    }

    /// Waits for what is being written, and does what depends on it.
    async fn written(&mut self) -> Result<(), String> {
        let Some(writing) = &mut self.in_flight else { return Ok(()) };
        let written = writing.await;
        self.in_flight = None;
        let (gathered, result) = match written {
            Ok(written) => written,
            Err(error) => match error.try_into_panic() {
                // What was to be written is lost: there is no way to go on.
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process is ending.
                Err(_) => std::future::pending().await,
            },
        };
        match result {
            Ok(()) => {
                self.failing = false;
                self.outbox.hand_over(gathered.changes.events);
                failpoint::boundary();
                self.ended(gathered.ends);
                Ok(())
            }
            Err(error) => {
                let reason = format!("{error:#}");
                tracing::error!("{reason}; tried again");
                self.next = gathered.before(std::mem::take(&mut self.next));
                self.due = Some(Instant::now() + AGAIN);
                if !self.failing {
                    self.failing = true;
                    self.record(Entry::of("not-kept", "").with("reason", &reason));
                }
                Err(reason)
            }
        }
    }

    fn ended(&self, ends: Vec<(MachineId, u64)>) {
        for (id, run) in ends {
            self.spawn.tell(ToSpawn::EndSeen { id, run }, None);
        }
    }
}
