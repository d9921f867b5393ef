//! Why a chain is refused.

use crate::grant::GrantError;
use crate::name::NameError;
use crate::resource::Misfit;

/// A refusal: which rule of the profile, which certificate, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}{fault} (certificate profile, rule {})", shown(certificate.as_deref()), fault.rule())]
pub struct ChainError {
    /// The subject of the certificate at fault, when it is one.
    pub certificate: Option<String>,
    /// What is wrong.
    pub fault: Fault,
}

fn shown(certificate: Option<&str>) -> String {
    certificate.map_or_else(String::new, |subject| {
        let subject: String = subject.chars().take(80).flat_map(char::escape_default).collect();
        format!("certificate \"{subject}\": ")
    })
}

impl From<Fault> for ChainError {
    fn from(fault: Fault) -> Self {
        Self { certificate: None, fault }
    }
}

/// What is wrong with a chain or a certificate. The message is the documentation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message says what it means")]
pub enum Fault {
    #[error("a client certificate is required")]
    NoCertificate,
    #[error("{0} certificates were presented; a leaf has at most six delegations above it")]
    TooLong(usize),
    #[error(
        "the presented list must be the verified path: leaf first, then each issuer in order, \
             nothing missing, repeated or extra"
    )]
    NotThePath,
    #[error("{}", in_words(.0))]
    Path(webpki::Error),
    #[error("the clock is before 1970")]
    Clock,
    #[error(
        "the root certificate is valid from {not_before} to {not_after} (Unix seconds), not now"
    )]
    RootNotValid { not_before: i64, not_after: i64 },
    #[error("not an X.509 certificate in DER")]
    Encoding,
    #[error("it has bytes behind its end")]
    Trailing,
    #[error("it must be of version 3")]
    Version,
    #[error("its serial number must be positive, in DER, and have 1 to 20 octets")]
    Serial,
    #[error("its subject must be exactly one commonName (UTF8String or PrintableString)")]
    Subject,
    #[error("{0}")]
    Label(NameError),
    #[error("keys must be Ed25519, ECDSA P-256 or P-384")]
    KeyAlgorithm,
    #[error("signatures must be Ed25519, or ECDSA with SHA-256 or SHA-384")]
    SignatureAlgorithm,
    #[error("the extension {0} stands in it twice")]
    ExtensionTwice(String),
    #[error("the extension {0} cannot be read")]
    Extension(&'static str),
    #[error("basicConstraints must be there and critical")]
    BasicConstraints,
    #[error("a root has no path length: nothing would hold anyone to it")]
    RootPathLength,
    #[error("a root's name must have a space in it, so that no label equals it")]
    RootName,
    #[error("keyUsage must be there, critical, and exactly {0}")]
    KeyUsage(&'static str),
    #[error("extKeyUsage must be exactly {0}")]
    ExtendedKeyUsage(&'static str),
    #[error("a CA certificate must carry a subjectKeyIdentifier")]
    SubjectKeyId,
    #[error("its authorityKeyIdentifier must equal the issuer's subjectKeyIdentifier")]
    AuthorityKeyId,
    #[error("a server certificate needs a subjectAltName")]
    SubjectAltName,
    #[error("a root carries no grant")]
    RootGrant,
    #[error("a server's certificate carries no grant")]
    ServerGrant,
    #[error("it carries no grant")]
    NoGrant,
    #[error("the grant must not be critical")]
    GrantCritical,
    #[error("it carries an extension of this suite that is not version 1 of the grant")]
    OtherGrantVersion,
    #[error("{0}")]
    Grant(GrantError),
    #[error("a delegation belongs in a CA certificate, this one is not a CA")]
    DelegationInLeaf,
    #[error("a CA certificate must carry a delegation, this one carries {0}")]
    LeafGrantInCa(&'static str),
    #[error("a {0} certificate stands where a delegation must be")]
    NotADelegation(&'static str),
    #[error("a {0} certificate stands where a leaf must be")]
    NotALeaf(&'static str),
    #[error("a {0} certificate cannot speak for a server")]
    NotAServer(&'static str),
    #[error("a server presents its certificate alone, or it and the root that issued it")]
    ServerChain,
    #[error("larger than its issuer: {0}")]
    Misfit(Misfit),
    #[error("this delegation is for other hosts than this one")]
    OtherHost,
}

/// What the library says, in words of the profile.
fn in_words(error: &webpki::Error) -> String {
    use webpki::Error;
    let seconds = |time: &rustls_pki_types::UnixTime| time.as_secs();
    match error {
        Error::CertExpired { not_after, .. } => {
            format!("a certificate of the chain expired at {} (Unix seconds)", seconds(not_after))
        }
        Error::CertNotValidYet { not_before, .. } => format!(
            "a certificate of the chain is not valid before {} (Unix seconds)",
            seconds(not_before)
        ),
        Error::UnknownIssuer => {
            "no path leads from this root to it: another root, or an issuer is missing".to_owned()
        }
        Error::InvalidSignatureForPublicKey => {
            "a signature in the chain is not by the issuer's key".to_owned()
        }
        Error::RequiredEkuNotFoundContext(_) => {
            "every certificate below the root must have the extKeyUsage of its place: clientAuth, \
             or serverAuth for a server"
                .to_owned()
        }
        Error::MaximumPathDepthExceeded => "a leaf has at most six delegations above it".to_owned(),
        Error::PathLenConstraintViolated => {
            "a certificate of the chain has a path length that does not allow what is below it"
                .to_owned()
        }
        Error::EndEntityUsedAsCa => "a leaf stands where a CA must be".to_owned(),
        Error::CaUsedAsEndEntity => "a CA stands where a leaf must be".to_owned(),
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "signatures and keys must be Ed25519, ECDSA P-256 or P-384".to_owned()
        }
        Error::UnsupportedCriticalExtension => {
            "a critical extension that nobody here knows".to_owned()
        }
        other => format!("no valid path leads from this root to it: {other}"),
    }
}

impl Fault {
    pub(super) fn of(self, subject: &str) -> ChainError {
        ChainError { certificate: Some(subject.to_owned()), fault: self }
    }

    /// The number of the rule in the profile's "Rules for a server".
    pub const fn rule(&self) -> u8 {
        match self {
            Self::NoCertificate => 1,
            Self::TooLong(_)
            | Self::NotThePath
            | Self::Path(webpki::Error::MaximumPathDepthExceeded) => 2,
            Self::NoGrant
            | Self::ServerGrant
            | Self::DelegationInLeaf
            | Self::LeafGrantInCa(_)
            | Self::NotADelegation(_)
            | Self::NotALeaf(_) => 4,
            Self::Misfit(_) => 5,
            Self::OtherHost => 6,
            _ => 3,
        }
    }

    /// Whether the library judged it, in the handshake.
    pub const fn in_handshake(&self) -> bool {
        matches!(
            self,
            Self::NoCertificate | Self::Path(_) | Self::Clock | Self::RootNotValid { .. }
        )
    }
}
