//! What both ends of TLS have in common: the signatures of the certificate profile, and no others.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm as Algorithm};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use vmm_proto::chain;

/// Signature algorithms of the profile, as TLS 1.3 calls them.
static SCHEMES: &[(SignatureScheme, &[&dyn Algorithm])] = &[
    (SignatureScheme::ED25519, &[chain::ED25519]),
    (SignatureScheme::ECDSA_NISTP256_SHA256, &[chain::ECDSA_P256_SHA256]),
    (SignatureScheme::ECDSA_NISTP384_SHA384, &[chain::ECDSA_P384_SHA384]),
];

const ALGORITHMS: WebPkiSupportedAlgorithms =
    WebPkiSupportedAlgorithms { all: chain::SIGNATURES, mapping: SCHEMES };

/// aws-lc-rs with the profile's signatures, and key exchanges with X25519MLKEM768 first.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        signature_verification_algorithms: ALGORITHMS,
        ..aws_lc_rs::default_provider()
    }
}

/// The schemes that a verifier of either end names.
pub fn schemes() -> Vec<SignatureScheme> {
    ALGORITHMS.supported_schemes()
}

/// Whether a handshake was signed by the key of a certificate.
///
/// # Errors
/// When it was not.
pub fn verify_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    rustls::crypto::verify_tls13_signature(message, certificate, signature, &ALGORITHMS)
}

/// There is no handshake of TLS 1.2 here.
///
/// # Errors
/// Always.
pub fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.3 only".to_owned()))
}
