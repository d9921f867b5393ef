//! PKCS#10 requests (RFC 2986) that carry a grant in their extensionRequest (RFC 2985, 5.4.2).

use rcgen::{CertificateParams, PublicKeyData, SigningKey, SubjectPublicKeyInfo};
use vmm_proto::chain::certificate::key_digest;
use vmm_proto::grant::{self, Grant};
use vmm_proto::id::Digest;
use vmm_proto::name::Label;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::X509Extension;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::key::Algorithm;
use crate::{Error, Refusal, profile};

/// What someone asks an issuer for.
#[derive(Debug)]
pub struct Request {
    /// The label that the certificate shall have.
    pub label: Label,
    /// What it shall grant. The generation in a delegation is 0 and is not looked at.
    pub grant: Grant,
    /// Which kind of key it is for.
    pub algorithm: Algorithm,
    /// Extensions that were asked for and are not given, by their object identifiers.
    pub left_out: Vec<String>,
    key: SubjectPublicKeyInfo,
}

impl Request {
    /// Makes a request and signs it with its own key; returns it in DER.
    ///
    /// # Errors
    /// [`Error::Crypto`]
    pub fn build(label: &Label, grant: &Grant, key: &impl SigningKey) -> Result<Vec<u8>, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = profile::subject(label.as_str());
        params.custom_extensions = vec![profile::grant_extension(grant)];
        Ok(params.serialize_request(key)?.der().to_vec())
    }

    /// Parses a request and verifies that it is signed by the key that it is for.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what is no request of this suite; [`Refusal::Label`] and
    /// [`Refusal::RequestSignature`].
    pub fn parse(der: &[u8]) -> Result<Self, Error> {
        let (rest, parsed) = X509CertificationRequest::from_der(der)
            .map_err(|_| malformed("not a PKCS#10 request in DER"))?;
        if !rest.is_empty() {
            return Err(malformed("the request has bytes behind its end"));
        }
        let info = &parsed.certification_request_info;
        if info.version.0 != 0 {
            return Err(malformed("the request is not of version 1"));
        }
        let label = label(&info.subject)?;
        let (grant, left_out) = requested(&parsed)?;
        let key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw).ok();
        let (key, algorithm) = key
            .and_then(|key| Some((Algorithm::of(key.algorithm())?, key)))
            .map(|(algorithm, key)| (key, algorithm))
            .ok_or_else(|| malformed("keys must be Ed25519, ECDSA P-256 or P-384"))?;
        parsed.verify_signature().map_err(|_| Refusal::RequestSignature)?;
        Ok(Self { label, grant, algorithm, left_out, key })
    }

    /// The key that it is for.
    pub const fn key(&self) -> &SubjectPublicKeyInfo {
        &self.key
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    pub fn key_digest(&self) -> Digest {
        key_digest(&self.key.subject_public_key_info())
    }
}

/// The grant that is asked for, and the object identifiers of everything else.
fn requested(parsed: &X509CertificationRequest<'_>) -> Result<(Grant, Vec<String>), Error> {
    let mut grants = Vec::new();
    let mut left_out = Vec::new();
    for attribute in parsed.certification_request_info.iter_attributes() {
        let ParsedCriAttribute::ExtensionRequest(request) = attribute.parsed_attribute() else {
            continue;
        };
        for extension in &request.extensions {
            match as_grant(extension)? {
                Some(grant) => grants.push(grant),
                None => left_out.push(extension.oid.to_id_string()),
            }
        }
    }
    match (grants.pop(), grants.is_empty()) {
        (Some(grant), true) => Ok((grant, left_out)),
        (Some(_), false) => Err(malformed("the request carries more than one grant")),
        (None, _) => Err(malformed(
            "the request carries no grant: make it with `vmm-ca request`, or put the extension of \
             the certificate profile into its extensionRequest",
        )),
    }
}

fn as_grant(extension: &X509Extension<'_>) -> Result<Option<Grant>, Error> {
    let oid = extension.oid.as_bytes();
    if !oid.starts_with(grant::BASE_OID) {
        return Ok(None);
    }
    if oid != grant::OID {
        return Err(malformed("the request carries a grant of another version than 1"));
    }
    Grant::from_der(extension.value).map(Some).map_err(|error| malformed(&error.to_string()))
}

/// The label that a subject is: exactly one commonName.
fn label(name: &X509Name<'_>) -> Result<Label, Error> {
    let mut attributes = name.iter_attributes();
    match (attributes.next(), attributes.next()) {
        (Some(only), None)
            if *only.attr_type() == x509_parser::oid_registry::OID_X509_COMMON_NAME =>
        {
            let text = only.as_str().map_err(|_| malformed("the subject is not text"))?;
            Ok(Label::parse(text).map_err(Refusal::Label)?)
        }
        _ => Err(malformed("the subject of a request must be exactly one commonName")),
    }
}

fn malformed(problem: &str) -> Error {
    Error::Malformed(problem.to_owned())
}
