//! Down a path from the root, certificate by certificate: everything that the library does not look
//! at (rules 3 to 6). Chains of leaves and those of revocation lists go the same way.

use super::certificate::key::PublicKey;
use super::certificate::{self, Certificate, Role};
use super::{ChainError, Fault, Root};
use crate::authority::Link;
use crate::id::Digest;
use crate::resource::Delegation;

/// A walk down a path.
pub(super) struct Walk {
    issuer: Issuer,
    links: Vec<Link>,
    /// The last delegation, with the hosts that it inherits.
    last: Option<Delegation>,
}

/// What stands above the next certificate to look at.
#[derive(Debug, Clone)]
pub(super) struct Issuer {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub(super) key: Digest,
    /// Its subjectKeyIdentifier.
    pub(super) key_id: Vec<u8>,
    /// Its subject in DER.
    pub(super) name: Vec<u8>,
    /// Its key.
    pub(super) public_key: PublicKey,
}

impl Walk {
    /// At the root.
    pub(super) fn from(root: &Root) -> Self {
        Self { issuer: root.issuer().clone(), links: Vec::new(), last: None }
    }

    /// What stands above the next certificate.
    pub(super) const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Parses one certificate of the path and holds it against the profile's table (rule 3).
    pub(super) fn read(&self, der: &[u8]) -> Result<Certificate, ChainError> {
        let certificate = Certificate::parse(der)?;
        if certificate.authority_key_id.as_deref() != Some(&self.issuer.key_id) {
            return Err(Fault::AuthorityKeyId.of(&certificate.subject));
        }
        Ok(certificate)
    }

    /// Goes on to the delegation `der`, which must fit in the one above it (rules 4 and 5).
    pub(super) fn delegation(&mut self, der: &[u8]) -> Result<(), ChainError> {
        let certificate = self.read(der)?;
        let subject = certificate.subject;
        let Role::Delegation(grant) = certificate.role else {
            return Err(Fault::NotADelegation(certificate.role.name()).of(&subject));
        };
        if let Some(above) = &self.last {
            grant.fits_in(above).map_err(|misfit| Fault::Misfit(misfit).of(&subject))?;
        }
        // Hosts that are not named are the issuer's: what is below must fit in those.
        let above = self.last.take();
        let hosts = grant.hosts.clone().or_else(|| above.and_then(|above| above.hosts));
        self.links.push(Link {
            label: certificate::label(&subject)?,
            issuer: self.issuer.key,
            key: certificate.key,
            serial: certificate.serial,
            grant: grant.clone(),
            validity: certificate.validity,
        });
        self.issuer = Issuer {
            key: certificate.key,
            key_id: certificate.subject_key_id.unwrap_or_default(),
            name: certificate.names.subject,
            public_key: certificate.public_key,
        };
        self.last = Some(Delegation { hosts, ..grant });
        Ok(())
    }

    /// The end of the path: its last CA, and its delegations, outermost first. Every one that lists
    /// hosts must list `server`, if it is given (rule 6).
    pub(super) fn finish(self, server: Option<&Digest>) -> Result<(Issuer, Vec<Link>), ChainError> {
        for link in &self.links {
            if let (Some(server), Some(hosts)) = (server, &link.grant.hosts)
                && !hosts.keys().contains(server)
            {
                return Err(Fault::OtherHost.of(link.label.as_str()));
            }
        }
        Ok((self.issuer, self.links))
    }
}
