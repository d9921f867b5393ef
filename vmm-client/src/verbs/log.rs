//! The event log.

use serde_json::{Map, Value};
use vmm_proto::message::client::Reply;

use super::Asked;
use crate::failure::Stop;
use crate::output::escape::on_one_line;
use crate::output::{Screen, full};

/// Shows records as they come: for people a line each; in JSON the server's own documents, in an
/// array, or one a line when following.
pub(super) async fn log(
    asked: &mut Asked<'_>,
    follow: bool,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let array = screen.is_json() && !follow;
    let mut first = true;
    loop {
        match asked.next().await? {
            Reply::LogLine(line) => {
                let Ok(record) = serde_json::from_str::<Map<String, Value>>(&line) else {
                    let what = "a record of the log is not a JSON object";
                    return Err(asked.session.nonsense(what).into());
                };
                if array {
                    screen.text(if first { "[" } else { ",\n" })?;
                    screen.text(&line)?;
                } else if screen.is_json() {
                    screen.text(&format!("{line}\n"))?;
                } else {
                    screen.text(&readable(record))?;
                }
                first = false;
            }
            Reply::Done if array && first => return screen.text("[]\n"),
            Reply::Done if array => return screen.text("]\n"),
            Reply::Done => return Ok(()),
            other => return Err(asked.unexpected(&other)),
        }
    }
}

/// What makes records one chain: for programs.
const LEFT_OUT: [&str; 3] = ["source", "sequence", "chain"];

/// `TIME KIND WHERE key=value…`
fn readable(mut record: Map<String, Value>) -> String {
    let mut take = |key: &str| record.remove(key).map(|value| plain(&value));
    let time = take("time").unwrap_or_default();
    let kind = take("kind").unwrap_or_default();
    let path = take("path").filter(|path| !path.is_empty());
    let machine = take("machine").filter(|machine| !machine.is_empty());
    let place = match (machine, path) {
        (Some(machine), _) => full(&machine),
        (None, Some(path)) => format!("{}/", full(&path)),
        (None, None) => "/".to_owned(),
    };
    let mut line = format!("{time} {kind} {place}");
    let fields = record.remove("fields");
    let nested = match fields {
        Some(Value::Object(fields)) => fields,
        Some(other) => Map::from_iter([("fields".to_owned(), other)]),
        None => Map::new(),
    };
    for (key, value) in record.iter().chain(&nested) {
        if !LEFT_OUT.contains(&key.as_str()) && !value.is_null() {
            line.extend([" ", key, "=", &quoted(&plain(value))]);
        }
    }
    on_one_line(&line) + "\n"
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let bare = !text.is_empty() && !text.contains([' ', '"', '=']);
    if bare { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\\\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(record: &str) -> String {
        readable(serde_json::from_str(record).unwrap())
    }

    #[test]
    fn a_record_is_a_line_that_can_be_read() {
        let record = r#"{"time":"2026-01-01T00:00:00Z","source":"ab","sequence":7,"kind":"exited",
            "path":"dev","machine":"dev/hello","code":0,"reason":"by \"itself\"\n","peer":null}"#;
        assert_eq!(
            shown(record),
            "2026-01-01T00:00:00Z exited /dev/hello code=0 reason=\"by \\\"itself\\\"\\n\"\n"
        );
        assert_eq!(
            shown(r#"{"time":"t","kind":"login","path":"dev","machine":null}"#),
            "t login /dev/\n"
        );
        assert_eq!(
            shown(r#"{"time":"t","kind":"login","path":"","fields":{"a":"b"},"chain":"x"}"#),
            "t login / a=b\n"
        );
    }
}
