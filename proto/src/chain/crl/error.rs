//! Why a revocation list is refused.

use super::{MAX_DER, MAX_EXTENSIONS, SKEW_S};
use crate::chain::ChainError;
use crate::revocation::{BadSerial, MAX_CHAIN_BYTES, MAX_SERIALS};

/// What is wrong with a list. The message is the documentation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message says what it means")]
pub enum CrlError {
    #[error("the chain of the list's issuer is refused: {0}")]
    Chain(#[from] ChainError),
    #[error(
        "the chain of the list's issuer has {0} bytes; no more than {MAX_CHAIN_BYTES} can be presented \
         (certificate profile, rule 2)"
    )]
    ChainTooLarge(usize),
    #[error("the list has {0} bytes; at most {MAX_DER} are taken (certificate profile, rule 8)")]
    TooLarge(usize),
    #[error(
        "the list has more than {MAX_SERIALS} entries: leave out the certificates that have expired"
    )]
    TooMany,
    #[error("not a certificate revocation list (CRL) in DER")]
    Der,
    #[error("the list has bytes behind its end")]
    Trailing,
    #[error("the list must be a CRL of version 2 (RFC 5280, 5.1.2.1)")]
    Version,
    #[error("the list must be signed with Ed25519, or ECDSA with SHA-256 or SHA-384")]
    SignatureAlgorithm,
    #[error("the list names one signature algorithm inside and another one outside")]
    AlgorithmMismatch,
    #[error("the list is not by the CA whose chain comes with it: it names another issuer")]
    OtherIssuer,
    #[error(
        "the list's authorityKeyIdentifier must equal the subjectKeyIdentifier of the CA whose \
         chain comes with it"
    )]
    AuthorityKeyId,
    #[error("the list is not signed by the key of the CA whose chain comes with it")]
    Signature,
    #[error("a time in the list is not one of RFC 5280 (5.1.2.4)")]
    Time,
    #[error(
        "the list was made at {0} (Unix seconds), which is more than {SKEW_S} seconds from now: is \
         a clock wrong?"
    )]
    FromTheFuture(i64),
    #[error("the list must say when the next one comes (nextUpdate; certificate profile, rule 8)")]
    NoNextUpdate,
    #[error("the list's nextUpdate must be later than its thisUpdate")]
    NextUpdateFirst,
    #[error("the list must have a cRLNumber (certificate profile, rule 8)")]
    NoNumber,
    #[error("the list's cRLNumber must be an INTEGER that is not negative, of at most 20 octets")]
    Number,
    #[error("the list must be a full CRL, not a delta (certificate profile, rule 8)")]
    Delta,
    #[error(
        "the list must be a full CRL of its issuer alone, without an issuingDistributionPoint: no \
         indirect and no partial ones (certificate profile, rule 8)"
    )]
    Partial,
    #[error(
        "an entry of the list names a certificate of another issuer: no indirect CRLs (certificate \
         profile, rule 8)"
    )]
    Indirect,
    #[error("the list has the critical extension {0}, and none is known here")]
    Critical(String),
    #[error("the extension {0} stands twice in the list or in one of its entries")]
    ExtensionTwice(String),
    #[error("the list or an entry has more than {MAX_EXTENSIONS} extensions")]
    TooManyExtensions,
    #[error("the extension {0} of the list or of an entry cannot be read")]
    Extension(&'static str),
    #[error("a serial number in the list must be positive, in DER, and have 1 to 20 octets")]
    Serial,
    #[error("an entry has the reason removeFromCRL, which is for deltas only")]
    RemoveFromCrl,
}

impl From<BadSerial> for CrlError {
    fn from(_: BadSerial) -> Self {
        Self::Serial
    }
}
