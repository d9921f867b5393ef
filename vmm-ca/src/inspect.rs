//! What a file is, in words or in JSON: certificates, requests, bundles, whether they keep the
//! profile or not. Everything in such a file is hostile until proven otherwise.

mod crl;
mod json;
mod text;

use std::path::Path;

use rustls_pki_types::CertificateDer;
use vmm_proto::authority::{Serial, Validity};
use vmm_proto::chain::certificate::{Certificate, key_digest};
use vmm_proto::grant::{self, Grant};
use vmm_proto::id::Digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::x509::X509Name;

pub use crl::ListFacts;
pub use json::to_json;
pub use text::to_text;

use crate::pem::{self, Section};
use crate::request::Request;
use crate::{Error, file, issue};

/// What there is in a file.
#[derive(Debug)]
pub struct Contents {
    /// Its parts, in order.
    pub items: Vec<Item>,
    /// Whether each certificate is issued by the one behind it: `None` when there are not several.
    pub chain: Option<Result<(), String>>,
}

/// One part of a file.
#[derive(Debug)]
pub enum Item {
    /// a certificate
    Certificate(Box<CertificateFacts>),
    /// a request, its signature verified
    Request(Box<Request>),
    /// a revocation list
    RevocationList(Box<ListFacts>),
    /// a private key, which is not looked into
    PrivateKey,
    /// something that is not looked into
    Other(&'static str),
    /// a part that is not what it claims to be
    Broken {
        /// what it claims to be
        what: &'static str,
        /// what is wrong
        problem: String,
    },
}

/// What can be said of a certificate, whether it keeps the profile or not.
#[derive(Debug)]
pub struct CertificateFacts {
    /// `root`, `delegation`, …; why it is none of them otherwise.
    pub role: Result<&'static str, String>,
    /// Its commonName if that is all there is, its whole subject otherwise.
    pub subject: String,
    /// The same of its issuer.
    pub issuer: String,
    /// Its serial number.
    pub serial: Serial,
    /// When it may be used.
    pub validity: Validity,
    /// Which kind of key it is for.
    pub algorithm: String,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub key: Digest,
    /// Its subjectKeyIdentifier.
    pub subject_key_id: Option<Vec<u8>>,
    /// Its authorityKeyIdentifier.
    pub authority_key_id: Option<Vec<u8>>,
    /// A server's names.
    pub names: Vec<String>,
    /// What it grants.
    pub grant: Option<Grant>,
}

impl Contents {
    /// Reads a file: PEM, or one certificate or request in DER.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Unreadable`] for a file that holds nothing of the kind.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = file::read(path, pem::MAX_FILE)?;
        Self::of(&bytes).map_err(|error| error.in_file(path))
    }

    /// The same for bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`]
    pub fn of(bytes: &[u8]) -> Result<Self, Error> {
        // In DER, all that is looked at here begins as a SEQUENCE, and no PEM file does.
        if bytes.first() == Some(&0x30) {
            return Self::of_der(bytes);
        }
        let sections = pem::sections(bytes)?;
        if sections.is_empty() {
            let problem = "neither PEM nor DER of a certificate or request";
            return Err(Error::Malformed(problem.to_owned()));
        }
        let chain = chain(&sections);
        Ok(Self { items: sections.into_iter().map(Item::of).collect(), chain })
    }

    fn of_der(der: &[u8]) -> Result<Self, Error> {
        let item = match CertificateFacts::of(der) {
            Ok(facts) => Item::Certificate(Box::new(facts)),
            Err(problem) => match Request::parse(der) {
                Ok(request) => Item::Request(Box::new(request)),
                Err(Error::Malformed(_)) => return Err(Error::Malformed(problem)),
                Err(error) => return Err(error),
            },
        };
        Ok(Self { items: vec![item], chain: None })
    }

    /// Whether some part of it could not be read.
    pub fn is_broken(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Broken { .. }))
    }
}

impl Item {
    fn of(section: Section) -> Self {
        match section {
            Section::Certificate(der) => match CertificateFacts::of(&der) {
                Ok(facts) => Self::Certificate(Box::new(facts)),
                Err(problem) => Self::Broken { what: "certificate", problem },
            },
            Section::Request(der) => match Request::parse(&der) {
                Ok(request) => Self::Request(Box::new(request)),
                Err(error) => Self::Broken { what: "request", problem: error.to_string() },
            },
            Section::RevocationList(der) => match ListFacts::of(&der) {
                Ok(facts) => Self::RevocationList(Box::new(facts)),
                Err(problem) => Self::Broken { what: "revocation list", problem },
            },
            Section::PrivateKey => Self::PrivateKey,
            Section::Other(label) => Self::Other(label),
        }
    }
}

impl CertificateFacts {
    fn of(der: &[u8]) -> Result<Self, String> {
        let (rest, parsed) = x509_parser::parse_x509_certificate(der)
            .map_err(|_| "not an X.509 certificate in DER".to_owned())?;
        if !rest.is_empty() {
            return Err("the certificate has bytes behind its end".to_owned());
        }
        let role = Certificate::parse(der);
        Ok(Self {
            role: role.map(|one| one.role.name()).map_err(|error| error.to_string()),
            subject: name(parsed.subject()),
            issuer: name(parsed.issuer()),
            serial: Serial(parsed.raw_serial().into()),
            validity: Validity {
                not_before: parsed.validity().not_before.timestamp(),
                not_after: parsed.validity().not_after.timestamp(),
            },
            algorithm: algorithm(&parsed),
            key: key_digest(parsed.public_key().raw),
            subject_key_id: subject_key_id(&parsed),
            authority_key_id: authority_key_id(&parsed),
            names: names(&parsed),
            grant: parsed
                .extensions()
                .iter()
                .find(|extension| extension.oid.as_bytes() == grant::OID)
                .and_then(|extension| Grant::from_der(extension.value).ok()),
        })
    }
}

/// The text of a single commonName; the whole name in the notation of RFC 4514 otherwise.
fn name(name: &X509Name<'_>) -> String {
    let mut attributes = name.iter_attributes();
    match (attributes.next(), attributes.next()) {
        (Some(only), None)
            if *only.attr_type() == x509_parser::oid_registry::OID_X509_COMMON_NAME =>
        {
            only.as_str().map_or_else(|_| name.to_string(), str::to_owned)
        }
        _ => name.to_string(),
    }
}

fn algorithm(parsed: &X509Certificate<'_>) -> String {
    rcgen::SubjectPublicKeyInfo::from_der(parsed.public_key().raw)
        .ok()
        .and_then(|key| crate::key::Algorithm::of(rcgen::PublicKeyData::algorithm(&key)))
        .map_or_else(
            || format!("algorithm {}", parsed.public_key().algorithm.algorithm),
            |algorithm| algorithm.to_string(),
        )
}

fn subject_key_id(parsed: &X509Certificate<'_>) -> Option<Vec<u8>> {
    parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

fn authority_key_id(parsed: &X509Certificate<'_>) -> Option<Vec<u8>> {
    parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => Some(id.key_identifier.as_ref()?.0.to_vec()),
        _ => None,
    })
}

fn names(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternative)) = parsed.subject_alternative_name() else { return Vec::new() };
    alternative.value.general_names.iter().map(general_name).collect()
}

fn general_name(name: &GeneralName<'_>) -> String {
    let address = |octets: &[u8]| -> Option<std::net::IpAddr> {
        match octets.len() {
            4 => <[u8; 4]>::try_from(octets).ok().map(Into::into),
            16 => <[u8; 16]>::try_from(octets).ok().map(Into::into),
            _ => None,
        }
    };
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(octets) => {
            address(octets).map_or_else(|| name.to_string(), |address| address.to_string())
        }
        other => other.to_string(),
    }
}

/// Whether each certificate is issued by the one behind it.
fn chain(sections: &[Section]) -> Option<Result<(), String>> {
    let certificates: Vec<&CertificateDer<'_>> = sections
        .iter()
        .filter_map(|section| match section {
            Section::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.len() < 2 {
        return None;
    }
    let broken =
        certificates.windows(2).find_map(|pair| issue::is_issued_by(pair[0], pair[1]).err());
    Some(broken.map_or(Ok(()), |refusal| Err(refusal.to_string())))
}

/// Octets as people write them.
fn hex(octets: &[u8]) -> String {
    // A serial number is written just so.
    Serial(octets.into()).to_string()
}

#[cfg(test)]
mod tests;
