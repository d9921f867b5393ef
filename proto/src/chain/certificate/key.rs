//! Keys and signatures that the profile allows.

use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::chain::{Fault, SIGNATURES};

/// A public key of the profile.
#[derive(Debug, Clone)]
pub(in crate::chain) struct PublicKey {
    algorithm: &'static [u8],
    bits: Vec<u8>,
}

impl PublicKey {
    /// The key of a certificate.
    pub(super) fn of(key: &SubjectPublicKeyInfo<'_>) -> Result<Self, Fault> {
        let algorithm = algorithm(key)?;
        Ok(Self { algorithm, bits: key.subject_public_key.data.to_vec() })
    }

    /// Whether `signature` over `message`, by an algorithm out of [`of_signature`], is by
    /// this key.
    pub(in crate::chain) fn has_signed(
        &self,
        message: &[u8],
        algorithm: &[u8],
        signature: &[u8],
    ) -> bool {
        SIGNATURES.iter().any(|known| {
            known.public_key_alg_id().as_ref() == self.algorithm
                && known.signature_alg_id().as_ref() == algorithm
                && known.verify_signature(&self.bits, message, signature).is_ok()
        })
    }
}

/// The AlgorithmIdentifiers of keys that the profile allows, as DER content octets.
static KEY_ALGORITHMS: [&[u8]; 3] = [
    // id-Ed25519
    &[6, 3, 0x2b, 0x65, 0x70],
    // id-ecPublicKey, secp256r1
    &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
    // id-ecPublicKey, secp384r1
    &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22],
];

fn algorithm(key: &SubjectPublicKeyInfo<'_>) -> Result<&'static [u8], Fault> {
    // The AlgorithmIdentifier is the first element of the SubjectPublicKeyInfo. All that are
    // allowed are short, so their lengths have one octet.
    let inner = key.raw.get(2..).filter(|_| key.raw.get(1).is_some_and(|length| *length < 0x80));
    KEY_ALGORITHMS
        .into_iter()
        .find(|algorithm| {
            inner.is_some_and(|inner| {
                inner.first() == Some(&0x30)
                    && inner.get(1).map(|length| usize::from(*length)) == Some(algorithm.len())
                    && inner.get(2..).is_some_and(|rest| rest.starts_with(algorithm))
            })
        })
        .ok_or(Fault::KeyAlgorithm)
}

/// The AlgorithmIdentifiers of signatures that the profile allows, as DER content octets: Ed25519,
/// ecdsa-with-SHA256, ecdsa-with-SHA384, none of which has parameters.
static SIGNATURE_ALGORITHMS: [&[u8]; 3] = [
    &[6, 3, 0x2b, 0x65, 0x70],
    &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
    &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3],
];

/// The algorithm of a signature, if it is one of the profile's.
pub(super) fn of_signature(algorithm: &AlgorithmIdentifier<'_>) -> Result<&'static [u8], Fault> {
    let oid = algorithm.algorithm.as_bytes();
    SIGNATURE_ALGORITHMS
        .into_iter()
        .find(|known| known.get(2..) == Some(oid))
        .filter(|_| algorithm.parameters.is_none())
        .ok_or(Fault::SignatureAlgorithm)
}

/// The algorithm of a signature with these contents of its AlgorithmIdentifier, if it is one of the
/// profile's.
pub(in crate::chain) fn signature_known(contents: &[u8]) -> Option<&'static [u8]> {
    SIGNATURE_ALGORITHMS.into_iter().find(|known| *known == contents)
}
