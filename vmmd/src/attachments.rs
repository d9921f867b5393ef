//! Who is attached to which console, so that one's other attachments can be ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use vmm_proto::id::MachineId;

/// All attachments of this server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attachments(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    last: u64,
    entries: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    machine: MachineId,
    who: Arc<str>,
    end: oneshot::Sender<()>,
}

/// One attachment; it is forgotten when this is dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    attachments: Attachments,
    number: u64,
    /// Resolves when somebody detaches it.
    pub(crate) detached: oneshot::Receiver<()>,
}

impl Attachments {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an attachment.
    pub(crate) fn register(&self, machine: MachineId, who: &Arc<str>) -> Registered {
        let (end, detached) = oneshot::channel();
        let mut table = self.table();
        table.last += 1;
        let number = table.last;
        table.entries.insert(number, Entry { machine, who: Arc::clone(who), end });
        Registered { attachments: self.clone(), number, detached }
    }

    /// Ends all attachments of `who` to a machine; returns how many.
    pub(crate) fn detach(&self, machine: MachineId, who: &str) -> u32 {
        let mut table = self.table();
        let own: Vec<u64> = table
            .entries
            .iter()
            .filter(|(_, entry)| entry.machine == machine && *entry.who == *who)
            .map(|(number, _)| *number)
            .collect();
        let mut ended = 0;
        for entry in own.iter().filter_map(|number| table.entries.remove(number)) {
            if entry.end.send(()).is_ok() {
                ended += 1;
            }
        }
        ended
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.attachments.table().entries.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ones_own_attachments_end() {
        let attachments = Attachments::default();
        let (dev, alice): (Arc<str>, Arc<str>) = ("dev/x".into(), "dev/alice/x".into());
        let machine = MachineId([1; 16]);
        let mut own = attachments.register(machine, &dev);
        let mut others = attachments.register(machine, &alice);
        let gone = attachments.register(machine, &dev);
        drop(gone);
        assert_eq!(attachments.detach(machine, "dev/x"), 1);
        assert!(own.detached.try_recv().is_ok());
        assert!(others.detached.try_recv().is_err());
        drop(others);
        assert!(attachments.table().entries.is_empty());
    }
}
