//! What is taken back (rule 8): chains that are refused from then on, and machines that end.

use std::sync::Arc;

use vmm_proto::authority::{LeafIdentity, Link};
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::revocation::RevocationList;

use crate::effect::{Answer, Effect};
use crate::ending::DEFAULT_STOP_MS;
use crate::engine::{Engine, Turn};
use crate::event::Token;
use crate::keep::{Keep, Outcome};
use crate::machine::{Machine, Phase, Then};
use crate::record::{Record, What};
use crate::refusal::Refusal;

impl Engine {
    /// Refuses a chain that holds a certificate which was taken back.
    pub(crate) fn not_revoked<'l>(
        &self,
        links: impl IntoIterator<Item = &'l Link>,
        leaf: Option<&LeafIdentity>,
    ) -> Result<(), Refusal> {
        let links = links.into_iter().map(|link| (&link.label, &link.issuer, &link.serial));
        let leaf = leaf.map(|leaf| (&leaf.label, &leaf.issuer, &leaf.serial));
        match links.chain(leaf).find(|(_, issuer, serial)| self.revocations.holds(issuer, serial)) {
            Some((label, _, serial)) => {
                Err(Refusal::Revoked { label: label.clone(), serial: serial.clone() })
            }
            None => Ok(()),
        }
    }

    /// Takes a list, ends what it takes the authority from, and has every session look again
    /// whether it may go on.
    pub(crate) fn revoke(&mut self, turn: &mut Turn, token: Token, list: &Arc<RevocationList>) {
        let serials = match self.revocations.take(Arc::clone(list)) {
            Ok(change) => change.serials,
            Err(reason) => {
                return turn.reply(token, Err(Refusal::ListNotTaken(Box::new(reason))));
            }
        };
        turn.push(Effect::Keep(Keep::Revocations(Arc::clone(list))));
        let (issuer, number) = (list.path.clone(), list.number);
        let cause = Some(token);
        turn.push(Effect::Record(Record::Revoked { issuer, number, serials, cause }));
        turn.push(Effect::JudgeSessions);
        let mut hit: Vec<_> = self
            .machines
            .iter()
            .filter(|machine| has_issuer(machine, &list.issuer))
            .filter_map(|machine| {
                let refusal = self.revoked(machine)?;
                Some((machine.name.clone(), machine.id, refusal))
            })
            .collect();
        hit.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
        self.call_off_successors(turn, &list.issuer);
        self.end_revoked_probations(turn);
        let mut machines = Vec::new();
        for (_, id, refusal) in hit {
            self.revoke_machine(turn, id, &refusal, token);
            machines.push(id);
        }
        turn.reply(token, Ok(Answer::Revoked { serials, machines }));
    }

    /// Why a machine's authority has been taken back: one of the certificates of its recorded
    /// chain, each delegation by its newest.
    fn revoked(&self, machine: &Machine) -> Option<Refusal> {
        if let Phase::Ended { outcome: Outcome::Revoked, .. } = machine.phase {
            return None;
        }
        self.chain_revoked(machine)
    }

    pub(crate) fn chain_revoked(&self, machine: &Machine) -> Option<Refusal> {
        let newest = machine.chain.iter().map(|link| self.delegations.newest(link));
        self.not_revoked(newest, machine.leaf.as_ref()).err()
    }

    fn revoke_machine(&mut self, turn: &mut Turn, id: MachineId, why: &Refusal, token: Token) {
        let Some(machine) = self.machines.change(id) else { return };
        machine.reason = Some(why.to_string());
        turn.record(machine, Some(token), What::Revoked { reason: why.to_string() });
        match &mut machine.phase {
            Phase::Ended { outcome, .. } => *outcome = Outcome::Revoked,
            Phase::Waiting | Phase::Queued => {
                self.end(turn, id, Outcome::Revoked);
                self.list_ended(turn, id);
            }
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping(_) => {
                self.ask_to_stop(turn, id, 0, Then::Revoke, None);
                // It was not asked whether it wants to end: it does not get time to.
                self.if_due(turn, id);
            }
        }
    }

    /// Calls off machines that wait to take the place of others and have lost their authority by a
    /// list of this issuer.
    fn call_off_successors(&mut self, turn: &mut Turn, issuer: &Digest) {
        let mut waiting: Vec<MachineId> = self
            .machines
            .iter()
            .filter(|machine| {
                let successor = machine.replacement().map(|replacement| &replacement.machine);
                successor.is_some_and(|successor| {
                    has_issuer(successor, issuer) && self.chain_revoked(successor).is_some()
                })
            })
            .map(|machine| machine.id)
            .collect();
        waiting.sort_unstable();
        for id in waiting {
            self.ask_to_stop(turn, id, DEFAULT_STOP_MS, Then::Stay, None);
        }
    }
}

/// Whether this key has signed a certificate of the recorded chain. Whatever else is remembered of
/// such a delegation, the same key has signed it.
fn has_issuer(machine: &Machine, issuer: &Digest) -> bool {
    let delegations = machine.chain.iter().map(|link| &link.issuer);
    delegations.chain(machine.leaf.as_ref().map(|leaf| &leaf.issuer)).any(|one| one == issuer)
}
