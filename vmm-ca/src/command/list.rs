//! `vmm-ca list`

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Format, World, json};
use crate::database::{Database, Issued};
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

/// One certificate in JSON.
#[derive(Serialize)]
struct Entry<'i> {
    serial: String,
    name: &'i str,
    kind: &'static str,
    not_before: String,
    not_after: String,
    expired: bool,
    /// Revocation is not built yet, and a certificate that cannot have been revoked is not.
    revoked: bool,
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
        let now = world.now;
        let entries = database.issued().iter().map(|issued| Entry::of(issued, now));
        match self.format {
            Format::Json => {
                let entries: Vec<_> = entries.collect();
                world.say(json(&entries)?)
            }
            Format::Text => {
                world.say(row(["SERIAL", "NAME", "KIND", "FROM", "UNTIL", "STATE"]))?;
                entries.map(|entry| entry.text()).try_for_each(|line| world.say(line))
            }
        }
    }
}

impl<'i> Entry<'i> {
    fn of(issued: &'i Issued, now: i64) -> Self {
        Self {
            serial: issued.serial.to_string(),
            name: &issued.name,
            kind: issued.kind.name(),
            not_before: Moment(issued.validity.not_before).to_string(),
            not_after: Moment(issued.validity.not_after).to_string(),
            expired: issued.validity.not_after < now,
            revoked: false,
        }
    }

    fn text(&self) -> String {
        let name = describe::printable(self.name);
        let state = if self.expired { "expired" } else { "valid" };
        row([&self.serial, &name, self.kind, &self.not_before, &self.not_after, state])
    }
}

fn row([serial, name, kind, from, until, state]: [&str; 6]) -> String {
    format!("{serial:<32}  {name:<20}  {kind:<11}  {from:<20}  {until:<20}  {state}")
}
