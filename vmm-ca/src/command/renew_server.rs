//! `vmm-ca renew-server`

use std::path::{Path, PathBuf};

use clap::Args;
use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateDer;
use vmm_proto::chain::certificate::{Certificate, Role};

use super::init::self_test;
use super::issuer::IssuerFiles;
use super::{World, days};
use crate::file::{NewFiles, none_exists};
use crate::inspect::{Contents, Item};
use crate::issue::{self, Issuer};
use crate::key::{Algorithm, Key};
use crate::profile::ServerName;
use crate::time::{DAY, Moment, within};
use crate::{Error, Refusal, file, pem};

/// Gives a server a new certificate.
#[derive(Debug, Args)]
pub(super) struct RenewServer {
    #[command(flatten)]
    by: IssuerFiles,
    /// The server's certificate, which is replaced
    server: PathBuf,
    /// How long the new one is valid, but no longer than the issuer
    #[arg(long, default_value_t = 365, value_parser = days())]
    days: u32,
    /// A DNS name or an IP address by which the server is dialled, instead of those so far; may be
    /// repeated
    #[arg(long = "server", value_name = "HOST")]
    names: Vec<String>,
    /// Make the server a new key, in this new file
    #[arg(long, value_name = "FILE")]
    new_key: Option<PathBuf>,
    /// The kind of the new key
    #[arg(long, value_enum, default_value_t, requires = "new_key")]
    algorithm: Algorithm,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// The certificate so far.
struct Old {
    parsed: Certificate,
    key: SubjectPublicKeyInfo,
    names: Vec<String>,
}

impl RenewServer {
    pub(super) fn run(&self, world: &mut World<'_>) -> Result<(), Error> {
        let issuer = self.by.load(world)?;
        if issuer.bounds().is_some() {
            return Err(Refusal::NotTheRoot(issuer.subject().to_owned()).into());
        }
        let path = world.path(&self.server);
        self.by.spare(&[path.as_path()], world)?;
        let new_key = self.new_key.as_ref().map(|file| world.path(file));
        let new_files = new_key.iter().map(PathBuf::as_path);
        none_exists(new_files, "a private key is never replaced: name another file")?;
        let old = Old::read(&path, &issuer)?;
        let given = if self.names.is_empty() { &old.names } else { &self.names };
        let names =
            given.iter().map(|name| ServerName::parse(name)).collect::<Result<Vec<_>, _>>()?;
        let mut database = self.by.open_database(&issuer, world)?;

        let validity = within(issuer.validity(), world.now, i64::from(self.days) * DAY);
        let until = Moment(validity.not_after);
        world.say(format_args!(
            "The server {}, until {until} (so far: serial {}, until {})",
            given.join(", "),
            old.parsed.serial,
            Moment(old.parsed.validity.not_after)
        ))?;
        if new_key.is_some() {
            world.warn(
                "delegations that name this server by its key so far (--host) are not good for the \
                 new one",
            )?;
        }
        if !self.yes {
            world.confirm("Sign?")?;
        }

        let mut files = NewFiles::default();
        let certificate = match &new_key {
            None => issuer.certify_server(&names, &old.key, validity)?,
            Some(file) => {
                let key = Key::generate(self.algorithm)?;
                files.secret(file, &key.to_pem())?;
                issuer.certify_server(&names, &key, validity)?
            }
        };
        let root = issuer.chain().first().ok_or_else(|| Error::SelfTest("no issuer".to_owned()))?;
        self_test(&certificate, root, &names, world.now)?;
        database.record(&certificate)?;
        files.keep();
        file::replace(&path, &pem::encode_certificates([&certificate]))?;
        if let Some(file) = &self.new_key {
            world.say(format_args!("{:<12} the server's new private key", file.display()))?;
        }
        world.say(format_args!("{:<12} the server, until {until}", self.server.display()))
    }
}

impl Old {
    fn read(path: &Path, issuer: &Issuer) -> Result<Self, Error> {
        let wrong = |problem: String| Error::Malformed(problem).in_file(path);
        let certificates = pem::read_certificates(path)?;
        let first = certificates.first().ok_or_else(|| wrong("no certificate in it".to_owned()))?;
        let parsed = Certificate::parse(first).map_err(|error| wrong(error.to_string()))?;
        if parsed.role != Role::Server {
            let role = parsed.role.name();
            return Err(wrong(format!("a {role} certificate, where a server's is taken")));
        }
        let root = issuer.chain().first().ok_or_else(|| wrong("no issuer".to_owned()))?;
        issue::is_signed_by(first, root)?;
        let contents = Contents::of(first)?;
        let Some(Item::Certificate(facts)) = contents.items.into_iter().next() else {
            return Err(wrong("no certificate in it".to_owned()));
        };
        Ok(Self { parsed, key: public_key(first)?, names: facts.names })
    }
}

fn public_key(der: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfo, Error> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der)
        .map_err(|_| Error::Malformed("not an X.509 certificate in DER".to_owned()))?;
    Ok(SubjectPublicKeyInfo::from_der(parsed.public_key().raw)?)
}
