//! The file of an issuer's revocation list, `DB.crl`: what there is of it, and a new one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use vmm_proto::authority::{Serial, Validity};
use vmm_proto::chain::crl::Crl;
use vmm_proto::chain::crl::pem::{self, CrlFile};
use vmm_proto::revocation::CrlNumber;

use super::World;
use super::issuer::IssuerFiles;
use crate::database::{Database, ListMade, Revoked};
use crate::issue::Issuer;
use crate::time::{BACKDATED, DAY, Moment};
use crate::{Error, file, revocation};

/// The file that an issuer's list is written to, found free, or holding an older list of that key.
pub(super) struct ListFile {
    path: PathBuf,
    name: String,
    /// What the older list names.
    named: Vec<Serial>,
    /// Its cRLNumber.
    number: Option<CrlNumber>,
}

impl ListFile {
    /// Named like the database, in the current directory: `dev.db` has `dev.crl`.
    pub(super) fn of(by: &IssuerFiles, issuer: &Issuer, world: &World<'_>) -> Result<Self, Error> {
        let name = by.database.file_stem().unwrap_or(OsStr::new("ca")).to_string_lossy();
        let name = format!("{name}.crl");
        let path = world.path(&name);
        by.spare(&[path.as_path()], world)?;
        let mut found = Self { path, name, named: Vec::new(), number: None };
        if std::fs::symlink_metadata(&found.path).is_ok() {
            found.read_older(issuer)?;
        }
        Ok(found)
    }

    fn read_older(&mut self, issuer: &Issuer) -> Result<(), Error> {
        let text = file::read(&self.path, pem::MAX_FILE as u64)?;
        self.read_list(&text, issuer).ok_or_else(|| {
            let way_out = "it is not an older revocation list of this issuer: move it away, or \
                           work in another directory"
                .to_owned();
            Error::Exists { file: self.path.clone(), way_out }
        })
    }

    fn read_list(&mut self, text: &[u8], issuer: &Issuer) -> Option<()> {
        let older = CrlFile::parse(text).ok()?;
        let older = Crl::parse(&older.der).ok()?;
        let own = issuer.certificate().subject_key_id.as_deref();
        if older.authority_key_id() != own {
            return None;
        }
        self.number = Some(older.number());
        let serials = older.entries().map(|serial| serial.map(|octets| Serial(octets.into())));
        self.named = serials.collect::<Result<_, _>>().ok()?;
        Some(())
    }

    /// Signs a list of everything that this issuer took back, `newly` included, and writes it. It is
    /// in the database first.
    pub(super) fn write(
        &self,
        issuer: &Issuer,
        database: &mut Database,
        mut newly: Vec<Revoked>,
        days: u32,
        world: &mut World<'_>,
    ) -> Result<(), Error> {
        let forgotten = self.lost_by(database, &newly);
        if !forgotten.is_empty() {
            world.warn(format_args!(
                "{} names {} serials that the database does not know as revoked: it is older than \
                 the list, or has lost records. They stay on the list",
                self.name,
                forgotten.len()
            ))?;
        }
        newly.extend(forgotten.into_iter().map(|serial| Revoked::unknown(serial, world.now)));

        let number = self.next_number(database, world.now)?;
        let validity = validity(issuer, days, world.now);
        let known = database.revoked().values();
        let listed: Vec<&Revoked> =
            known.chain(&newly).filter(|revoked| revoked.is_listed(world.now)).collect();
        let entries = listed.len();
        let signed = revocation::sign(issuer, listed, number, validity)?;
        let made = ListMade {
            number,
            at: world.now,
            next_update: validity.not_after,
            entries: entries as u64,
        };
        database.record_list(&newly, made)?;
        if let Err(error) = file::replace(&self.path, &revocation::to_file(&signed, issuer)) {
            world.warn(format_args!(
                "what was taken back is in the database, and {} could not be written: `vmm-ca crl` \
                 makes it again",
                self.name
            ))?;
            return Err(error);
        }
        let serials = if entries == 1 { "1 serial" } else { &format!("{entries} serials") };
        let until = Moment(validity.not_after);
        world.say(format_args!(
            "{:<12} revocation list {number}, {serials}, a next one by {until}; hand it in: \
             vmm-client … revoke {0}",
            self.name
        ))
    }

    /// The larger of now and one more than the last one, like a generation: so the number grows even
    /// when the database was lost.
    fn next_number(&self, database: &Database, now: i64) -> Result<u64, Error> {
        let after = |last: u64| last.checked_add(1);
        let mut number = u64::try_from(now).unwrap_or(0);
        if let Some(last) = database.last_list() {
            number = number.max(after(last.number).ok_or_else(too_large)?);
        }
        if let Some(last) = self.number.filter(|last| *last >= CrlNumber::from(number)) {
            let last = last.to_string().parse().map_err(|_| too_large())?;
            number = after(last).ok_or_else(too_large)?;
        }
        Ok(number)
    }

    /// What the older list names and the database does not: it must not be forgotten.
    fn lost_by(&self, database: &Database, newly: &[Revoked]) -> Vec<Serial> {
        let known = |serial: &Serial| {
            database.revoked().contains_key(serial)
                || newly.iter().any(|revoked| revoked.serial == *serial)
        };
        self.named.iter().filter(|serial| !known(serial)).cloned().collect()
    }
}

fn too_large() -> Error {
    Error::Malformed("the last list has a number after which there is none of 64 bits".to_owned())
}

/// From thisUpdate, backdated as certificates are, to nextUpdate, both while the issuer is valid.
fn validity(issuer: &Issuer, days: u32, now: i64) -> Validity {
    let issuer = issuer.validity();
    Validity {
        not_before: (now - BACKDATED).max(issuer.not_before),
        not_after: now.saturating_add(i64::from(days) * DAY).min(issuer.not_after),
    }
}

/// Says where a path is a file of certificates rather than a label: no label has a dot or a slash.
pub(super) fn is_file(name: &str) -> bool {
    name.contains('.') || Path::new(name).components().count() > 1
}
