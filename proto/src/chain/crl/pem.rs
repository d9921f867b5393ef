//! A `.crl` file: the list in PEM, then the chain of its issuer (the profile's "Files").

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _, SectionKind};

use super::{CrlError, MAX_DER};
use crate::chain::MAX_PRESENTED;

/// The largest file that is read, in bytes: room for [`MAX_DER`] in base64 with line ends of two bytes,
/// and for a chain.
pub const MAX_FILE: usize = 96 << 20;

/// The largest certificate in DER, in bytes: a handshake message of TLS carries no more.
pub const MAX_CERTIFICATE: usize = 64 << 10;

/// What is in such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlFile {
    /// The list in DER.
    pub der: Vec<u8>,
    /// The chain of its issuer, that one first.
    pub chain: Vec<CertificateDer<'static>>,
}

/// Why bytes are not such a file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CrlFileError {
    /// it has {0} bytes; a revocation list with its chain has at most 100663296
    #[error("it has {0} bytes; a revocation list with its chain has at most {MAX_FILE}")]
    TooLarge(usize),
    /// not PEM: {0}
    #[error("not PEM: {0}")]
    Pem(String),
    /// it must begin with a certificate revocation list (-----BEGIN X509 CRL-----)
    #[error("it must begin with a certificate revocation list (-----BEGIN X509 CRL-----)")]
    NoCrl,
    /// it holds a second revocation list: hand them in one after another
    #[error("it holds a second revocation list: hand them in one after another")]
    SecondCrl,
    /// behind the revocation list only the certificates of its issuer's chain may follow
    #[error("behind the revocation list only the certificates of its issuer's chain may follow")]
    Other,
    /// a chain has at most 8 certificates
    #[error("a chain has at most {MAX_PRESENTED} certificates")]
    TooLong,
    /// a certificate of {0} bytes; at most 65536 are taken
    #[error("a certificate of {0} bytes; at most {MAX_CERTIFICATE} are taken")]
    Certificate(usize),
    /// {0}
    #[error("{0}")]
    Crl(#[from] CrlError),
}

impl CrlFile {
    /// Reads a file's contents. Text outside of the sections is passed over.
    ///
    /// # Errors
    /// [`CrlFileError`]
    pub fn parse(text: &[u8]) -> Result<Self, CrlFileError> {
        if text.len() > MAX_FILE {
            return Err(CrlFileError::TooLarge(text.len()));
        }
        let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(text);
        let der = match sections.next().transpose().map_err(malformed)? {
            Some((SectionKind::Crl, der)) if der.len() <= MAX_DER => der,
            Some((SectionKind::Crl, der)) => return Err(CrlError::TooLarge(der.len()).into()),
            _ => return Err(CrlFileError::NoCrl),
        };
        let mut chain = Vec::new();
        for section in sections {
            match section.map_err(malformed)? {
                (SectionKind::Crl, _) => return Err(CrlFileError::SecondCrl),
                (SectionKind::Certificate, _) if chain.len() == MAX_PRESENTED => {
                    return Err(CrlFileError::TooLong);
                }
                (SectionKind::Certificate, der) if der.len() > MAX_CERTIFICATE => {
                    return Err(CrlFileError::Certificate(der.len()));
                }
                (SectionKind::Certificate, der) => chain.push(der.into()),
                _ => return Err(CrlFileError::Other),
            }
        }
        Ok(Self { der, chain })
    }
}

fn malformed(error: pem::Error) -> CrlFileError {
    CrlFileError::Pem(match error {
        pem::Error::MissingSectionEnd { .. } => "cut off: a section has no end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a malformed BEGIN line".to_owned(),
        pem::Error::Base64Decode(_) => "a section is not base64".to_owned(),
        other => other.to_string(),
    })
}
