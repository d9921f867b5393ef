//! What a person sees before a request is signed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use vmm_proto::grant::Grant;
use vmm_proto::resource::{Bridge, Delegation};

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
    let bounds = issuer.bounds();
    let cpus_of: BTreeMap<&str, String> =
        given.shares().map(|(label, share)| (label, share.cpus.to_string())).collect();
    row(text, ["", "machines", "memory MiB", "storage MiB", "CPUs"].map(str::to_owned));
    row(text, cells("asked", asked, &cpus(grant)));
    match bounds {
        Some(bounds) => {
            row(text, cells("issuer has", Sum::of_share(bounds), &bounds.cpus.to_string()));
        }
        None => row(text, ["issuer has", "-", "-", "-", "-"].map(str::to_owned)),
    }
    row(text, cells("given to others", others, ""));
    for (kind, label, sum) in given.holders() {
        let cpus = cpus_of.get(label).filter(|_| kind == "delegation");
        row(text, cells(&format!("  {label} ({kind})"), sum, cpus.map_or("", String::as_str)));
    }
    if let Some(has) = bounds.map(Sum::of_share) {
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
                String::new(),
            ],
        );
    }
    if let Grant::Delegation(share) = grant {
        share.bridges.iter().for_each(|bridge| push_bridge(text, bridge, bounds, given));
    }
}

/// Who has which addresses of a bridge that is asked for.
fn push_bridge(text: &mut String, asked: &Bridge, bounds: Option<&Delegation>, given: &Given<'_>) {
    let mut line = |who: &str, bridge: &Bridge| {
        push(text, &format!("    {who:<26} {}", describe::addresses(bridge)));
    };
    let name = asked.name();
    line(&format!("{name}: asked"), asked);
    if let Some(bridge) = bounds.and_then(|bounds| bounds.bridges.get(name)) {
        line(&format!("{name}: issuer has"), bridge);
    }
    for (label, share) in given.shares() {
        if let Some(bridge) = share.bridges.get(name) {
            line(&format!("{name}: {label}"), bridge);
        }
    }
}

fn cpus(grant: &Grant) -> String {
    match grant {
        Grant::Delegation(share) => share.cpus.to_string(),
        Grant::Machine(machine) => machine.cpus.to_string(),
        Grant::Permissions(_) => String::new(),
    }
}

fn cells(name: &str, sum: Sum, cpus: &str) -> [String; 5] {
    let Sum { machines, memory_mib: memory, storage_mib: storage } = sum;
    [
        name.to_owned(),
        machines.to_string(),
        memory.to_string(),
        storage.to_string(),
        cpus.to_owned(),
    ]
}

fn row(text: &mut String, [name, machines, memory, storage, cpus]: [String; 5]) {
    let row = format!("  {name:<28} {machines:>10} {memory:>12} {storage:>12}  {cpus}");
    push(text, row.trim_end());
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
