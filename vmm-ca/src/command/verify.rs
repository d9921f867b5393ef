//! `vmm-ca verify`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rustls_pki_types::CertificateDer;
use vmm_proto::authority::{Holder, Link, Validity};
use vmm_proto::chain::certificate::{Certificate, Role};
use vmm_proto::chain::crl::pem::CrlFile;
use vmm_proto::chain::crl::{CrlError, authorize_crl, authorize_issuer};
use vmm_proto::chain::{self, Root};
use vmm_proto::grant::Grant;
use vmm_proto::id::Digest;
use vmm_proto::revocation::{NotTaken, Revocations};

use super::World;
use crate::time::Moment;
use crate::{Error, Refusal, describe, file, issue, pem, time};

/// Judges a chain.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The chain: a leaf's or a delegation's .bundle, or server.pem
    bundle: PathBuf,
    /// The root's certificate
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    /// A revocation list that the server was handed; may be repeated
    #[arg(long = "crl", value_name = "FILE")]
    lists: Vec<PathBuf>,
    /// The server that the chain would be shown to (default: any)
    #[arg(long, value_name = "SERVER.pem")]
    server: Option<PathBuf>,
    /// The moment to judge at, like 2030-01-31T12:00:00Z or 2030-01-31 (default: now)
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    at: Option<Moment>,
}

/// By what it is judged.
struct Court {
    root: Root,
    server: Option<Digest>,
    lists: Revocations,
    now: i64,
}

impl Verify {
    pub(super) fn run(&self, world: &mut World<'_>) -> Result<(), Error> {
        let presented = pem::read_certificates(&world.path(&self.bundle))?;
        let court = self.court(world)?;
        world.say(format_args!("At {}, from the root down:", Moment(court.now)))?;
        let root = [CertificateDer::from(court.root.der())];
        let without_root = presented.iter().filter(|der| der.as_ref() != court.root.der());
        for der in root.iter().chain(without_root.rev()) {
            show(der, court.now, world)?;
        }
        let accepted = court.judge(&presented).map_err(|why| Error::from(Refusal::Verdict(why)))?;
        world.say(format_args!("Verdict: {accepted}"))
    }

    fn court(&self, world: &mut World<'_>) -> Result<Court, Error> {
        let root = first(&world.path(&self.root))?;
        let root = Root::from_der(&root)
            .map_err(|error| Error::Malformed(error.to_string()).in_file(&self.root))?;
        let server = self.server.as_ref().map(|file| server_key(&world.path(file))).transpose()?;
        let now = self.at.map_or(world.now, |at| at.0);
        let mut court = Court { root, server, lists: Revocations::default(), now };
        for name in &self.lists {
            court.take(&world.path(name), name, world)?;
        }
        Ok(court)
    }
}

impl Court {
    /// Takes a list as a server does when it is handed in.
    fn take(&mut self, path: &Path, name: &Path, world: &mut World<'_>) -> Result<(), Error> {
        let text = file::read(path, chain::crl::pem::MAX_FILE as u64)?;
        let given = CrlFile::parse(&text)
            .map_err(|error| Error::Malformed(error.to_string()).in_file(path))?;
        let name = name.display();
        let refused = |why: String| Error::from(Refusal::Verdict(format!("{name}: {why}")));
        let server = self.server.as_ref();
        let list = authorize_crl(&given.der, &given.chain, &self.root, server, self.now)
            .map_err(|error| refused(error.to_string()))?
            .list;
        let issuer =
            if list.path.is_host() { "the root".into() } else { format!("{}/", list.path) };
        world.say(format_args!(
            "{name}: list {} of {issuer}, {} serials, a next one by {}",
            list.number,
            list.serials.len(),
            Moment(list.next_update)
        ))?;
        if list.next_update < self.now {
            world.warn(format_args!(
                "{name} is overdue: what was taken back since then is not known"
            ))?;
        }
        match self.lists.take(Arc::new(list)) {
            Ok(_) => Ok(()),
            Err(same @ NotTaken::Known { .. }) => world.warn(same),
            Err(error) => Err(refused(error.to_string())),
        }
    }

    /// What it is accepted as, or why it is refused.
    fn judge(&self, presented: &[CertificateDer<'_>]) -> Result<String, String> {
        let role = presented.first().and_then(|first| Certificate::parse(first).ok());
        match role.map(|certificate| (certificate.serial, certificate.role)) {
            Some((serial, Role::Server)) => {
                chain::verify_server_path(presented, &self.root, self.now)
                    .map_err(|error| error.to_string())?;
                if self.lists.holds(&self.root.key(), &serial) {
                    return Err("the root took it back (certificate profile, rule 8)".to_owned());
                }
                Ok("accepted as a server".to_owned())
            }
            Some((_, Role::Delegation(_))) => {
                let links = authorize_issuer(presented, &self.root, self.server.as_ref(), self.now)
                    .map_err(|error| match error {
                        CrlError::Chain(error) => error.to_string(),
                        other => other.to_string(),
                    })?;
                if let Some(revoked) = self.lists.among(&links) {
                    return Err(revoked.to_string());
                }
                Ok(format!("accepted as the delegation {}/", path(&links)))
            }
            _ => self.judge_leaf(presented),
        }
    }

    fn judge_leaf(&self, presented: &[CertificateDer<'_>]) -> Result<String, String> {
        let server = self.server.as_ref();
        let authorized = chain::authorize(presented, &self.root, server, self.now)
            .map_err(|error| error.to_string())?;
        if let Some(revoked) = self.lists.of(&authorized) {
            return Err(revoked.to_string());
        }
        let name = authorized.describe();
        let validity = authorized.validity();
        let until = Moment(validity.not_after);
        match authorized.holder() {
            Holder::Machine(machine) => {
                for link in authorized.links() {
                    issue::machine_fits(machine, &link.grant).map_err(|misfit| {
                        let label = &link.label;
                        format!("\"{label}\": {misfit} (certificate profile, rule 7)")
                    })?;
                }
                Ok(format!("accepted as the machine {name}, until {until}"))
            }
            Holder::Permissions(allowed) => {
                let path = authorized.path();
                let below = if path.is_host() { "the host".to_owned() } else { format!("{path}/") };
                Ok(format!("accepted as {name}, for {below}: {allowed}, until {until}"))
            }
            Holder::Admin => Err("a chain is no admin".to_owned()),
        }
    }
}

fn path(links: &[Link]) -> String {
    links.iter().map(|link| link.label.as_str()).collect::<Vec<_>>().join("/")
}

/// One certificate, with what it grants or why it is none.
fn show(der: &CertificateDer<'_>, now: i64, world: &mut World<'_>) -> Result<(), Error> {
    let certificate = match Certificate::parse(der) {
        Ok(certificate) => certificate,
        Err(error) => {
            return world.say(format_args!("a certificate that breaks the profile: {error}"));
        }
    };
    let Validity { not_before, not_after } = certificate.validity;
    let state = if certificate.validity.contains(now) { "" } else { ": not at this moment" };
    let (role, subject) = (certificate.role.name(), describe::printable(&certificate.subject));
    world.say(format_args!("{role} {subject}"))?;
    world.say(format_args!("  {:<12} {}", "serial", certificate.serial))?;
    world.say(format_args!("  {:<12} SHA-256 {}", "key", certificate.key))?;
    world.say(format_args!(
        "  {:<12} {} to {}{state}",
        "valid",
        Moment(not_before),
        Moment(not_after)
    ))?;
    let grant = match certificate.role {
        Role::Root | Role::Server => return Ok(()),
        Role::Delegation(share) => Grant::Delegation(share),
        Role::Permissions(allowed) => Grant::Permissions(allowed),
        Role::Machine(machine) => Grant::Machine(*machine),
    };
    describe::grant(&grant)
        .iter()
        .try_for_each(|(name, what)| world.say(format_args!("  {name:<12} {what}")))
}

fn first(path: &Path) -> Result<CertificateDer<'static>, Error> {
    let certificates = pem::read_certificates(path)?;
    let first = certificates.into_iter().next();
    first.ok_or_else(|| Error::Malformed("no certificate in it".to_owned()).in_file(path))
}

/// The key of the server whose certificate is in a file.
pub(super) fn server_key(file: &Path) -> Result<Digest, Error> {
    let wrong = |problem: String| Error::Malformed(problem).in_file(file);
    let certificate =
        Certificate::parse(&first(file)?).map_err(|error| wrong(error.to_string()))?;
    match certificate.role {
        Role::Server => Ok(certificate.key),
        role => {
            let role = role.name();
            Err(wrong(format!("a {role} certificate, where a server's is taken (server.pem)")))
        }
    }
}
