//! As whom a command speaks: a leaf that was given, or one made for this command.

use std::path::Path;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use vmm_ca::issue::Issuer;
use vmm_ca::key::Key;
use vmm_proto::chain::certificate::{Certificate, Role};
use vmm_proto::chain::{Fault, Root};
use vmm_proto::grant::Grant;
use vmm_proto::message::client::ErrorCode;
use vmm_proto::name::Label;
use vmm_proto::permission::Permissions;
use vmm_proto::resource::Machine;
use vmm_proto::revocation::Serials;

use crate::failure::{Code, Failure};
use crate::list;
use crate::settings::Tls;

/// How long a leaf lives that was made for one command.
const MINTED_FOR: Duration = Duration::from_mins(10);

/// The label of such a leaf. It names this program in the server's log, and is the same each time,
/// so that one's own attachments are known again.
const MINTED_LABEL: &str = "vmm-client";

/// What the files hold.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) root: Root,
    /// What the root has taken back, as far as this side was told.
    pub(crate) revoked: Serials,
    pub(crate) speaker: Speaker,
    holder: Holder,
}

#[derive(Debug)]
enum Holder {
    Leaf(Presented),
    Issuer(Box<Issuer>),
}

/// Of which kind the bundle's first certificate is.
#[derive(Debug)]
pub(crate) enum Speaker {
    /// None: the local socket.
    Local,
    /// A machine.
    Machine(Box<Machine>),
    /// Something that makes itself a leaf for each command.
    Issuer,
    /// A leaf with permissions.
    Permissions,
    /// One that breaks a rule of the profile. The server says which.
    Unknown,
}

/// What is shown in a handshake.
#[derive(Debug)]
pub(crate) struct Presented {
    /// The leaf, then each issuer in order.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key, which stays here.
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// Reads the files. What they hold is not judged, only parsed.
    pub(crate) fn load(tls: &Tls) -> Result<Self, Failure> {
        let root = root(&tls.ca)?;
        let revoked = match &tls.crl {
            Some(file) => list::of_root(file, &root)?,
            None => Serials::default(),
        };
        let chain = vmm_ca::pem::read_certificates(&tls.bundle).map_err(Failure::usage)?;
        let key = vmm_ca::pem::read_key(&tls.key).map_err(Failure::usage)?;
        let in_bundle = |what: String| Failure::usage(format!("{}: {what}", tls.bundle.display()));
        let first = chain.first().ok_or_else(|| in_bundle("no certificate in it".to_owned()))?;
        let speaker = match Certificate::parse(first).map(|certificate| certificate.role) {
            Ok(Role::Machine(machine)) => Speaker::Machine(machine),
            Ok(Role::Permissions(_)) => Speaker::Permissions,
            Ok(Role::Delegation(_) | Role::Root) => Speaker::Issuer,
            Err(error) if error.fault == Fault::Encoding => {
                return Err(in_bundle(error.to_string()));
            }
            Ok(Role::Server) | Err(_) => Speaker::Unknown,
        };
        let holder = match speaker {
            Speaker::Issuer => {
                let issuer = Key::from_der(&key)
                    .map_err(|error| error.in_file(&tls.key))
                    .and_then(|key| Issuer::new(chain, key))
                    .map_err(|error| Failure::usage(error.in_file(&tls.bundle)))?;
                Holder::Issuer(Box::new(issuer))
            }
            _ => Holder::Leaf(Presented { chain, key }),
        };
        Ok(Self { root, revoked, speaker, holder })
    }

    /// Whether each command is another leaf.
    pub(crate) const fn mints(&self) -> bool {
        matches!(self.holder, Holder::Issuer(_))
    }

    /// What to show for a command that needs these permissions: the leaf as it is, or one made now
    /// with just them.
    pub(crate) fn present(&self, needs: Permissions, now: i64) -> Result<Presented, Failure> {
        let issuer = match &self.holder {
            Holder::Leaf(Presented { chain, key }) => {
                return Ok(Presented { chain: chain.clone(), key: key.clone_key() });
            }
            Holder::Issuer(issuer) => issuer,
        };
        let label = Label::parse(MINTED_LABEL).map_err(Failure::usage)?;
        let minted = issuer
            .mint_leaf(&label, &Grant::Permissions(needs), MINTED_FOR, now)
            .map_err(|error| {
                let problem = format!("cannot make a leaf for this command: {error}");
                Failure::new(Code::Of(ErrorCode::Internal), problem)
            })?;
        Ok(Presented { chain: minted.chain, key: minted.key.into() })
    }
}

fn root(file: &Path) -> Result<Root, Failure> {
    let certificates = vmm_ca::pem::read_certificates(file).map_err(Failure::usage)?;
    let wrong = |what: String| Failure::usage(format!("{}: {what}", file.display()));
    match certificates.as_slice() {
        [only] => Root::from_der(only).map_err(|error| wrong(error.to_string())),
        several => Err(wrong(format!(
            "{} certificates in it; give the root's alone (cacert.pem)",
            several.len()
        ))),
    }
}
