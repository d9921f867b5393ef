//! Events for the log that `vmm-log` may not have yet.

use anyhow::Context;
use vmm_proto::message::log::Event;

use super::asn1::{Field, Recorded};

/// An event, in DER.
///
/// # Errors
/// When it cannot be encoded.
pub(in crate::journal) fn event_to_der(event: &Event) -> anyhow::Result<Vec<u8>> {
    let field =
        |(name, value): &(String, String)| Field { name: name.clone(), value: value.clone() };
    let record = Recorded {
        time_ms: event.time_ms,
        kind: event.kind.clone(),
        path: event.path.clone(),
        machine: event.machine.clone(),
        fields: event.fields.iter().map(field).collect(),
    };
    rasn::der::encode(&record).context("an event")
}

/// An event, from DER.
///
/// # Errors
/// When it is not what [`event_to_der`] makes.
pub(in crate::journal) fn event(
    source: [u8; 16],
    sequence: u64,
    der: &[u8],
) -> anyhow::Result<Event> {
    let record: Recorded = rasn::der::decode(der).context("an event")?;
    let Recorded { time_ms, kind, path, machine, fields } = record;
    let fields = fields.into_iter().map(|Field { name, value }| (name, value)).collect();
    Ok(Event { source, sequence, time_ms, kind, path, machine, fields })
}
