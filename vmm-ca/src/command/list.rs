//! `vmm-ca list`

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use vmm_proto::authority::Serial;

use super::{Format, World, json};
use crate::database::{Database, Issued, Revoked};
use crate::time::Moment;
use crate::{Error, describe};

/// Lists everything that an issuer has issued, oldest first.
#[derive(Debug, Args)]
pub(super) struct List {
    /// The issuer's database
    database: PathBuf,
    /// How to write it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// One certificate in JSON. Of a serial number that was taken back without its certificate, no more
/// is known.
#[derive(Serialize)]
struct Entry<'i> {
    serial: String,
    name: Option<&'i str>,
    kind: Option<&'i str>,
    not_before: Option<String>,
    not_after: Option<String>,
    expired: bool,
    revoked: bool,
    revoked_at: Option<String>,
    /// A newer certificate of this kind and label was issued.
    renewed: bool,
}

impl List {
    pub(super) fn run(&self, world: &mut World<'_>) -> Result<(), Error> {
        let database = Database::list(&world.path(&self.database))?;
        if database.was_torn() {
            world.warn(format_args!(
                "{} ends in the middle of a line, as a crash leaves it; the next `vmm-ca sign` drops \
                 that line",
                self.database.display()
            ))?;
        }
        let entries = entries(&database, world.now);
        match self.format {
            Format::Json => world.say(json(&entries)?),
            Format::Text => {
                world.say(row(["SERIAL", "NAME", "KIND", "FROM", "UNTIL", "STATE"]))?;
                entries.iter().map(Entry::text).try_for_each(|line| world.say(line))
            }
        }
    }
}

fn entries(database: &Database, now: i64) -> Vec<Entry<'_>> {
    let revoked = database.revoked();
    let mut newer = BTreeSet::new();
    let mut entries: Vec<Entry<'_>> = database
        .issued()
        .iter()
        .rev()
        .map(|issued| {
            let renewed = !newer.insert((issued.kind.name(), &issued.name));
            Entry { renewed, ..Entry::issued(issued, revoked.get(&issued.serial), now) }
        })
        .collect();
    entries.reverse();
    let known: BTreeSet<&Serial> = database.issued().iter().map(|issued| &issued.serial).collect();
    let unknown = revoked.values().filter(|revoked| !known.contains(&revoked.serial));
    entries.extend(unknown.map(|revoked| Entry::unknown(revoked, now)));
    entries
}

impl<'i> Entry<'i> {
    fn issued(issued: &'i Issued, revoked: Option<&Revoked>, now: i64) -> Self {
        Self {
            serial: issued.serial.to_string(),
            name: Some(&issued.name),
            kind: Some(issued.kind.name()),
            not_before: Some(Moment(issued.validity.not_before).to_string()),
            not_after: Some(Moment(issued.validity.not_after).to_string()),
            expired: issued.validity.not_after < now,
            revoked: revoked.is_some(),
            revoked_at: revoked.map(|revoked| Moment(revoked.at).to_string()),
            renewed: false,
        }
    }

    fn unknown(revoked: &'i Revoked, now: i64) -> Self {
        Self {
            serial: revoked.serial.to_string(),
            name: revoked.name.as_deref(),
            kind: revoked.kind.as_deref(),
            not_before: None,
            not_after: revoked.until.map(|until| Moment(until).to_string()),
            expired: !revoked.is_listed(now),
            revoked: true,
            revoked_at: Some(Moment(revoked.at).to_string()),
            renewed: false,
        }
    }

    fn text(&self) -> String {
        let name = self.name.map_or_else(|| "-".to_owned(), describe::printable);
        let state = match (&self.revoked_at, self.expired, self.renewed) {
            (Some(at), ..) => format!("revoked {at}"),
            (None, true, _) => "expired".to_owned(),
            (None, false, true) => "valid, renewed".to_owned(),
            (None, false, false) => "valid".to_owned(),
        };
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let (from, until) = (or_dash(&self.not_before), or_dash(&self.not_after));
        row([&self.serial, &name, self.kind.unwrap_or("-"), &from, &until, &state])
    }
}

fn row([serial, name, kind, from, until, state]: [&str; 6]) -> String {
    format!("{serial:<32}  {name:<20}  {kind:<11}  {from:<20}  {until:<20}  {state}")
}
