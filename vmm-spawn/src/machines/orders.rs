//! What the supervisor wants of machines, but for starting them.

use tracing::{debug, error, info, warn};
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::{FromSpawn, Role};

use super::Machines;
use crate::failpoint;
use crate::machine::End;
use crate::peers::Peers;

impl Machines {
    /// Ends a run of a machine: at once, or by asking. Its exit tells that it has ended.
    pub fn stop(&mut self, id: MachineId, run: u64, force: bool) {
        let this = self.all.get_mut(&id).filter(|machine| machine.last_run == run);
        match this.map(|machine| machine.run.as_mut()) {
            Some(Some(run)) => {
                info!(%id, run = run.number, force, "stopping");
                run.end(id, force, "it was stopped before its guest ran");
            }
            // It has ended by itself in the meantime.
            Some(None) => debug!(%id, "to be stopped, but does not run"),
            None => warn!(%id, run, "to be stopped, but not known"),
        }
    }

    /// The end of a run need not be kept any longer. If it was the only start of a machine and
    /// failed, there is nothing else to keep of that machine.
    pub fn end_seen(&mut self, id: MachineId, run: u64, peers: &mut Peers) {
        let Some(machine) = self.all.get_mut(&id) else { return };
        let Some(index) = machine.reports.iter().position(|report| report.run == run) else {
            debug!(%id, run, "an end is acknowledged that is not kept");
            return;
        };
        let report = machine.reports.remove(index);
        let failed = report.is_some_and(|report| matches!(report.end, End::NotStarted(_)));
        if failed && machine.only_run == Some(run) && machine.console.is_blank() {
            self.forget(id, peers);
            return;
        }
        let last = machine.last_run == run;
        let place = self.state.place(&id.to_string());
        match place.and_then(|place| place.acknowledge(run, last)) {
            Ok(()) => failpoint::reach("acknowledged"),
            Err(error) => error!(%id, run, "an end stays although it was seen: {error}"),
        }
    }

    /// Drops a machine, once it has ended.
    pub fn forget(&mut self, id: MachineId, peers: &mut Peers) {
        let Some(machine) = self.all.get_mut(&id) else {
            debug!(%id, "to be forgotten, but not known");
            return;
        };
        machine.forgotten = true;
        if let Some(run) = &mut machine.run {
            run.end(id, true, "it was forgotten before its guest ran");
        } else {
            self.state.remove(id);
            self.drop_machine(id, peers);
        }
    }

    /// Ends all machines, and starts no more.
    pub fn end_all(&mut self) {
        self.ending = true;
        for machine in self.all.values_mut() {
            if let Some(run) = &mut machine.run {
                run.end(machine.id, true, "vmm-spawn was ended before its guest ran");
            }
        }
    }

    /// Takes a machine out of the table.
    pub(super) fn drop_machine(&mut self, id: MachineId, peers: &mut Peers) {
        let Some(machine) = self.all.remove(&id) else { return };
        self.numbers.remove(&machine.number);
        debug!(%id, "forgotten");
        peers.tell(Role::Console, FromSpawn::RingGone { id });
    }
}
