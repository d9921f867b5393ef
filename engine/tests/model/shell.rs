//! The shell: it performs effects as late and as early as it may, keeps what is to be kept, and dies
//! at any moment.
//!
//! What is not a promise is performed at once, and becomes durable only with the next promise, or
//! with [`World::flush`]: so a crash in between loses as much as it can ever lose.

use std::collections::{BTreeMap, BTreeSet};

use vmm_engine::{Effect, Engine, Event, Keep, KeptPhase, KeptThen, Record, Slot, State, What};
use vmm_proto::authority::Link;
use vmm_proto::id::MachineId;
use vmm_proto::name::MachineName;

use crate::wires;
use crate::world::{ROOT, Revoked, World, host};

/// In which moment of the next event the supervisor dies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doom {
    /// After so many effects, or fewer.
    pub(crate) cut: usize,
    /// Whether what was kept is durable by then.
    pub(crate) durable: bool,
}

/// What one event changed, and whose report it was.
struct Unkept {
    effects: Vec<Effect>,
    report: Option<(MachineId, u64)>,
}

#[derive(Default)]
pub(crate) struct Shell {
    /// What is durable.
    pub(crate) kept: BTreeMap<Slot, Keep>,
    known: BTreeMap<&'static str, Link>,
    revoked: Revoked,
    /// What will be, in this order.
    unkept: Vec<Unkept>,
    pub(crate) doom: Option<Doom>,
    /// How many times the supervisor was started again.
    pub(crate) lives: u32,
    /// Machines that somebody was told to run, and that nothing durable says to be gone.
    pub(crate) promised: BTreeSet<MachineId>,
    /// Machines that others have replaced, maybe not for good.
    replaced: BTreeSet<MachineId>,
    /// Machines that somebody was told to have stopped, and that nobody started since.
    pub(crate) stopped: BTreeSet<MachineId>,
    /// What the log says of each machine: whether it runs.
    pub(crate) log: BTreeMap<MachineId, bool>,
}

impl Shell {
    /// Somebody asks for a machine to be started.
    pub(crate) fn somebody_wants_to_run(&mut self, engine: &Engine, name: &MachineName) {
        if let Some(view) = engine.machine(name) {
            self.stopped.remove(&view.id);
        }
    }

    /// Whoever was replaced may go when nobody's probation needs it any more.
    fn release_replaced(&mut self) {
        if self.replaced.is_empty() {
            return;
        }
        let mut held = BTreeSet::new();
        for keep in self.kept.values() {
            if let Keep::Machine(machine) = keep {
                let former = machine.probation.as_ref().map(|probation| probation.former.id);
                held.extend([Some(machine.id), former].into_iter().flatten());
            }
        }
        for id in self.replaced.extract_if(.., |id| !held.contains(id)) {
            self.promised.remove(&id);
        }
    }

    /// The machines that should run, as far as is durable.
    pub(crate) fn should_run(&self) -> Vec<MachineId> {
        let machines = self.kept.values().filter_map(|keep| match keep {
            Keep::Machine(machine) => Some(machine),
            _ => None,
        });
        let should = machines.filter(|machine| match &machine.phase {
            KeptPhase::Starting { stop, .. } => {
                stop.as_ref().is_none_or(|stop| stop.then == KeptThen::Start)
            }
            KeptPhase::Running | KeptPhase::Queued | KeptPhase::Waiting { .. } => true,
            KeptPhase::Stopping(stop) => {
                matches!(stop.then, KeptThen::Start | KeptThen::Hold)
            }
            KeptPhase::Ended { .. } => false,
        });
        should.map(|machine| machine.id).collect()
    }
}

impl World {
    pub(crate) fn happen(&mut self, event: Event) -> Vec<Effect> {
        self.take_event(event, None)
    }

    pub(crate) fn happen_as_report(&mut self, event: Event, report: (MachineId, u64)) {
        self.take_event(event, Some(report));
    }

    fn take_event(&mut self, event: Event, report: Option<(MachineId, u64)>) -> Vec<Effect> {
        self.had = wires::held(self);
        let effects = self.engine.handle(self.now, event);
        for effect in &effects {
            match effect {
                Effect::Keep(Keep::Machine(machine)) => {
                    self.current.insert(machine.id, (**machine).clone());
                }
                Effect::Keep(Keep::ForgetMachine { id }) => drop(self.current.remove(id)),
                _ => {}
            }
        }
        let is_keep = |effect: &Effect| matches!(effect, Effect::Keep(_));
        assert!(effects.iter().skip_while(|it| is_keep(it)).all(|it| !is_keep(it)), "{effects:?}");
        let promise = effects.iter().position(Effect::is_promise).unwrap_or(effects.len());
        let doom = self.shell.doom.take();
        let cut = doom.map_or(effects.len(), |doom| doom.cut.min(effects.len()));
        for effect in &effects[..promise.min(cut)] {
            self.perform_effect(effect);
        }
        let unkept = Unkept { effects: effects.clone(), report };
        self.shell.unkept.push(unkept);
        let durable = doom.map_or(promise < effects.len(), |doom| doom.durable);
        if durable {
            self.flush();
            for effect in &effects[promise.min(cut)..cut] {
                self.perform_effect(effect);
            }
        }
        if doom.is_some() {
            self.crash(0);
        }
        effects
    }

    /// Makes durable what is not yet, and acknowledges the reports that led to it.
    pub(crate) fn flush(&mut self) {
        for Unkept { effects, report } in std::mem::take(&mut self.shell.unkept) {
            for effect in effects {
                match effect {
                    Effect::Keep(keep) => self.commit(keep),
                    Effect::Record(Record::Machine { id: Some(id), what, .. }) => {
                        self.invariant_every_end_of_a_run_is_recorded_exactly_once(id, &what);
                    }
                    _ => {}
                }
            }
            if let Some(report) = report {
                self.spawn.reports.remove(&report);
            }
            self.shell.release_replaced();
        }
    }

    fn commit(&mut self, keep: Keep) {
        match keep {
            Keep::ForgetDelegation { .. } => {
                assert!(self.shell.kept.remove(&keep.slot()).is_some());
            }
            Keep::ForgetMachine { .. } => {
                self.shell.kept.remove(&keep.slot());
            }
            _ => {
                if matches!(keep, Keep::Delegation(_) | Keep::Revocations(_)) {
                    self.shell.known.clone_from(&self.known);
                    self.shell.revoked.clone_from(&self.revoked);
                }
                self.shell.kept.insert(keep.slot(), keep);
            }
        }
    }

    /// The supervisor dies, and the next one has nothing but what is durable. Machines run on.
    pub(crate) fn crash(&mut self, skew_s: i64) {
        self.seen.insert("crash");
        self.shell.unkept.clear();
        self.shell.doom = None;
        self.shell.lives += 1;
        self.engine = Engine::new(host(), ROOT).with_on_expiry(self.on_expiry);
        for keep in self.shell.kept.values() {
            self.engine.restore(keep.clone());
        }
        self.current.clear();
        for keep in self.shell.kept.values() {
            if let Keep::Machine(machine) = keep {
                self.current.insert(machine.id, (**machine).clone());
            }
        }
        self.known.clone_from(&self.shell.known);
        self.revoked.clone_from(&self.shell.revoked);
        self.now.monotonic_ms = 0;
        self.now.unix_ms = self.now.unix_ms.saturating_add_signed(skew_s * 1000);
        self.spawn.connected = false;
        let needed: BTreeSet<_> = self.engine.images().collect();
        self.files.retain(|image, _| needed.contains(image));
        for image in needed {
            let file = self.files.get_mut(&image).expect("the image of a machine was not dropped");
            assert!(file.stored);
            file.holds = 0;
        }
        self.offers.clear();
        // Nobody waits for an answer any more.
        self.answers.retain(|_, answers| *answers > 0);
        self.invariant_no_machine_is_lost_that_was_answered_for();
    }

    fn invariant_no_machine_is_lost_that_was_answered_for(&self) {
        for id in &self.shell.promised {
            let former = || self.list().iter().any(|view| view.former == Some(*id));
            assert!(self.engine.by_id(*id).is_some() || former(), "{id} is lost");
        }
    }

    /// What the log says of a machine, when it is durable: after a start there is an end, and no end
    /// without a start; nothing is gone before its end was recorded.
    fn invariant_every_end_of_a_run_is_recorded_exactly_once(
        &mut self,
        id: MachineId,
        what: &What,
    ) {
        let runs = self.shell.log.entry(id).or_default();
        match what {
            What::Started { .. } => assert!(!std::mem::replace(runs, true), "{id} started twice"),
            What::Exited { .. } => assert!(std::mem::take(runs), "{id} ended twice"),
            What::StartFailed { .. } => assert!(!*runs, "{id} ran"),
            What::Destroyed
            | What::Replaced { .. }
            | What::PushedOut { .. }
            | What::RolledBack { .. } => {
                assert!(!*runs, "{id} is gone, and its end was not recorded");
                if let What::Replaced { .. } = what {
                    self.shell.replaced.insert(id);
                } else {
                    self.shell.promised.remove(&id);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn invariant_nothing_runs_that_was_answered_to_have_stopped(&self) {
        for id in &self.shell.stopped {
            assert!(!self.processes.contains_key(id), "{id} runs, and was said to have stopped");
        }
    }

    pub(crate) fn drain(&mut self, on: bool) {
        let token = self.token();
        self.happen(Event::Drain { token, on });
        let token = self.token();
        self.happen(Event::AwaitDrained { token });
    }

    /// The supervisor ends and takes all processes along; the next one starts those again that
    /// should run.
    pub(crate) fn stop_all(&mut self) {
        self.shell.doom = None;
        self.join();
        self.seen.insert("stop-all");
        self.flush();
        let should_run = self.shell.should_run();
        let token = self.token();
        self.happen(Event::StopAll { token });
        for _ in 0..3 {
            while self.processes.values().any(|process| process.pid.is_none()) {
                self.process_starts(0);
            }
            self.obey();
        }
        assert_eq!(self.answers[&token], 1);
        assert!(self.processes.is_empty());
        self.crash(0);
        for id in should_run {
            let state = self.engine.by_id(id).map(|view| view.state);
            assert_eq!(state, Some(State::Restarting), "{id} is to run again");
        }
        self.join();
    }

    /// Every process does what it was told, every upload ends, and what waits has its time.
    pub(crate) fn let_everything_finish(&mut self) {
        self.shell.doom = None;
        self.join();
        for _ in 0..3 {
            for _ in 0..20 {
                while self.processes.values().any(|process| process.pid.is_none()) {
                    self.process_starts(0);
                }
                self.obey();
                if let Some(image) = crate::world::choose(self.uploads(), 0) {
                    self.upload_ends(image, true);
                }
            }
            self.pass(80_000);
        }
        self.drain(false);
        while self.processes.values().any(|process| process.pid.is_none()) {
            self.process_starts(0);
        }
        self.obey();
        self.flush();
    }
}
