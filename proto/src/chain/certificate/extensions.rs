//! The extensions of a certificate, and which row of the profile's table they make it.

use std::collections::HashSet;

use x509_parser::asn1_rs::{Any, FromDer as _};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ExtendedKeyUsage, ParsedExtension, X509Extension};
use x509_parser::oid_registry as oids;

use super::Role;
use crate::chain::Fault;
use crate::grant::{self, Grant};

/// The extensions that the profile speaks of.
#[derive(Default)]
pub(super) struct Extensions {
    /// Whether basicConstraints say CA; `None` when they are missing or not critical.
    ca: Option<bool>,
    pub(super) path_length: Option<u32>,
    pub(super) has_name_constraints: bool,
    /// A critical keyUsage.
    key_usage: Option<KeyUsage>,
    extended: Option<Usages>,
    pub(super) subject_key_id: Option<Vec<u8>>,
    pub(super) authority_key_id: Option<Vec<u8>>,
    has_alternative_name: bool,
    grant: Option<Grant>,
}

/// An extKeyUsage as far as the profile tells purposes apart.
#[derive(PartialEq, Eq)]
enum Usages {
    OnlyClient,
    OnlyServer,
    Other,
}

/// A keyUsage as far as the profile tells them apart.
#[derive(PartialEq, Eq)]
enum KeyUsage {
    DigitalSignature,
    CertSignAndCrlSign,
    Other,
}

/// By its bytes: x509-parser keeps the first 16 bits only. In DER a named bit list has one form.
fn key_usage(der: &[u8]) -> KeyUsage {
    match der {
        [3, 2, 7, 0x80] => KeyUsage::DigitalSignature,
        [3, 2, 1, 0x06] => KeyUsage::CertSignAndCrlSign,
        _ => KeyUsage::Other,
    }
}

/// The name of an extension whose contents the profile's table judges. All others are ignored,
/// unless they are critical: the path verifier refuses those.
fn judged(extension: &X509Extension<'_>) -> Option<&'static str> {
    [
        (&oids::OID_X509_EXT_BASIC_CONSTRAINTS, "basicConstraints"),
        (&oids::OID_X509_EXT_KEY_USAGE, "keyUsage"),
        (&oids::OID_X509_EXT_EXTENDED_KEY_USAGE, "extKeyUsage"),
        (&oids::OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, "subjectKeyIdentifier"),
        (&oids::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, "authorityKeyIdentifier"),
    ]
    .into_iter()
    .find_map(|(oid, name)| (extension.oid == *oid).then_some(name))
}

impl Extensions {
    pub(super) fn read(parsed: &X509Certificate<'_>) -> Result<Self, Fault> {
        let mut all = Self::default();
        // A certificate holds thousands of them if somebody likes, so each is looked at once.
        let mut seen = HashSet::new();
        for extension in parsed.extensions() {
            let oid = extension.oid.as_bytes();
            if !seen.insert(oid) {
                return Err(Fault::ExtensionTwice(extension.oid.to_string()));
            }
            if oid.starts_with(grant::BASE_OID) {
                all.grant = Some(read_grant(oid, extension)?);
            } else {
                all.note(extension)?;
            }
        }
        Ok(all)
    }

    fn note(&mut self, extension: &X509Extension<'_>) -> Result<(), Fault> {
        // Whether its names are right is for the path verifier.
        self.has_alternative_name |= extension.oid == oids::OID_X509_EXT_SUBJECT_ALT_NAME;
        self.has_name_constraints |= extension.oid == oids::OID_X509_EXT_NAME_CONSTRAINTS;
        let Some(name) = judged(extension) else { return Ok(()) };
        // x509-parser lets bytes behind the contents pass.
        if !Any::from_der(extension.value).is_ok_and(|(rest, _)| rest.is_empty()) {
            return Err(Fault::Extension(name));
        }
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(basic) if extension.critical => {
                self.ca = Some(basic.ca);
                self.path_length = basic.path_len_constraint;
            }
            ParsedExtension::KeyUsage(_) if extension.critical => {
                self.key_usage = Some(key_usage(extension.value));
            }
            ParsedExtension::ExtendedKeyUsage(usage) => self.extended = Some(usages(usage)),
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::ParseError { .. } => return Err(Fault::Extension(name)),
            _ => {}
        }
        Ok(())
    }

    /// Which row of the profile's table this is, all of it checked.
    pub(super) fn role(&self, subject: &str, self_issued: bool) -> Result<Role, Fault> {
        if self.ca.ok_or(Fault::BasicConstraints)? {
            self.ca_role(subject, self_issued)
        } else {
            self.end_role()
        }
    }

    fn ca_role(&self, subject: &str, self_issued: bool) -> Result<Role, Fault> {
        if self.key_usage != Some(KeyUsage::CertSignAndCrlSign) {
            return Err(Fault::KeyUsage("keyCertSign and cRLSign"));
        }
        if self.subject_key_id.is_none() {
            return Err(Fault::SubjectKeyId);
        }
        // A delegation below one of the same label is self-issued too, but has an extKeyUsage and
        // a grant.
        let meant_as_root =
            self.extended.is_none() || self.grant.is_none() && subject.contains(' ');
        if self_issued && meant_as_root {
            return self.root_role(subject);
        }
        self.only_client()?;
        match &self.grant {
            Some(Grant::Delegation(delegation)) => Ok(Role::Delegation(delegation.clone())),
            Some(other) => Err(Fault::LeafGrantInCa(other.kind())),
            None => Err(Fault::NoGrant),
        }
    }

    fn root_role(&self, subject: &str) -> Result<Role, Fault> {
        if self.extended.is_some() {
            return Err(Fault::ExtendedKeyUsage("absent in a root"));
        }
        if self.grant.is_some() {
            return Err(Fault::RootGrant);
        }
        // No label holds a space, so a root and a delegation never have the same name.
        if !subject.contains(' ') {
            return Err(Fault::RootName);
        }
        // The path verifier does not look at the trust anchor's.
        if self.path_length.is_some() {
            return Err(Fault::RootPathLength);
        }
        Ok(Role::Root)
    }

    fn end_role(&self) -> Result<Role, Fault> {
        if self.key_usage != Some(KeyUsage::DigitalSignature) {
            return Err(Fault::KeyUsage("digitalSignature"));
        }
        if self.extended == Some(Usages::OnlyServer) {
            return self.server_role();
        }
        self.only_client()?;
        match &self.grant {
            Some(Grant::Permissions(permissions)) => Ok(Role::Permissions(*permissions)),
            Some(Grant::Machine(machine)) => Ok(Role::Machine(Box::new(machine.clone()))),
            Some(Grant::Delegation(_)) => Err(Fault::DelegationInLeaf),
            None => Err(Fault::NoGrant),
        }
    }

    fn server_role(&self) -> Result<Role, Fault> {
        if self.grant.is_some() {
            Err(Fault::ServerGrant)
        } else if self.has_alternative_name {
            Ok(Role::Server)
        } else {
            Err(Fault::SubjectAltName)
        }
    }

    fn only_client(&self) -> Result<(), Fault> {
        match self.extended {
            Some(Usages::OnlyClient) => Ok(()),
            _ => Err(Fault::ExtendedKeyUsage("clientAuth")),
        }
    }
}

fn read_grant(oid: &[u8], extension: &X509Extension<'_>) -> Result<Grant, Fault> {
    if oid != grant::OID {
        return Err(Fault::OtherGrantVersion);
    }
    if extension.critical {
        return Err(Fault::GrantCritical);
    }
    Grant::from_der(extension.value).map_err(Fault::Grant)
}

fn usages(usage: &ExtendedKeyUsage<'_>) -> Usages {
    let others = usage.any
        || usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    match (usage.client_auth, usage.server_auth, others) {
        (true, false, false) => Usages::OnlyClient,
        (false, true, false) => Usages::OnlyServer,
        _ => Usages::Other,
    }
}
