//! `vmm-ca sign`

use std::path::{Path, PathBuf};

use clap::Args;
use rustls_pki_types::CertificateDer;
use vmm_proto::authority::Validity;
use vmm_proto::chain::certificate::Certificate;
use vmm_proto::grant::Grant;
use vmm_proto::name::Label;
use vmm_proto::resource::MAX_GENERATION;

use super::issuer::{IssuerFiles, spare};
use super::preview::{Preview, is_of};
use super::{World, days};
use crate::database::{Database, Issued, Kind};
use crate::file;
use crate::issue::Issuer;
use crate::request::Request;
use crate::time::{DAY, Moment, within};
use crate::{Error, Refusal, pem};

/// Days that a delegation is valid when nothing is said.
pub(super) const DELEGATION_DAYS: u32 = 365;

/// Days that a leaf is valid when nothing is said.
const LEAF_DAYS: u32 = 30;

/// Signs a request.
#[derive(Debug, Args)]
pub(super) struct Sign {
    #[command(flatten)]
    by: IssuerFiles,
    /// The request
    request: PathBuf,
    /// How long the certificate is valid, but no longer than the issuer (default: 365 for a
    /// delegation, 30 for a leaf)
    #[arg(long, value_parser = days())]
    days: Option<u32>,
    /// Give a label whose certificate is still valid another one, in its place
    #[arg(long)]
    renew: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Refuse what would promise more than the issuer has, instead of warning
    #[arg(long)]
    no_overcommit: bool,
}

impl Sign {
    pub(super) fn run(self, world: &mut World<'_>) -> Result<(), Error> {
        let issuer = self.by.load(world)?;
        let request = load_request(&world.path(&self.request))?;
        let output = Output::of(&request, &issuer, world)?;
        let outputs = [output.certificate.as_path(), output.bundle.as_path()];
        self.by.spare(&outputs, world)?;
        spare([&self.request], &outputs, world)?;
        let mut database = self.by.open_database(&issuer, world)?;

        let preview = Preview::new(&request, &issuer, &database, world.now);
        let validity = self.validity(&request, &issuer, world.now);
        world.say(preview.text.trim_end())?;
        world.say(format_args!(
            "Valid: {} to {}{}",
            Moment(validity.not_before),
            Moment(validity.not_after),
            self.cut(validity, &request, world.now)
        ))?;
        for note in &preview.notes {
            world.warn(note)?;
        }
        issuer.admits(&request)?;
        let old = renewed(&request, &database, world.now, self.renew)?;
        self.judge_overcommitment(&preview, world)?;
        if !self.yes {
            world.confirm("Sign?")?;
        }

        let grant = with_generation(&request, database.issued(), world.now)?;
        let certificate = issuer.sign(&request, &grant, validity)?;
        database.record(&certificate)?;
        hand_out([(&output, &certificate)], &issuer, world)?;
        let label = &request.label;
        world.say(format_args!("{label}.pem      the certificate"))?;
        world.say(format_args!("{label}.bundle   it and the chain above it"))?;
        match old.filter(|_| matches!(request.grant, Grant::Delegation(_))) {
            Some(old) => world.say(consequences(&old, &request)),
            None => Ok(()),
        }
    }

    fn days(&self, request: &Request) -> u32 {
        self.days.unwrap_or(match request.grant {
            Grant::Delegation(_) => DELEGATION_DAYS,
            Grant::Permissions(_) | Grant::Machine(_) => LEAF_DAYS,
        })
    }

    fn validity(&self, request: &Request, issuer: &Issuer, now: i64) -> Validity {
        within(issuer.validity(), now, i64::from(self.days(request)) * DAY)
    }

    /// Said when the certificate ends before its time, because its issuer does.
    fn cut(&self, validity: Validity, request: &Request, now: i64) -> String {
        let days = self.days(request);
        if validity.not_after < now + i64::from(days) * DAY {
            format!(", with its issuer (not {days} days)")
        } else {
            String::new()
        }
    }

    fn judge_overcommitment(&self, preview: &Preview, world: &mut World<'_>) -> Result<(), Error> {
        for overcommitment in &preview.overcommitted {
            if self.no_overcommit {
                return Err(Refusal::Overcommitted(overcommitment.to_string()).into());
            }
            world.warn(overcommitment)?;
        }
        Ok(())
    }
}

pub(super) fn load_request(path: &Path) -> Result<Request, Error> {
    pem::request(&file::read(path, pem::MAX_FILE)?)
        .and_then(|der| Request::parse(&der))
        .map_err(|error| error.in_file(path))
}

/// The certificate that a new one takes the place of, if there is one and that is meant.
pub(super) fn renewed(
    request: &Request,
    database: &Database,
    now: i64,
    meant: bool,
) -> Result<Option<Issued>, Refusal> {
    match database.live(now).filter(|issued| is_of(request, issued)).last() {
        Some(old) if !meant => Err(Refusal::StillValid {
            kind: old.kind.name(),
            label: old.name.clone(),
            serial: old.serial.to_string(),
            until: Moment(old.validity.not_after),
        }),
        old => Ok(old.cloned()),
    }
}

/// What follows for those below when a delegation is renewed: the server takes the newest one that it
/// was shown, and no older one any more (profile, rule 9).
fn consequences(old: &Issued, request: &Request) -> String {
    let label = &request.label;
    if old.key == request.key_digest() {
        format!(
            "Once a server was shown it, bundles with the older certificate are refused: put \
             {label}.pem in its place (cat LEAF.pem {label}.bundle > LEAF.bundle)"
        )
    } else {
        format!(
            "It is for another key: what was signed with the older one ends once a server was shown \
             {label}.pem, and is to be signed anew, with a new database for the new key"
        )
    }
}

/// The grant to sign: a delegation's generation is the signer's (profile, rule 9), the larger of
/// now and one more than the last one given to that label.
pub(super) fn with_generation(
    request: &Request,
    issued: &[Issued],
    now: i64,
) -> Result<Grant, Error> {
    let Grant::Delegation(mut share) = request.grant.clone() else {
        return Ok(request.grant.clone());
    };
    let last = issued
        .iter()
        .filter(|certificate| certificate.name == request.label.as_str())
        .filter_map(|certificate| match &certificate.kind {
            Kind::Delegation(share) => Some(share.generation),
            _ => None,
        })
        .max();
    let next = last.map_or(0, |last| last.saturating_add(1));
    share.generation = next.max(u64::try_from(now).unwrap_or(0));
    if share.generation > MAX_GENERATION {
        return Err(vmm_proto::resource::ResourceError::Generation.into());
    }
    Ok(Grant::Delegation(share))
}

/// Where the certificate goes.
pub(super) struct Output {
    pub(super) certificate: PathBuf,
    pub(super) bundle: PathBuf,
}

impl Output {
    /// An older certificate of the same issuer, kind and label is replaced; anything else that goes
    /// by the name is not.
    pub(super) fn of(request: &Request, issuer: &Issuer, world: &World<'_>) -> Result<Self, Error> {
        let label = &request.label;
        let output = Self {
            certificate: world.path(format!("{label}.pem")),
            bundle: world.path(format!("{label}.bundle")),
        };
        for file in [&output.certificate, &output.bundle] {
            if std::fs::symlink_metadata(file).is_ok()
                && !is_older(file, label, request.grant.kind(), issuer)
            {
                let way_out = format!(
                    "it is not an older {} certificate for \"{label}\" by this issuer: move it \
                     away, or sign in another directory",
                    request.grant.kind()
                );
                return Err(Error::Exists { file: file.clone(), way_out });
            }
        }
        Ok(output)
    }

    /// The files and what goes into them.
    fn files<'o>(
        &'o self,
        certificate: &CertificateDer<'static>,
        issuer: &Issuer,
    ) -> [(&'o Path, String); 2] {
        let chain = std::iter::once(certificate).chain(issuer.chain_above());
        [
            (&self.certificate, pem::encode_certificates([certificate])),
            (&self.bundle, pem::encode_certificates(chain)),
        ]
    }
}

/// Hands out what was signed and is in the database: everything, or nothing when there is no room.
pub(super) fn hand_out<'o>(
    signed: impl IntoIterator<Item = (&'o Output, &'o CertificateDer<'static>)>,
    issuer: &Issuer,
    world: &mut World<'_>,
) -> Result<(), Error> {
    let files = signed.into_iter().flat_map(|(output, it)| output.files(it, issuer));
    let written = file::replace_all(files);
    if written.is_err() {
        world.warn(
            "what was signed is in the database, and could not be written: sign it again with \
             --renew",
        )?;
    }
    written
}

fn is_older(file: &Path, label: &Label, kind: &str, issuer: &Issuer) -> bool {
    let Ok(certificates) = pem::read_certificates(file) else { return false };
    certificates.first().and_then(|first| Certificate::parse(first).ok()).is_some_and(|old| {
        old.subject == label.as_str() && old.role.name() == kind && issuer.is_author_of(&old)
    })
}
