//! `vmm-ca sign-batch`

mod row;

use std::path::{Path, PathBuf};

use clap::Args;
use vmm_proto::authority::{Serial, Validity};
use vmm_proto::grant::Grant;

use super::World;
use super::issuer::{IssuerFiles, spare};
use super::sign::{Output, hand_out, renewed, with_generation};
use crate::database::{Database, Issued, Kind};
use crate::file::{NewFiles, none_exists};
use crate::given::{Given, Sum};
use crate::issue::Issuer;
use crate::request::Request;
use crate::time::{DAY, Moment, within};
use crate::{Error, Refusal, describe};
use row::Row;

/// Signs many delegations.
#[derive(Debug, Args)]
pub(super) struct SignBatch {
    #[command(flatten)]
    by: IssuerFiles,
    /// The delegations, one a row
    file: PathBuf,
    /// Give labels whose certificates are still valid others, in their place
    #[arg(long)]
    renew: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Refuse what would promise more than the issuer has, instead of warning
    #[arg(long)]
    no_overcommit: bool,
}

/// A row that was found good.
struct Checked {
    row: Row,
    output: Output,
    validity: Validity,
    /// What it will be, for the sums of the rows behind it.
    promised: Issued,
}

impl SignBatch {
    pub(super) fn run(&self, world: &mut World<'_>) -> Result<(), Error> {
        let issuer = self.by.load(world)?;
        let mut database = self.by.open_database(&issuer, world)?;
        let rows = row::read(&world.path(&self.file), world)?;

        let mut checked: Vec<Checked> = Vec::new();
        let mut bad = 0;
        for row in rows {
            let place = format!("{}, row {}", self.file.display(), row.number);
            match row.parsed.and_then(|row| self.check(row, &checked, &issuer, &database, world)) {
                Ok((good, warnings)) => {
                    for warning in warnings {
                        world.warn(format_args!("{place}: {warning}"))?;
                    }
                    checked.push(good);
                }
                Err(error) => {
                    bad += 1;
                    world.complain(&Error::Usage(format!("{place}: {error}")))?;
                }
            }
        }
        if bad > 0 {
            return Err(Refusal::Batch(bad).into());
        }
        for one in &checked {
            world.say(one.line())?;
        }
        if !self.yes {
            world.confirm(&format!("Sign {} delegations?", checked.len()))?;
        }
        sign(&checked, &issuer, &mut database, world)
    }

    /// Everything that `vmm-ca sign` would ask of one row, the rows before it given.
    fn check(
        &self,
        row: Row,
        before: &[Checked],
        issuer: &Issuer,
        database: &Database,
        world: &World<'_>,
    ) -> Result<(Checked, Vec<String>), Error> {
        let request = &row.request;
        if before.iter().any(|one| one.row.request.label == request.label) {
            let label = &request.label;
            return Err(Error::Usage(format!("\"{label}\" stands in a row before")));
        }
        let output = Output::of(request, issuer, world)?;
        let outputs = [output.certificate.as_path(), output.bundle.as_path()];
        self.by.spare(&outputs, world)?;
        spare([&self.file], &outputs, world)?;
        if let Some((file, _)) = &row.key {
            none_exists(
                [file.as_path()],
                "a private key is never replaced: ask for it by a request",
            )?;
        }
        issuer.admits(request)?;
        renewed(request, database, world.now, self.renew)?;
        let promised = before.iter().map(|one| &one.promised).chain(database.live(world.now));
        let given = Given::to_others(promised, &request.label, &request.grant, world.now);
        let over = given.overcommitted(&request.grant, issuer.bounds());
        if let Some(first) = over.first().filter(|_| self.no_overcommit) {
            return Err(Refusal::Overcommitted(first.to_string()).into());
        }
        let warnings = over.iter().map(ToString::to_string).collect();
        let validity = within(issuer.validity(), world.now, i64::from(row.days) * DAY);
        let promised = promise(request, validity)?;
        Ok((Checked { row, output, validity, promised }, warnings))
    }
}

/// Signs all rows, then writes: the keys, the database, the certificates.
fn sign(
    checked: &[Checked],
    issuer: &Issuer,
    database: &mut Database,
    world: &mut World<'_>,
) -> Result<(), Error> {
    let mut certificates = Vec::new();
    for one in checked {
        let grant = with_generation(&one.row.request, database.issued(), world.now)?;
        certificates.push(issuer.sign(&one.row.request, &grant, one.validity)?);
    }
    let mut keys = NewFiles::default();
    for (file, key) in checked.iter().filter_map(|one| one.row.key.as_ref()) {
        keys.secret(file, &key.to_pem())?;
    }
    database.record_all(&certificates.iter().collect::<Vec<_>>())?;
    keys.keep();
    hand_out(checked.iter().map(|one| &one.output).zip(&certificates), issuer, world)?;
    let count = checked.len();
    world.say(format_args!(
        "{count} delegations signed: LABEL.pem, LABEL.bundle, and LABEL.key where one was made"
    ))
}

impl Checked {
    fn line(&self) -> String {
        let Request { label, grant, .. } = &self.row.request;
        let Sum { machines, memory_mib, storage_mib } = Sum::of_grant(grant);
        let (cpus, bridges) = match grant {
            Grant::Delegation(share) => {
                let bridges: Vec<String> = share
                    .bridges
                    .iter()
                    .map(|bridge| format!("{}: {}", bridge.name(), describe::addresses(bridge)))
                    .collect();
                (share.cpus.to_string(), bridges.join("; "))
            }
            _ => (String::new(), String::new()),
        };
        let until = Moment(self.validity.not_after);
        format!(
            "  {label:<20} machines {machines}, memory {memory_mib} MiB, storage {storage_mib} MiB, \
             CPUs {cpus}, bridges {}, until {until}",
            if bridges.is_empty() { "none" } else { &bridges }
        )
    }
}

/// A delegation as it will be, as far as sums need it.
fn promise(request: &Request, validity: Validity) -> Result<Issued, Error> {
    let Grant::Delegation(share) = &request.grant else {
        return Err(Error::Usage(format!(
            "a request for {}, and a batch is of delegations",
            request.grant.kind()
        )));
    };
    Ok(Issued {
        serial: Serial(Box::default()),
        name: request.label.to_string(),
        validity,
        key: request.key_digest(),
        kind: Kind::Delegation(Box::new(share.clone())),
    })
}

/// The file of a key that is made for a label.
fn key_file(label: &str, world: &World<'_>) -> PathBuf {
    world.path(Path::new(&format!("{label}.key")))
}
