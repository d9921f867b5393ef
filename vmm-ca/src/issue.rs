//! An issuer: a CA certificate, its key, and the chain above it.
//!
//! [`Issuer::load`] and [`Issuer::mint_leaf`] are what a client needs to make itself a short-lived
//! leaf; whether the chain is any good is for the server to say. [`Issuer::check`] and
//! [`Issuer::sign`] are for signing what others ask for, and judge everything first.

mod check;

use std::fmt;
use std::time::Duration;

use rcgen::PublicKeyData;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use vmm_proto::authority::Validity;
use vmm_proto::chain::certificate::{Certificate, Role};
use vmm_proto::grant::Grant;
use vmm_proto::id::Digest;
use vmm_proto::name::{Label, MAX_DELEGATIONS};
use vmm_proto::resource::{BridgeName, Delegation, Hosts, Machine};

use crate::key::{Algorithm, Key, Signer};
use crate::request::Request;
use crate::{Error, Refusal, pem, profile, time};

/// The most bytes of certificates that a handshake carries: a message of TLS 1.3 holds 64 KiB less
/// one (rustls), and each certificate has 5 bytes of its own beside it; rounded down.
pub const MAX_CHAIN: usize = 65_000;

/// In what a machine is larger than its issuer, were nothing else running (profile, rule 7).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MachineMisfit {
    /// the issuer may run no machine
    #[error("the issuer may run no machine")]
    NoMachines,
    /// memory {asked} MiB is more than the issuer's {limit} MiB
    #[error("memory {asked} MiB is more than the issuer's {limit} MiB")]
    Memory {
        /// MiB
        asked: u32,
        /// MiB
        limit: u32,
    },
    /// CPU {0} is not one of the issuer's
    #[error("CPU {0} is not one of the issuer's")]
    Cpu(u16),
    /// bridge "{0}" is not one of the issuer's
    #[error("bridge \"{0}\" is not one of the issuer's")]
    Bridge(BridgeName),
}

/// A leaf and its key, both made just now.
pub struct Minted {
    /// The leaf, then each issuer in order, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key (PKCS#8 version 1, Ed25519).
    pub key: PrivatePkcs8KeyDer<'static>,
}

/// A CA certificate with its key and the certificates above it.
pub struct Issuer {
    signer: rcgen::Issuer<'static, Signer>,
    own: Certificate,
    /// Its own certificate first, then those above it; the root only if it is the issuer itself.
    chain: Vec<CertificateDer<'static>>,
}

impl Issuer {
    /// Reads an issuer: its certificate first, then those above it (the root may be left out), and
    /// its key, all in PEM.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what cannot be read, [`Refusal::WrongKey`].
    pub fn load(bundle_pem: &[u8], key_pem: &[u8]) -> Result<Self, Error> {
        Self::new(pem::certificates(bundle_pem)?, Key::from_der(&pem::key(key_pem)?)?)
    }

    /// An issuer of parts already read: its certificate first, then those above it.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a first certificate that is no CA of the profile,
    /// [`Refusal::WrongKey`].
    pub fn new(
        mut chain: Vec<CertificateDer<'static>>,
        key: impl Into<Signer>,
    ) -> Result<Self, Error> {
        let key = key.into();
        let first =
            chain.first().ok_or_else(|| Error::Malformed("no certificate in it".to_owned()))?;
        let mut own =
            Certificate::parse(first).map_err(|error| Error::Malformed(error.to_string()))?;
        if !matches!(own.role, Role::Root | Role::Delegation(_)) {
            let problem = format!(
                "\"{}\" is a {} certificate, which issues nothing: give a delegation's bundle, or \
                 the root's certificate",
                own.subject,
                own.role.name()
            );
            return Err(Error::Malformed(problem));
        }
        if key.digest() != own.key {
            return Err(Refusal::WrongKey(own.subject).into());
        }
        if let Role::Delegation(share) = &mut own.role
            && share.hosts.is_none()
        {
            share.hosts = chain.iter().skip(1).find_map(hosts);
        }
        let signer = rcgen::Issuer::from_ca_cert_der(first, key)?;
        if chain.len() > 1 && chain.last().is_some_and(|last| is_root(last)) {
            chain.pop();
        }
        Ok(Self { signer, own, chain })
    }

    /// Its subject: the label of a delegation, or the root's name.
    pub fn subject(&self) -> &str {
        &self.own.subject
    }

    /// What it may hand on, with the hosts that it inherits; `None` for the root, which has no bounds.
    pub const fn bounds(&self) -> Option<&Delegation> {
        match &self.own.role {
            Role::Delegation(delegation) => Some(delegation),
            _ => None,
        }
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    pub const fn key(&self) -> Digest {
        self.own.key
    }

    /// When its own certificate may be used.
    pub const fn validity(&self) -> Validity {
        self.own.validity
    }

    /// Whether `certificate` says that it is issued by this issuer's key.
    pub(crate) fn is_author_of(&self, certificate: &Certificate) -> bool {
        certificate.authority_key_id.is_some()
            && certificate.authority_key_id == self.own.subject_key_id
    }

    pub(crate) const fn signer(&self) -> &rcgen::Issuer<'static, Signer> {
        &self.signer
    }

    /// Its own certificate.
    pub(crate) const fn certificate(&self) -> &Certificate {
        &self.own
    }

    /// Its own certificate, then those above it; the root only if it is the issuer itself.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The certificates that go behind one that it issues, the root left out.
    pub fn chain_above(&self) -> &[CertificateDer<'static>] {
        if self.bounds().is_some() { &self.chain } else { &[] }
    }

    /// How many delegations stand between the root and what it issues.
    pub fn depth(&self) -> usize {
        self.chain_above().len()
    }

    /// Makes a leaf with a new key, valid for `validity` from `now` (Unix seconds) on but no longer
    /// than this issuer. Whether the server will accept it is not judged here. Takes well below a
    /// millisecond.
    ///
    /// # Errors
    /// [`Error::Usage`] for a delegation, which is no leaf; [`Error::Crypto`].
    pub fn mint_leaf(
        &self,
        label: &Label,
        grant: &Grant,
        validity: Duration,
        now: i64,
    ) -> Result<Minted, Error> {
        if matches!(grant, Grant::Delegation(_)) {
            return Err(Error::Usage("a delegation is not minted as a leaf".to_owned()));
        }
        let key = Key::generate(Algorithm::Ed25519)?;
        let seconds = i64::try_from(validity.as_secs()).unwrap_or(i64::MAX);
        let validity = time::within(self.validity(), now, seconds);
        let leaf = self.certify(label, grant, &key, validity)?;
        let chain = std::iter::once(leaf).chain(self.chain_above().iter().cloned()).collect();
        Ok(Minted { chain, key: key.to_pkcs8() })
    }

    /// Signs `grant` for a key. The grant's generation is the caller's.
    fn certify(
        &self,
        label: &Label,
        grant: &Grant,
        key: &impl PublicKeyData,
        validity: Validity,
    ) -> Result<CertificateDer<'static>, Error> {
        let params = profile::granted(label, grant, validity)?;
        Ok(params.signed_by(key, &self.signer)?.into())
    }

    /// Signs a server certificate. Only the root does: a delegation cannot vouch for a server.
    ///
    /// # Errors
    /// [`Error::Crypto`]
    pub(crate) fn certify_server(
        &self,
        names: &[profile::ServerName],
        key: &impl PublicKeyData,
        validity: Validity,
    ) -> Result<CertificateDer<'static>, Error> {
        let params = profile::server(names, validity)?;
        Ok(params.signed_by(key, &self.signer)?.into())
    }

    /// Whether `request` may be signed at all: it fits, and a certificate below this issuer may be
    /// of its kind.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn admits(&self, request: &Request) -> Result<(), Refusal> {
        let issuer = || self.subject().to_owned();
        let label = || request.label.to_string();
        if matches!(request.grant, Grant::Delegation(_)) {
            if self.depth() >= MAX_DELEGATIONS {
                return Err(Refusal::TooDeep(issuer()));
            }
            self.path_length_allows()?;
        }
        let Some(bounds) = self.bounds() else { return Ok(()) };
        match &request.grant {
            Grant::Permissions(_) => Ok(()),
            Grant::Delegation(asked) => asked.fits_in(bounds).map_err(|misfit| {
                Refusal::DelegationMisfit { label: label(), issuer: issuer(), misfit }
            }),
            Grant::Machine(machine) => machine_fits(machine, bounds).map_err(|misfit| {
                Refusal::MachineMisfit { label: label(), issuer: issuer(), misfit }
            }),
        }
    }

    /// Signs a request with this grant, and checks what came out as a server would.
    ///
    /// # Errors
    /// [`Error::Crypto`], [`Error::SelfTest`], [`Refusal::ChainTooLarge`]
    pub fn sign(
        &self,
        request: &Request,
        grant: &Grant,
        validity: Validity,
    ) -> Result<CertificateDer<'static>, Error> {
        let certificate = self.certify(&request.label, grant, request.key(), validity)?;
        let bytes = self.chain_above().iter().map(|above| above.len()).sum::<usize>();
        if bytes + certificate.len() > MAX_CHAIN {
            return Err(Refusal::ChainTooLarge(bytes + certificate.len()).into());
        }
        self.self_test(&certificate, request, grant, validity)?;
        Ok(certificate)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("own", &self.own.subject).finish_non_exhaustive()
    }
}

/// Whether `below` is issued by `above`: names, key ids, signature, and no larger than it.
///
/// # Errors
/// [`Refusal`], with what is wrong.
pub fn is_issued_by(below: &CertificateDer<'_>, above: &CertificateDer<'_>) -> Result<(), Refusal> {
    check::holds(&Certificate::parse(below)?, below, &Certificate::parse(above)?, above)
}

/// Whether `below` is signed by `above`, whatever it grants.
///
/// # Errors
/// [`Refusal`], with what is wrong.
pub fn is_signed_by(below: &CertificateDer<'_>, above: &CertificateDer<'_>) -> Result<(), Refusal> {
    check::signed_by(&Certificate::parse(below)?, below, &Certificate::parse(above)?, above)
}

/// The hosts that a delegation names itself.
fn hosts(der: &CertificateDer<'_>) -> Option<Hosts> {
    match Certificate::parse(der).ok()?.role {
        Role::Delegation(share) => share.hosts,
        _ => None,
    }
}

/// A root is told from a delegation by its fields.
fn is_root(der: &CertificateDer<'_>) -> bool {
    Certificate::parse(der).is_ok_and(|certificate| certificate.role == Role::Root)
}

/// Whether a machine fits a delegation in which nothing else runs.
///
/// # Errors
/// The first [`MachineMisfit`].
pub fn machine_fits(machine: &Machine, bounds: &Delegation) -> Result<(), MachineMisfit> {
    if bounds.machines == 0 {
        return Err(MachineMisfit::NoMachines);
    }
    if machine.memory_mib > bounds.memory_mib {
        let (asked, limit) = (machine.memory_mib, bounds.memory_mib);
        return Err(MachineMisfit::Memory { asked, limit });
    }
    if let Some(cpu) = machine.cpus.outside(&bounds.cpus).next() {
        return Err(MachineMisfit::Cpu(cpu));
    }
    for network in machine.devices.networks() {
        if bounds.bridges.get(&network.bridge).is_none() {
            return Err(MachineMisfit::Bridge(network.bridge.clone()));
        }
    }
    Ok(())
}
