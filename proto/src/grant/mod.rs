//! Grants in DER: what a certificate's extension carries.
//!
//! [`Grant::from_der`] accepts exactly the encodings that [`Grant::to_der`] makes: it decodes,
//! holds every rule of the profile, encodes again and compares. So there is one encoding of each
//! grant, and nothing in it is ignored.

mod asn1;
mod from_asn1;
mod to_asn1;

use crate::permission::Permissions;
use crate::resource::{Delegation, Machine, ResourceError};

/// The extension's object identifier, `2.25.2342026648582221423.1`, as its DER content octets.
///
/// The arc after 2.25 has 61 bits, more than many libraries hold, so the OID is kept encoded.
pub const OID: &[u8] = &[0x69, 0xa0, 0xc0, 0xa3, 0x9a, 0xc0, 0xd9, 0xf7, 0xdc, 0x6f, 0x01];

/// The arcs under which no other extension may appear, `2.25.2342026648582221423`.
pub const BASE_OID: &[u8] = &[0x69, 0xa0, 0xc0, 0xa3, 0x9a, 0xc0, 0xd9, 0xf7, 0xdc, 0x6f];

/// The largest grant in bytes. A certificate message of TLS is at most 64 KiB.
pub const MAX_DER: usize = 64 << 10;

/// What a certificate grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// In a CA certificate: a share of the host.
    Delegation(Delegation),
    /// In a leaf: interactive use.
    Permissions(Permissions),
    /// In a leaf: exactly this machine.
    Machine(Machine),
}

/// Why bytes are not a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// the grant has {0} bytes, more than 64 KiB
    #[error("the grant has {0} bytes, more than 64 KiB")]
    TooLarge(usize),
    /// the grant is not the profile's ASN.1 in DER: {0}
    #[error("the grant is not the profile's ASN.1 in DER: {0}")]
    Der(String),
    /// the grant is not in canonical DER: encoding it again gives other bytes
    #[error("the grant is not in canonical DER: encoding it again gives other bytes")]
    NotCanonical,
    /// the grant breaks a rule: {0}
    #[error("the grant breaks a rule: {0}")]
    Rule(#[from] ResourceError),
    /// permissions have 1 to 13 bits, the last one set
    #[error("permissions have 1 to 13 bits, the last one set")]
    Permissions,
    /// {what} must have {expected} octets, not {found}
    #[error("{what} must have {expected} octets, not {found}")]
    Octets {
        /// which field
        what: &'static str,
        /// how many it has by the profile
        expected: usize,
        /// how many there are
        found: usize,
    },
}

impl Grant {
    /// Decodes a grant.
    ///
    /// # Errors
    /// [`GrantError`] for everything but the one canonical encoding of a grant that keeps every
    /// rule of the profile.
    pub fn from_der(der: &[u8]) -> Result<Self, GrantError> {
        if der.len() > MAX_DER {
            return Err(GrantError::TooLarge(der.len()));
        }
        let decoded: asn1::Grant =
            rasn::der::decode(der).map_err(|error| GrantError::Der(error.to_string()))?;
        let grant = Self::try_from(decoded)?;
        if grant.to_der() == der { Ok(grant) } else { Err(GrantError::NotCanonical) }
    }

    /// Encodes the grant in DER.
    pub fn to_der(&self) -> Vec<u8> {
        #[allow(
            clippy::expect_used,
            reason = "encoding fails only for values that the types cannot hold"
        )]
        rasn::der::encode(&asn1::Grant::from(self)).expect("every grant has an encoding")
    }

    /// `delegation`, `permissions` or `machine`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Delegation(_) => "delegation",
            Self::Permissions(_) => "permissions",
            Self::Machine(_) => "machine",
        }
    }
}
