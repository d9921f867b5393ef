//! What a person sees before a request is signed.

use std::fmt::Write as _;

use vmm_proto::grant::Grant;

use crate::database::{Database, Issued};
use crate::describe;
use crate::given::{Given, Overcommitment, Sum};
use crate::issue::Issuer;
use crate::request::Request;
use crate::time::Moment;

/// What there is to say about a request, before anything is decided.
pub(super) struct Preview {
    /// What is asked for, what the issuer has, what others have of it.
    pub(super) text: String,
    /// What would be promised twice.
    pub(super) overcommitted: Vec<Overcommitment>,
    /// What else a person should know.
    pub(super) notes: Vec<String>,
}

impl Preview {
    pub(super) fn new(request: &Request, issuer: &Issuer, database: &Database, now: i64) -> Self {
        let given = Given::to_others(database.live(now), &request.label, &request.grant, now);
        let mut text = String::new();
        push(&mut text, &format!("Request: {} \"{}\"", request.grant.kind(), request.label));
        for (name, what) in describe::grant(&request.grant) {
            push(&mut text, &format!("  {name:<12} {what}"));
        }
        let key = format!("{}, SHA-256 {}", request.algorithm, request.key_digest());
        push(&mut text, &format!("  {:<12} {key}", "key"));
        push(&mut text, &issuer_line(issuer));
        if !matches!(request.grant, Grant::Permissions(_)) {
            push_table(&mut text, &request.grant, issuer, &given);
        }
        let overcommitted = given.overcommitted(&request.grant, issuer.bounds());
        let mut notes = issued_before(request, database, now);
        if !request.left_out.is_empty() {
            let oids = request.left_out.join(", ");
            notes.push(format!("the request asks for extensions that are left out: {oids}"));
        }
        Self { text, overcommitted, notes }
    }
}

fn issuer_line(issuer: &Issuer) -> String {
    let until = Moment(issuer.validity().not_after);
    let bounds = match issuer.bounds() {
        Some(share) => format!("CPUs {}", share.cpus),
        None => "a root, without bounds".to_owned(),
    };
    format!("Issuer: \"{}\", until {until}, {bounds}", issuer.subject())
}

/// One row for each quantity, and one for each holder of a part of it.
fn push_table(text: &mut String, grant: &Grant, issuer: &Issuer, given: &Given<'_>) {
    let asked = Sum::of_grant(grant);
    let others = given.sum();
    let has = issuer.bounds().map(Sum::of_share);
    row(text, ["", "machines", "memory MiB", "storage MiB"].map(str::to_owned));
    row(text, cells("asked", asked));
    match has {
        Some(has) => row(text, cells("issuer has", has)),
        None => row(text, ["issuer has", "-", "-", "-"].map(str::to_owned)),
    }
    row(text, cells("given to others", others));
    for (kind, label, sum) in given.holders() {
        row(text, cells(&format!("  {label} ({kind})"), sum));
    }
    if let Some(has) = has {
        let left = |has: u64, others: u64, asked: u64| {
            (i128::from(has) - i128::from(others) - i128::from(asked)).to_string()
        };
        row(
            text,
            [
                "left after this".to_owned(),
                left(has.machines, others.machines, asked.machines),
                left(has.memory_mib, others.memory_mib, asked.memory_mib),
                left(has.storage_mib, others.storage_mib, asked.storage_mib),
            ],
        );
    }
}

fn cells(name: &str, sum: Sum) -> [String; 4] {
    let Sum { machines, memory_mib, storage_mib } = sum;
    [name.to_owned(), machines.to_string(), memory_mib.to_string(), storage_mib.to_string()]
}

fn row(text: &mut String, [name, machines, memory, storage]: [String; 4]) {
    push(text, &format!("  {name:<28} {machines:>10} {memory:>12} {storage:>12}"));
}

/// A label is an identity, so it is said when it is given out again.
fn issued_before(request: &Request, database: &Database, now: i64) -> Vec<String> {
    let Some(last) = database.issued().iter().rfind(|issued| is_of(request, issued)) else {
        return Vec::new();
    };
    let until = Moment(last.validity.not_after);
    let state = match database.revoked().get(&last.serial) {
        Some(revoked) => format!("revoked {}", Moment(revoked.at)),
        None if last.validity.not_after < now => format!("expired {until}"),
        None => format!("valid until {until}"),
    };
    let key = if last.key == request.key_digest() { "the same key" } else { "another key" };
    let (kind, label, serial) = (request.grant.kind(), &request.label, &last.serial);
    vec![format!(
        "the {kind} \"{label}\" was issued before, for {key} (serial {serial}, {state}): whoever is \
         given a label gets what is kept under it"
    )]
}

/// Whether a certificate is of the kind and label that are asked for.
pub(super) fn is_of(request: &Request, issued: &Issued) -> bool {
    issued.kind.name() == request.grant.kind() && issued.name == request.label.as_str()
}

fn push(text: &mut String, line: &str) {
    // Writing into a String does not fail.
    let _ = writeln!(text, "{line}");
}
