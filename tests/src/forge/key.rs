//! Keys that sign, of kinds that the profile allows and of kinds that it does not.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};

use super::der;

const ED25519: &[u128] = &[1, 3, 101, 112];
const EC_PUBLIC_KEY: &[u128] = &[1, 2, 840, 10045, 2, 1];
const RSA_ENCRYPTION: &[u128] = &[1, 2, 840, 113_549, 1, 1, 1];
const SHA256_WITH_RSA: &[u128] = &[1, 2, 840, 113_549, 1, 1, 11];
/// sha1WithRSAEncryption
pub const SHA1_WITH_RSA: &[u128] = &[1, 2, 840, 113_549, 1, 1, 5];
/// ecdsa-with-SHA1
pub const ECDSA_SHA1: &[u128] = &[1, 2, 840, 10045, 4, 1];
/// ecdsa-with-SHA256
pub const ECDSA_SHA256: &[u128] = &[1, 2, 840, 10045, 4, 3, 2];
/// ecdsa-with-SHA384
pub const ECDSA_SHA384: &[u128] = &[1, 2, 840, 10045, 4, 3, 3];
/// ecdsa-with-SHA512
pub const ECDSA_SHA512: &[u128] = &[1, 2, 840, 10045, 4, 3, 4];

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Allowed by the profile, its default.
    Ed25519,
    /// Allowed: ECDSA P-256, signing over SHA-256.
    P256,
    /// Allowed: ECDSA P-384, signing over SHA-384.
    P384,
    /// Not allowed: ECDSA P-521.
    P521,
    /// Not allowed: RSA with 2048 bits.
    Rsa,
}

/// A private key. Clones are the same key.
#[derive(Debug, Clone)]
pub struct Key(Arc<Pair>);

#[derive(Debug)]
enum Pair {
    Ed25519 { pair: Ed25519KeyPair, seed: Vec<u8> },
    Ecdsa { pair: EcdsaKeyPair, curve: &'static [u128], algorithm: &'static [u128] },
    Rsa(RsaKeyPair),
}

impl Key {
    /// The Ed25519 key of that name: the same one each time, so that a failing test fails again.
    pub fn named(name: &str) -> Self {
        let seed = digest(&SHA256, format!("forged key of {name}").as_bytes()).as_ref().to_vec();
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 octets are a seed");
        Self(Arc::new(Pair::Ed25519 { pair, seed }))
    }

    /// A new key. Making an RSA key takes some tenths of a second.
    pub fn generate(kind: Kind) -> Self {
        let ecdsa = |signing, curve, algorithm| {
            let pair = EcdsaKeyPair::generate(signing).expect("key generation works");
            Pair::Ecdsa { pair, curve, algorithm }
        };
        Self(Arc::new(match kind {
            Kind::Ed25519 => {
                let mut seed = vec![0; 32];
                aws_lc_rs::rand::fill(&mut seed).expect("there is randomness");
                let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("32 octets");
                Pair::Ed25519 { pair, seed }
            }
            Kind::P256 => {
                ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, &[1, 2, 840, 10045, 3, 1, 7], ECDSA_SHA256)
            }
            Kind::P384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING, &[1, 3, 132, 0, 34], ECDSA_SHA384),
            Kind::P521 => ecdsa(&ECDSA_P521_SHA512_ASN1_SIGNING, &[1, 3, 132, 0, 35], ECDSA_SHA512),
            Kind::Rsa => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key")),
        }))
    }

    /// Its SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        let (algorithm, public) = match &*self.0 {
            Pair::Ed25519 { pair, .. } => {
                (der::sequence(&[der::oid(ED25519)]), pair.public_key().as_ref())
            }
            Pair::Ecdsa { pair, curve, .. } => (
                der::sequence(&[der::oid(EC_PUBLIC_KEY), der::oid(curve)]),
                pair.public_key().as_ref(),
            ),
            Pair::Rsa(pair) => (
                der::sequence(&[der::oid(RSA_ENCRYPTION), der::tlv(der::NULL, &[])]),
                pair.public_key().as_ref(),
            ),
        };
        der::sequence(&[algorithm, bit_string(public)])
    }

    /// SHA-256 of its SubjectPublicKeyInfo, by which the profile knows a key.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.spki())
    }

    /// What it puts into a subjectKeyIdentifier: 20 octets.
    pub fn identifier(&self) -> Vec<u8> {
        self.digest()[..20].to_vec()
    }

    /// The AlgorithmIdentifier of its signatures.
    pub fn algorithm(&self) -> Vec<u8> {
        match &*self.0 {
            Pair::Ed25519 { .. } => der::sequence(&[der::oid(ED25519)]),
            Pair::Ecdsa { algorithm, .. } => der::sequence(&[der::oid(algorithm)]),
            Pair::Rsa(_) => der::sequence(&[der::oid(SHA256_WITH_RSA), der::tlv(der::NULL, &[])]),
        }
    }

    /// A signature, as it stands inside a certificate's BIT STRING.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &*self.0 {
            Pair::Ed25519 { pair, .. } => pair.sign(message).as_ref().to_vec(),
            Pair::Ecdsa { pair, .. } => {
                pair.sign(&random, message).expect("signing works").as_ref().to_vec()
            }
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut out)
                    .expect("signing works");
                out
            }
        }
    }

    /// The private key as PKCS#8 version 1.
    pub fn pkcs8(&self) -> Vec<u8> {
        match &*self.0 {
            Pair::Ed25519 { seed, .. } => der::sequence(&[
                der::integer(0),
                der::sequence(&[der::oid(ED25519)]),
                der::tlv(der::OCTET_STRING, &der::tlv(der::OCTET_STRING, seed)),
            ]),
            Pair::Ecdsa { pair, .. } => {
                pair.to_pkcs8v1().expect("a generated key can be written").as_ref().to_vec()
            }
            Pair::Rsa(pair) => {
                let document: Pkcs8V1Der<'_> =
                    pair.as_der().expect("a generated key can be written");
                document.as_ref().to_vec()
            }
        }
    }
}

/// A BIT STRING without unused bits.
pub(super) fn bit_string(octets: &[u8]) -> Vec<u8> {
    der::tlv(der::BIT_STRING, &[&[0], octets].concat())
}

/// SHA-256
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 octets")
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::sign::any_supported_type;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    use super::*;

    #[test]
    fn a_private_key_can_be_used_in_a_handshake() {
        for kind in [Kind::Ed25519, Kind::P256, Kind::P384, Kind::P521, Kind::Rsa] {
            let key = Key::generate(kind);
            let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8()));
            let loaded = any_supported_type(&der).expect("rustls reads the key");
            let public = loaded.public_key().expect("a key pair has a public key");
            assert_eq!(public.as_ref(), key.spki(), "{kind:?}");
        }
    }
}
