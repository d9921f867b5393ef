//! `vmm-ca revoke` and `vmm-ca crl`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use vmm_proto::authority::Serial;
use vmm_proto::name::Label;

use super::issuer::IssuerFiles;
use super::list_file::{ListFile, is_file};
use super::subtree::Subtree;
use super::{World, days};
use crate::database::{Database, Issued, Kind, Revoked};
use crate::issue::{self, Issuer};
use crate::time::Moment;
use crate::{Error, Refusal, describe, pem, serial};

/// Days until the next list is due when nothing is said.
const DAYS: u32 = 30;

/// Takes certificates back.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    by: IssuerFiles,
    /// Whose certificates to take back: a label (all that have not expired), or a certificate file
    /// (hello.pem) of this issuer
    #[arg(value_name = "LABEL|FILE", required_unless_present = "serials")]
    names: Vec<String>,
    /// Take back the certificate with this serial number, in hexadecimal; may be repeated
    #[arg(long = "serial", value_name = "HEX", value_parser = parse_serial)]
    serials: Vec<Serial>,
    /// Of a label, only certificates of this kind
    #[arg(long, value_enum)]
    kind: Option<KindName>,
    /// The database of a delegation further down, to show what else ends; may be repeated
    #[arg(long = "below", value_name = "DB")]
    below: Vec<PathBuf>,
    /// When the next list is due at the latest, but not after the issuer's end
    #[arg(long, default_value_t = DAYS, value_parser = days())]
    days: u32,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Issues a list of everything taken back so far.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    by: IssuerFiles,
    /// When the next list is due at the latest, but not after the issuer's end
    #[arg(long, default_value_t = DAYS, value_parser = days())]
    days: u32,
}

/// What a certificate can be, as an option.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindName {
    Delegation,
    Permissions,
    Machine,
    Server,
}

impl KindName {
    fn is(self, kind: &Kind) -> bool {
        match self {
            Self::Delegation => matches!(kind, Kind::Delegation(_)),
            Self::Permissions => matches!(kind, Kind::Permissions),
            Self::Machine => matches!(kind, Kind::Machine { .. }),
            Self::Server => matches!(kind, Kind::Server),
        }
    }
}

fn parse_serial(text: &str) -> Result<Serial, String> {
    serial::parse(text)
        .ok_or_else(|| "expected 1 to 20 octets in hexadecimal, as `vmm-ca list` shows".to_owned())
}

impl List {
    pub(super) fn run(&self, world: &mut World<'_>) -> Result<(), Error> {
        let issuer = self.by.load(world)?;
        let file = ListFile::of(&self.by, &issuer, world)?;
        let mut database = self.by.open_database(&issuer, world)?;
        file.write(&issuer, &mut database, Vec::new(), self.days, world)
    }
}

impl Revoke {
    pub(super) fn run(&self, world: &mut World<'_>) -> Result<(), Error> {
        let issuer = self.by.load(world)?;
        let file = ListFile::of(&self.by, &issuer, world)?;
        let mut database = self.by.open_database(&issuer, world)?;
        let subtree = Subtree::read(&self.below, world)?;

        let mut chosen: Vec<Chosen> = Vec::new();
        for name in &self.names {
            chosen.extend(if is_file(name) {
                vec![from_file(&world.path(name), &issuer, world.now)?]
            } else {
                self.of_label(&Label::parse(name)?, &database, world.now)?
            });
        }
        chosen.extend(self.serials.iter().map(|serial| by_serial(serial, &database)));

        world.say(format_args!("Issuer \"{}\" takes back:", issuer.subject()))?;
        let mut newly: Vec<Revoked> = Vec::new();
        for one in &chosen {
            let before = database.revoked().get(one.serial());
            world.say(format_args!("  {}", one.text(before)))?;
            if before.is_none() && !newly.iter().any(|revoked| revoked.serial == *one.serial()) {
                one.effects(&subtree, world)?;
                newly.push(one.revoked(world.now));
            }
        }
        if !self.yes {
            world.confirm("Revoke?")?;
        }
        file.write(&issuer, &mut database, newly, self.days, world)
    }

    /// Every certificate of the label that has not expired.
    fn of_label(
        &self,
        label: &Label,
        database: &Database,
        now: i64,
    ) -> Result<Vec<Chosen>, Refusal> {
        let of_label = |issued: &&Issued| {
            issued.name == label.as_str() && self.kind.is_none_or(|kind| kind.is(&issued.kind))
        };
        let all: Vec<&Issued> = database.issued().iter().filter(of_label).collect();
        let unexpired: Vec<Chosen> = all
            .iter()
            .filter(|issued| now <= issued.validity.not_after)
            .map(|issued| Chosen::Known((*issued).clone()))
            .collect();
        if !unexpired.is_empty() {
            return Ok(unexpired);
        }
        let database = self.by.database.display();
        Err(Refusal::NothingToRevoke(match all.last() {
            Some(last) => format!(
                "every certificate of \"{label}\" in {database} has expired, the last one at {}, and \
                 what has expired opens no door: a machine that still runs is ended by `vmm-client \
                 destroy`, or by taking back a delegation above it",
                Moment(last.validity.not_after)
            ),
            None => format!(
                "{database} knows no certificate of \"{label}\": `vmm-ca list {database}` shows \
                 what it knows; of what was made without it, give the certificate's file or \
                 --serial"
            ),
        }))
    }
}

/// A certificate to take back.
enum Chosen {
    Known(Issued),
    Serial(Serial),
}

impl Chosen {
    const fn serial(&self) -> &Serial {
        match self {
            Self::Known(issued) => &issued.serial,
            Self::Serial(serial) => serial,
        }
    }

    fn revoked(&self, now: i64) -> Revoked {
        match self {
            Self::Known(issued) => Revoked::of(issued, now),
            Self::Serial(serial) => Revoked::unknown(serial.clone(), now),
        }
    }

    fn text(&self, before: Option<&Revoked>) -> String {
        let before =
            before.map_or_else(String::new, |one| format!(", already since {}", Moment(one.at)));
        match self {
            Self::Known(Issued { serial, name, validity, kind, .. }) => format!(
                "{} ({}), serial {serial}, valid until {}{before}",
                describe::printable(name),
                kind.name(),
                Moment(validity.not_after)
            ),
            Self::Serial(serial) => {
                format!("serial {serial}, which is not in the database{before}")
            }
        }
    }

    /// What that means on a server, for a person who is about to do it.
    fn effects(&self, subtree: &Subtree, world: &mut World<'_>) -> Result<(), Error> {
        let Self::Known(issued) = self else { return Ok(()) };
        let effect = match &issued.kind {
            Kind::Root => "",
            Kind::Server => "clients refuse it only where they are given the list",
            Kind::Permissions => "its sessions are closed; machines stay",
            Kind::Machine { .. } => "the machine is stopped",
            Kind::Delegation(_) => {
                "everything below it ends with it: sessions are closed, machines are stopped"
            }
        };
        world.say(format_args!("    {effect}"))?;
        subtree.below(&issued.key, world.now).iter().try_for_each(|line| world.say(line))
    }
}

/// The first certificate of a file, which must be by this issuer.
fn from_file(path: &Path, issuer: &Issuer, now: i64) -> Result<Chosen, Error> {
    let certificates = pem::read_certificates(path)?;
    let own = issuer.chain().first().zip(certificates.first());
    let (above, below) =
        own.ok_or_else(|| Error::Malformed("no certificate in it".to_owned()).in_file(path))?;
    issue::is_signed_by(below, above).map_err(|_| {
        let (path, issuer) = (path.display(), issuer.subject());
        let problem = format!("{path} is not by \"{issuer}\": only its issuer can take it back");
        Refusal::NothingToRevoke(problem)
    })?;
    let found = Issued::of(below).map_err(|error| error.in_file(path))?;
    if found.validity.not_after < now {
        let until = Moment(found.validity.not_after);
        let problem = format!("{} expired at {until}: it opens no door", path.display());
        return Err(Refusal::NothingToRevoke(problem).into());
    }
    Ok(Chosen::Known(found))
}

fn by_serial(serial: &Serial, database: &Database) -> Chosen {
    let known = database.issued().iter().find(|issued| issued.serial == *serial);
    known.map_or_else(|| Chosen::Serial(serial.clone()), |issued| Chosen::Known(issued.clone()))
}
