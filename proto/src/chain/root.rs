//! The root: the one certificate that a server and a client are configured with.

use rustls_pki_types::{CertificateDer, TrustAnchor};

use super::certificate::{Certificate, Role};
use super::walk::Issuer;
use super::{ChainError, Fault};
use crate::authority::Validity;
use crate::id::Digest;

/// Why a certificate cannot be the root.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RootError {
    /// the root certificate: {0}
    #[error("the root certificate: {0}")]
    Certificate(ChainError),
    /// this is a {0} certificate, not a root: give the root CA's certificate (`cacert.pem`)
    #[error("this is a {0} certificate, not a root: give the root CA's certificate (cacert.pem)")]
    NotARoot(&'static str),
    /// the root certificate is not signed by its own key
    #[error("the root certificate is not signed by its own key")]
    NotSelfSigned,
}

/// A checked root certificate: self-signed, a CA, with the profile's key usage.
#[derive(Debug, Clone)]
pub struct Root {
    der: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    issuer: Issuer,
    validity: Validity,
}

impl Root {
    /// Checks everything but the time, which [`Root::check_validity`] does at each handshake.
    ///
    /// # Errors
    /// [`RootError`]
    pub fn from_der(der: &[u8]) -> Result<Self, RootError> {
        let certificate = Certificate::parse(der).map_err(RootError::Certificate)?;
        let Role::Root = certificate.role else {
            return Err(RootError::NotARoot(certificate.role.name()));
        };
        if !certificate.is_signed_by(&certificate.public_key) {
            return Err(RootError::NotSelfSigned);
        }
        let der = CertificateDer::from(der.to_vec());
        let anchor = webpki::anchor_from_trusted_cert(&der)
            .map_err(|error| RootError::Certificate(Fault::Path(error).into()))?
            .to_owned();
        Ok(Self {
            anchor,
            issuer: Issuer {
                key: certificate.key,
                key_id: certificate.subject_key_id.unwrap_or_default(),
                name: certificate.names.subject,
                public_key: certificate.public_key,
            },
            validity: certificate.validity,
            der,
        })
    }

    /// Its bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    pub const fn key(&self) -> Digest {
        self.issuer.key
    }

    /// When it may be used.
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// Its subjectKeyIdentifier.
    pub fn subject_key_id(&self) -> &[u8] {
        &self.issuer.key_id
    }

    /// Its subject, as DER, for the list of acceptable CAs in a certificate request.
    pub fn subject_der(&self) -> &[u8] {
        &self.anchor.subject
    }

    /// What it is as an issuer.
    pub(super) const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    pub(super) fn anchor(&self) -> TrustAnchor<'_> {
        self.anchor.clone()
    }

    /// Whether it may be used at `now` (Unix seconds). The path verifier does not look at this.
    ///
    /// # Errors
    /// [`Fault::RootNotValid`]
    pub fn check_validity(&self, now: i64) -> Result<(), ChainError> {
        let Validity { not_before, not_after } = self.validity;
        if self.validity.contains(now) {
            Ok(())
        } else {
            Err(Fault::RootNotValid { not_before, not_after }.into())
        }
    }
}
