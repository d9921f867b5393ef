//! The contents of a file for people.

use std::fmt::Write as _;

use vmm_proto::grant::Grant;

use super::{CertificateFacts, Contents, Item, ListFacts, hex};
use crate::describe::{self, printable};
use crate::request::Request;
use crate::time::Moment;

/// A paragraph for each part. `now` (Unix seconds) tells what has expired.
pub fn to_text(file: &str, contents: &Contents, now: i64) -> String {
    let mut text = String::new();
    for item in &contents.items {
        match item {
            Item::Certificate(facts) => certificate(&mut text, file, facts, now),
            Item::Request(asked) => request(&mut text, file, asked),
            Item::RevocationList(facts) => revocation_list(&mut text, file, facts, now),
            Item::PrivateKey => push(&mut text, &format!("{file}: a private key, not shown")),
            Item::Other(label) => push(&mut text, &format!("{file}: {label}, not looked into")),
            Item::Broken { what, problem } => {
                push(&mut text, &format!("{file}: a broken {what}: {problem}"));
            }
        }
    }
    match &contents.chain {
        None => {}
        Some(Ok(())) => {
            push(&mut text, &format!("{file}: each certificate is issued by the one behind it"));
        }
        Some(Err(problem)) => push(&mut text, &format!("{file}: not a chain: {problem}")),
    }
    text
}

fn certificate(text: &mut String, file: &str, facts: &CertificateFacts, now: i64) {
    let kind = match facts.role {
        Ok(role) => format!("{role} certificate"),
        Err(_) => "certificate".to_owned(),
    };
    push(text, &format!("{file}: {kind} {}", quoted(&facts.subject)));
    if let Err(problem) = &facts.role {
        line(text, "refused", &format!("not of the profile: {problem}"));
    }
    line(text, "issuer", &quoted(&facts.issuer));
    line(text, "serial", &facts.serial.to_string());
    let (from, until) = (facts.validity.not_before, facts.validity.not_after);
    let state = match (from <= now, now <= until) {
        (true, true) => "",
        (false, _) => " (not yet)",
        (true, false) => " (expired)",
    };
    line(text, "valid", &format!("{} to {}{state}", Moment(from), Moment(until)));
    line(text, "key", &format!("{}, SHA-256 {}", facts.algorithm, facts.key));
    let id = |id: &Option<Vec<u8>>| id.as_deref().map_or_else(|| "none".to_owned(), hex);
    line(text, "key id", &id(&facts.subject_key_id));
    line(text, "issuer's id", &id(&facts.authority_key_id));
    if !facts.names.is_empty() {
        let names: Vec<String> = facts.names.iter().map(|name| printable(name)).collect();
        line(text, "names", &names.join(", "));
    }
    if let Some(grant) = &facts.grant {
        line(text, "grants", grant.kind());
        push_grant(text, grant);
    }
}

fn request(text: &mut String, file: &str, asked: &Request) {
    push(text, &format!("{file}: request for {} \"{}\"", asked.grant.kind(), asked.label));
    line(text, "key", &format!("{}, SHA-256 {}", asked.algorithm, asked.key_digest()));
    line(text, "signature", "by that key");
    if !asked.left_out.is_empty() {
        line(text, "left out", &asked.left_out.join(", "));
    }
    push_grant(text, &asked.grant);
}

fn revocation_list(text: &mut String, file: &str, facts: &ListFacts, now: i64) {
    push(text, &format!("{file}: revocation list of {}", quoted(&facts.issuer)));
    line(text, "number", facts.number.as_deref().unwrap_or("none"));
    line(text, "made", &Moment(facts.this_update).to_string());
    let next = facts.next_update.map_or_else(
        || "never".to_owned(),
        |next| format!("{}{}", Moment(next), if next < now { " (overdue)" } else { "" }),
    );
    line(text, "next", &next);
    let id = facts.authority_key_id.as_deref().map_or_else(|| "none".to_owned(), hex);
    line(text, "issuer's id", &id);
    for (serial, at) in &facts.revoked {
        line(text, "takes back", &format!("serial {serial}, since {}", Moment(*at)));
    }
    if facts.revoked.is_empty() {
        line(text, "takes back", "nothing");
    }
}

fn push_grant(text: &mut String, grant: &Grant) {
    for (name, what) in describe::grant(grant) {
        line(text, name, &what);
    }
}

/// Text that someone else chose, always in quotes.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn line(text: &mut String, name: &str, what: &str) {
    push(text, &format!("  {name:<12} {what}"));
}

fn push(text: &mut String, line: &str) {
    // Writing into a String does not fail.
    let _ = writeln!(text, "{line}");
}
