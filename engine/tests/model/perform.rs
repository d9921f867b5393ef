//! What each effect does to the world.

use std::sync::Arc;

use vmm_engine::{Answer, Effect, Keep, Record, Slot, Token};
use vmm_proto::id::MachineId;

use crate::spawn::Process;
use crate::wires;
use crate::world::{File, World};

impl World {
    pub(crate) fn perform_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Keep(_) | Effect::JudgeSessions => {}
            Effect::Joined => assert!(self.spawn.connected),
            Effect::HostNetworks { networks, .. } => assert!(networks.is_empty()),
            Effect::Record(record) => {
                self.seen.insert(match record {
                    Record::Machine { what, .. } => what.as_str(),
                    Record::Renewed { .. } => "renewed",
                    Record::Revoked { .. } => "list",
                    Record::Doors { .. } => "doors",
                    Record::Overlap(_) => "overlap",
                    Record::HostNetwork { .. } => "network",
                });
            }
            Effect::StartMachine { id, run, name, spec, interfaces, arguments } => {
                let started_with = (&**interfaces, arguments.words());
                wires::check_start(self, (*id, name), started_with, &self.had);
                let process = Process {
                    name: name.clone(),
                    run: *run,
                    memory_mib: spec.memory_mib,
                    interfaces: Arc::clone(interfaces),
                    pid: None,
                    told_to_stop: false,
                    killed: false,
                    survived: false,
                };
                self.invariant_no_machine_is_started_twice(*id, process);
            }
            Effect::StopMachine { id, run, force } => self.stop_process(*id, *run, *force),
            Effect::ForgetMachine { id } => {
                assert!(!self.processes.contains_key(id), "forgotten while it runs");
                if self.spawn.connected {
                    self.spawn.last_runs.remove(id);
                    self.spawn.reports.retain(|(of, _), _| of != id);
                }
            }
            Effect::DropImage { image } => {
                let file = self.files.remove(image).expect("a file is dropped once");
                assert!((file.stored || file.parked) && file.holds == 0, "dropped while needed");
            }
            Effect::Reply { token, answer } => {
                *self.answers.get_mut(token).expect("an answer to a request") += 1;
                match answer {
                    Ok(answer) => self.take_answer(*token, answer),
                    Err(refusal) => {
                        self.seen.insert(refusal.code());
                    }
                }
            }
            Effect::Settled { id, .. } => assert!(!self.processes.contains_key(id)),
        }
    }

    fn take_answer(&mut self, token: Token, answer: &Answer) {
        match answer {
            Answer::Have(image) => self.files.get_mut(image).unwrap().holds += 1,
            Answer::Upload(image) => {
                let (node, sha, size) = self.offers[&token];
                let file = File { node, sha, size, stored: false, parked: false, holds: 1 };
                if let Some(part) = self.files.insert(*image, file) {
                    let same = (part.node, part.sha, part.size) == (node, sha, size);
                    assert!(part.parked && same, "two uploads into {image:?}");
                }
            }
            Answer::Running { id, pid } => {
                assert_eq!(self.processes[id].pid, Some(*pid));
                self.shell.promised.insert(*id);
            }
            Answer::Stopped { id } => {
                assert!(!self.processes.contains_key(id));
                // Another request may have it started again at once.
                if self.engine.by_id(*id).is_some_and(|view| !view.state.is_live()) {
                    self.shell.stopped.insert(*id);
                }
            }
            Answer::Destroyed { id } => assert!(self.engine.by_id(*id).is_none()),
            Answer::Accepted | Answer::Doors { .. } | Answer::NetworkDone => {}
            Answer::Drained => {
                assert!(self.list().iter().all(|view| !view.state.is_live()));
                assert!(self.processes.is_empty());
            }
            Answer::AllStopped => assert!(self.processes.is_empty()),
            Answer::Revoked { machines, .. } => {
                for id in machines {
                    let process = self.processes.get(id);
                    let dies = |p: &Process| p.killed || p.pid.is_none() || !self.spawn.connected;
                    assert!(process.is_none_or(dies));
                }
            }
        }
    }

    fn stop_process(&mut self, id: MachineId, run: u64, force: bool) {
        if !self.spawn.connected {
            return;
        }
        if let Some(process) = self.processes.get_mut(&id) {
            assert_eq!(process.run, run);
            assert!(process.pid.is_some(), "there is nothing to stop yet");
            let asked = process.told_to_stop || process.survived;
            assert!(!force || asked, "killed without having been asked");
            process.told_to_stop = true;
            process.killed |= force;
        }
    }

    fn invariant_no_machine_is_started_twice(&mut self, id: MachineId, process: Process) {
        let Process { run, name, .. } = &process;
        let run = *run;
        assert!(self.spawn.connected, "nobody is there to start it");
        let durable = self.shell.kept.get(&Slot::Machine(id));
        let durable = durable.is_some_and(|keep| match keep {
            Keep::Machine(machine) => machine.run >= run,
            _ => false,
        });
        assert!(durable, "started before the intent was durable");
        let last = self.spawn.last_runs.insert(id, run);
        assert!(last.is_none_or(|last| last < run), "start {run} of {id} comes after {last:?}");
        assert!(self.deployed.contains_key(&id), "started without having been admitted");
        assert!(
            self.processes.values().all(|process| process.name != *name),
            "{name} runs already"
        );
        assert!(self.processes.insert(id, process).is_none(), "{id} was started twice");
    }
}
