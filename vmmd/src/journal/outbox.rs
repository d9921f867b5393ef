//! Events on their way to the log: kept with the changes that they tell of, until `vmm-log` has them
//! on disk.

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use vmm_proto::message::log::Event;

use super::{Numbering, record};

/// The events, by their numbers.
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("outbox");

/// The journal's own random number, and the number of the last event that was ever recorded.
const NUMBERING: TableDefinition<'_, (), ([u8; 16], u64)> = TableDefinition::new("numbering");

/// Makes the tables, and the journal's own number once.
pub(super) fn prepare(transaction: &WriteTransaction) -> anyhow::Result<()> {
    transaction.open_table(EVENTS)?;
    let mut numbering = transaction.open_table(NUMBERING)?;
    if numbering.get(())?.is_none() {
        numbering.insert((), (uuid::Uuid::new_v4().into_bytes(), 0))?;
    }
    Ok(())
}

/// The events that are there, in their order, and how the next ones are numbered.
pub(super) fn load(transaction: &ReadTransaction) -> anyhow::Result<(Vec<Event>, Numbering)> {
    let numbering = transaction.open_table(NUMBERING)?;
    let missing = || anyhow::anyhow!("it has no number of its own");
    let (source, last) = numbering.get(())?.ok_or_else(missing)?.value();
    let mut events = Vec::new();
    for entry in transaction.open_table(EVENTS)?.iter()? {
        let (sequence, der) = entry?;
        events.push(record::event(source, sequence.value(), der.value())?);
    }
    Ok((events, Numbering { source, last }))
}

/// Adds events, and removes those up to `sent`.
pub(super) fn write(
    transaction: &WriteTransaction,
    events: &[Event],
    sent: u64,
) -> anyhow::Result<()> {
    let mut table = transaction.open_table(EVENTS)?;
    for event in events {
        table.insert(event.sequence, record::event_to_der(event)?.as_slice())?;
    }
    for removed in table.extract_from_if(..=sent, |_, _| true)? {
        removed?;
    }
    if let Some(last) = events.last() {
        let mut numbering = transaction.open_table(NUMBERING)?;
        numbering.insert((), (last.source, last.sequence))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Changes, Journal};

    fn event(source: [u8; 16], sequence: u64) -> Event {
        let fields = vec![("by".to_owned(), "dev \"admin\"\n…".to_owned()); 2];
        let machine = sequence.is_multiple_of(2).then(|| "dev:web".to_owned());
        let (kind, path) = ("started".to_owned(), "dev".to_owned());
        Event { source, sequence, time_ms: u64::MAX - sequence, kind, path, machine, fields }
    }

    fn changes(events: Vec<Event>, sent: u64) -> Changes {
        Changes { events, sent, ..Changes::default() }
    }

    #[test]
    fn events_stay_until_they_were_sent_and_are_numbered_on_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let source = journal.load().unwrap().numbering.source;
        let events = |numbers: std::ops::RangeInclusive<u64>| -> Vec<_> {
            numbers.map(|number| event(source, number)).collect()
        };
        journal.commit(&changes(events(1..=300), 0)).unwrap();
        journal.commit(&changes(events(301..=302), 299)).unwrap();
        drop(journal);
        let journal = Journal::open(dir.path()).unwrap();
        let left = journal.load().unwrap();
        assert_eq!(left.events, events(300..=302));
        journal.commit(&changes(Vec::new(), 302)).unwrap();
        drop(journal);
        let left = Journal::open(dir.path()).unwrap().load().unwrap();
        assert_eq!((left.events, left.numbering), (vec![], Numbering { source, last: 302 }));
    }
}
