//! Private keys: in a file, plain or under a passphrase, or in a PKCS#11 token.

pub mod sealed;
pub mod token;
pub mod uri;

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData,
    SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use vmm_proto::chain::certificate::key_digest;
use vmm_proto::id::Digest;

use crate::Error;
use token::TokenKey;

/// The kinds of key that the profile allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Algorithm {
    /// Ed25519 (RFC 8410).
    #[default]
    Ed25519,
    /// ECDSA on P-256, with SHA-256.
    P256,
    /// ECDSA on P-384, with SHA-384.
    P384,
}

impl Algorithm {
    pub(crate) fn of(algorithm: &'static SignatureAlgorithm) -> Option<Self> {
        [
            (&PKCS_ED25519, Self::Ed25519),
            (&PKCS_ECDSA_P256_SHA256, Self::P256),
            (&PKCS_ECDSA_P384_SHA384, Self::P384),
        ]
        .into_iter()
        .find_map(|(known, name)| (algorithm == known).then_some(name))
    }
}

impl Algorithm {
    const fn of_signatures(self) -> &'static SignatureAlgorithm {
        match self {
            Self::Ed25519 => &PKCS_ED25519,
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::P384 => &PKCS_ECDSA_P384_SHA384,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "Ed25519",
            Self::P256 => "ECDSA P-256",
            Self::P384 => "ECDSA P-384",
        })
    }
}

/// A private key of one of the profile's kinds.
pub struct Key {
    pair: KeyPair,
    algorithm: Algorithm,
}

impl Key {
    /// A new random key.
    ///
    /// # Errors
    /// [`Error::Crypto`] when the library has no randomness.
    pub fn generate(algorithm: Algorithm) -> Result<Self, Error> {
        let pair = match algorithm {
            // rcgen would write version 2 of PKCS#8, which openssl and Python cannot read.
            Algorithm::Ed25519 => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())?;
                KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.as_ref().into(), &PKCS_ED25519)?
            }
            Algorithm::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            Algorithm::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?,
        };
        Ok(Self { pair, algorithm })
    }

    /// A key as it was read: PKCS#8 of either version, or SEC 1.
    ///
    /// # Errors
    /// [`Error::Malformed`] for something else, or a kind of key that the profile does not allow.
    pub fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, Error> {
        let pair = KeyPair::try_from(der)
            .map_err(|error| Error::Malformed(format!("not a private key: {error}")))?;
        let algorithm = Algorithm::of(pair.algorithm()).ok_or_else(|| {
            Error::Malformed("keys must be Ed25519, ECDSA P-256 or P-384".to_owned())
        })?;
        Ok(Self { pair, algorithm })
    }

    /// Which kind of key it is.
    pub const fn kind(&self) -> Algorithm {
        self.algorithm
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    pub fn digest(&self) -> Digest {
        key_digest(&self.pair.subject_public_key_info())
    }

    /// The key as PKCS#8 in PEM. Keys made by [`Key::generate`] are of version 1.
    pub fn to_pem(&self) -> String {
        crate::pem::encode("PRIVATE KEY", self.pair.serialized_der())
    }

    /// The key under a passphrase, in PEM.
    ///
    /// # Errors
    /// [`Error::Crypto`]
    pub fn to_sealed_pem(&self, passphrase: &str) -> Result<String, Error> {
        let sealed = sealed::seal(self.pair.serialized_der(), passphrase)?;
        Ok(crate::pem::encode("ENCRYPTED PRIVATE KEY", &sealed))
    }

    /// The key as PKCS#8 in DER.
    pub fn to_pkcs8(&self) -> PrivatePkcs8KeyDer<'static> {
        self.pair.serialized_der().to_vec().into()
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.pair.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.pair.algorithm()
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.pair.sign(message)
    }
}

/// Whatever signs: a key at hand, or one in a token.
pub enum Signer {
    /// A key from a file.
    Key(Key),
    /// A key that stays in its token.
    Token(Box<TokenKey>),
}

impl From<Key> for Signer {
    fn from(key: Key) -> Self {
        Self::Key(key)
    }
}

impl Signer {
    /// Which kind of key it is.
    pub fn kind(&self) -> Algorithm {
        match self {
            Self::Key(key) => key.kind(),
            Self::Token(key) => key.kind(),
        }
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    pub fn digest(&self) -> Digest {
        key_digest(&self.subject_public_key_info())
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::Key(key) => key.der_bytes(),
            Self::Token(key) => key.der_bytes(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::Key(key) => key.algorithm(),
            Self::Token(key) => key.algorithm(),
        }
    }
}

impl SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self {
            Self::Key(key) => key.sign(message),
            Self::Token(key) => key.sign(message),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {})", self.algorithm, self.digest())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}, {})", self.kind(), self.digest())
    }
}
