//! Records: events as JSON documents.

use std::borrow::Cow;
use std::fmt::Write;

use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use vmm_proto::message::log::Event;

use crate::chain::ADDED;

/// The longest line, in bytes, without its line break.
pub const MAX_LINE: usize = 64 << 10;

/// Stands for the source in records that `vmm-log` itself makes.
pub const OWN: &str = "vmm-log";

/// The kind of the record that says that the chain was found broken.
pub const CHAIN_BROKEN: &str = "chain-broken";

/// The order of these is the order in the file.
#[derive(Serialize)]
struct Document<'a> {
    time: String,
    kind: &'a str,
    path: &'a str,
    machine: Option<&'a str>,
    fields: Fields<'a>,
    source: &'a str,
    sequence: u64,
}

struct Fields<'a>(&'a [(String, String)]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (index, (name, value)) in self.0.iter().enumerate() {
            // Readers of JSON keep one value of a name that stands twice; none may get lost here.
            let earlier = self.0[..index].iter().filter(|(other, _)| other == name).count();
            match earlier {
                0 => map.serialize_entry(name, value)?,
                _ => map.serialize_entry(&format!("{name}#{}", earlier + 1), value)?,
            }
        }
        map.end()
    }
}

/// An event cannot be written, however often it is sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {0} cannot be written: its kind, path and machine have more than {MAX_LINE} bytes")]
pub struct TooLong(pub u64);

/// The document of an event, without its link.
///
/// Fields that make it longer than [`MAX_LINE`] are left out; one named `cut` says so.
///
/// # Errors
/// [`TooLong`] when it is longer even so.
pub fn document(event: &Event) -> Result<Vec<u8>, TooLong> {
    let source = hex(event.source);
    let with = |fields: &[(String, String)]| {
        let document = Document {
            time: time(event.time_ms),
            kind: &event.kind,
            path: &event.path,
            machine: event.machine.as_deref(),
            fields: Fields(fields),
            source: &source,
            sequence: event.sequence,
        };
        serde_json::to_vec(&document).ok().filter(|bytes| bytes.len() + ADDED <= MAX_LINE)
    };
    if let Some(document) = with(&event.fields) {
        return Ok(document);
    }
    let bytes: usize = event.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    tracing::warn!(sequence = event.sequence, "{bytes} bytes of fields were too long to be kept");
    let cut = ("cut".to_owned(), format!("{bytes} bytes of fields were too long to be kept"));
    with(&[cut]).ok_or(TooLong(event.sequence))
}

/// The document of a record that `vmm-log` makes itself, at `time_ms`.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn own(
    kind: &str,
    fields: &[(String, String)],
    time_ms: u64,
) -> Result<Vec<u8>, serde_json::Error> {
    let fields = Fields(fields);
    let (time, source) = (time(time_ms), OWN);
    let document = Document { time, kind, path: "", machine: None, fields, source, sequence: 0 };
    serde_json::to_vec(&document)
}

/// What is looked at when records are read again.
#[derive(Debug, Deserialize)]
pub struct Head<'a> {
    /// RFC 3339.
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    /// What happened.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// Below which path.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// About which machine.
    pub machine: Option<String>,
    /// Who said so: 32 hexadecimal digits, or [`OWN`].
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    /// Its number among those of its source.
    pub sequence: u64,
}

impl<'a> Head<'a> {
    /// Reads a line; `None` when it is not a record.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// Its source, unless that is `vmm-log`.
    pub fn source(&self) -> Option<[u8; 16]> {
        let number = u128::from_str_radix(&self.source, 16).ok()?;
        (self.source.len() == 32).then(|| number.to_be_bytes())
    }

    /// When, in Unix milliseconds.
    pub fn time_ms(&self) -> Option<u64> {
        u64::try_from(self.time.parse::<Timestamp>().ok()?.as_millisecond()).ok()
    }
}

/// The value of a field of a record; `None` when it has none of that name.
pub fn field(line: &[u8], name: &str) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(line).ok()?;
    Some(document.get("fields")?.get(name)?.as_str()?.to_owned())
}

/// RFC 3339 with milliseconds; a time after the year 9999 counts as its end.
fn time(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", time.unwrap_or(Timestamp::MAX))
}

fn hex(bytes: [u8; 16]) -> String {
    bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            source: [0xab; 16],
            sequence: 7,
            time_ms: 1_700_000_000_123,
            kind: "started".into(),
            path: "dev".into(),
            machine: Some("dev/hello".into()),
            fields: vec![("pid".into(), "1".into()), ("note".into(), "a\n\"b\"".into())],
        }
    }

    #[test]
    fn a_record_looks_like_this() {
        let expected = concat!(
            r#"{"time":"2023-11-14T22:13:20.123Z","kind":"started","path":"dev","#,
            r#""machine":"dev/hello","fields":{"pid":"1","note":"a\n\"b\""},"#,
            r#""source":"abababababababababababababababab","sequence":7}"#
        );
        let document = document(&event()).unwrap();
        assert_eq!(String::from_utf8(document.clone()).unwrap(), expected);
        let head = Head::parse(&document).unwrap();
        assert_eq!(head.source(), Some([0xab; 16]));
        assert_eq!(head.time_ms(), Some(1_700_000_000_123));
        assert_eq!(head.machine.as_deref(), Some("dev/hello"));
        assert_eq!(field(&document, "note").unwrap(), "a\n\"b\"");
    }

    #[test]
    fn an_event_without_a_machine_says_null() {
        let document = document(&Event { machine: None, ..event() }).unwrap();
        assert!(String::from_utf8(document).unwrap().contains(r#""machine":null"#));
    }

    #[test]
    fn a_name_that_stands_twice_keeps_both_values() {
        let fields = vec![("a".into(), "1".into()), ("a".into(), "2".into())];
        let document = document(&Event { fields, ..event() }).unwrap();
        assert!(String::from_utf8(document).unwrap().contains(r#"{"a":"1","a#2":"2"}"#));
    }

    #[test]
    fn fields_too_long_to_keep_are_left_out_and_said_to_be() {
        let fields = vec![("long".into(), "\u{1}".repeat(MAX_LINE / 4))];
        let document = document(&Event { fields, ..event() }).unwrap();
        assert_eq!(
            field(&document, "cut").unwrap(),
            "16388 bytes of fields were too long to be kept"
        );
        assert_eq!(Head::parse(&document).unwrap().sequence, 7);
    }

    #[test]
    fn an_event_that_can_never_be_written_is_an_error() {
        let kind = "x".repeat(MAX_LINE);
        assert_eq!(document(&Event { kind, ..event() }), Err(TooLong(7)));
    }

    #[test]
    fn a_time_beyond_all_calendars_is_still_a_time() {
        let document = document(&Event { time_ms: u64::MAX, ..event() }).unwrap();
        assert!(Head::parse(&document).unwrap().time.starts_with("9999-12-"));
    }
}
