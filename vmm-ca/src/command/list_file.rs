//! The file of an issuer's revocation list, `DB.crl`: what there is of it, and a new one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use vmm_proto::authority::{Serial, Validity};
use x509_parser::extensions::ParsedExtension;
use x509_parser::revocation_list::CertificateRevocationList;

use super::World;
use super::issuer::IssuerFiles;
use crate::database::{Database, ListMade, Revoked};
use crate::issue::Issuer;
use crate::pem::{self, Section};
use crate::time::{BACKDATED, DAY, Moment};
use crate::{Error, file, revocation};

/// The file that an issuer's list is written to, found free, or holding an older list of that key.
pub(super) struct ListFile {
    path: PathBuf,
    name: String,
    /// What the older list names.
    named: Vec<Serial>,
    /// Its cRLNumber.
    number: Option<u64>,
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
        let sections = pem::sections(&file::read(&self.path, pem::MAX_FILE)?).unwrap_or_default();
        let older = match sections.first() {
            Some(Section::RevocationList(der)) => x509_parser::parse_x509_crl(der).ok(),
            _ => None,
        };
        let own = issuer.certificate().subject_key_id.as_deref();
        let Some((_, older)) = older.filter(|(_, list)| authority_key_id(list) == own) else {
            let way_out = "it is not an older revocation list of this issuer: move it away, or \
                           work in another directory"
                .to_owned();
            return Err(Error::Exists { file: self.path.clone(), way_out });
        };
        self.number = older.crl_number().and_then(|number| number.try_into().ok());
        self.named =
            older.iter_revoked_certificates().map(|one| Serial(one.raw_serial().into())).collect();
        Ok(())
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

        let previous = database.last_list().map(|made| made.number).max(self.number);
        let number = next_number(previous, world.now)?;
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

    /// What the older list names and the database does not: it must not be forgotten.
    fn lost_by(&self, database: &Database, newly: &[Revoked]) -> Vec<Serial> {
        let known = |serial: &Serial| {
            database.revoked().contains_key(serial)
                || newly.iter().any(|revoked| revoked.serial == *serial)
        };
        self.named.iter().filter(|serial| !known(serial)).cloned().collect()
    }
}

/// The larger of now and one more than the last one, like a generation: so the number grows even
/// when the database was lost.
fn next_number(last: Option<u64>, now: i64) -> Result<u64, Error> {
    let next = match last {
        None => 0,
        Some(last) => last
            .checked_add(1)
            .ok_or_else(|| Error::Malformed("the last list has the largest number".to_owned()))?,
    };
    Ok(next.max(u64::try_from(now).unwrap_or(0)))
}

/// From thisUpdate, backdated as certificates are, to nextUpdate, both while the issuer is valid.
fn validity(issuer: &Issuer, days: u32, now: i64) -> Validity {
    let issuer = issuer.validity();
    Validity {
        not_before: (now - BACKDATED).max(issuer.not_before),
        not_after: now.saturating_add(i64::from(days) * DAY).min(issuer.not_after),
    }
}

fn authority_key_id<'l>(list: &'l CertificateRevocationList<'_>) -> Option<&'l [u8]> {
    list.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    })
}

/// Says where a path is a file of certificates rather than a label: no label has a dot or a slash.
pub(super) fn is_file(name: &str) -> bool {
    name.contains('.') || Path::new(name).components().count() > 1
}
