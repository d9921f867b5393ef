//! PEM, with bounds (RFC 7468).

use std::path::Path;

use rustls_pki_types::pem::{PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::{Error, file};

/// The largest file of certificates, keys or requests, in bytes. A chain of eight certificates of
/// the largest size that a handshake carries is well below it.
pub const MAX_FILE: u64 = 1 << 20;

/// The largest certificate or request in DER, in bytes: a handshake message of TLS carries no more.
pub const MAX_DER: usize = 64 << 10;

/// At most so many certificates in one bundle.
pub const MAX_CERTIFICATES: usize = 16;

/// One section of a PEM file, or the whole of a DER file.
#[derive(Debug)]
pub enum Section {
    /// a certificate
    Certificate(CertificateDer<'static>),
    /// a PKCS#10 request
    Request(Vec<u8>),
    /// a revocation list
    RevocationList(Vec<u8>),
    /// a private key, which nobody looks into
    PrivateKey,
    /// something else, by its PEM label
    Other(&'static str),
}

/// The certificates of a PEM text, in order; other sections are passed over.
///
/// # Errors
/// [`Error::Malformed`] for bad PEM, no certificate, more than [`MAX_CERTIFICATES`], or one of more
/// than [`MAX_DER`] bytes.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let mut found = Vec::new();
    for section in sections(pem)? {
        if let Section::Certificate(certificate) = section {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(Error::Malformed("no certificate in it".to_owned()));
    }
    Ok(found)
}

/// The PEM label of a key under a passphrase.
const SEALED: &str = "ENCRYPTED PRIVATE KEY";

/// The one private key of a PEM text, if it is one under a passphrase: in DER, still encrypted.
///
/// # Errors
/// [`Error::Malformed`] when there is another key beside it.
pub fn sealed_key(pem: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let begin = format!("-----BEGIN {SEALED}-----");
    if !contains(pem, begin.as_bytes()) {
        return Ok(None);
    }
    let sections =
        pem::parse_many(pem).map_err(|error| Error::Malformed(format!("not PEM: {error}")))?;
    let mut keys = sections.into_iter().filter(|section| section.tag().ends_with("PRIVATE KEY"));
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(Some(key.into_contents())),
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(Error::Malformed("more than one private key in it".to_owned())),
    }
}

/// The one private key of a PEM text.
///
/// # Errors
/// [`Error::Malformed`] for bad PEM, an encrypted key, no key, or several.
pub fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    let mut keys = PrivateKeyDer::pem_slice_iter(pem);
    let first = keys.next().transpose().map_err(malformed)?;
    match (first, keys.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(Error::Malformed("more than one private key in it".to_owned())),
        (None, _) if contains(pem, SEALED.as_bytes()) => Err(Error::Malformed(
            "the private key is encrypted, and nobody can be asked here: decrypt it first (openssl \
             pkey)"
                .to_owned(),
        )),
        (None, _) => Err(Error::Malformed("no private key in it".to_owned())),
    }
}

/// The one PKCS#10 request of a PEM text, in DER.
///
/// # Errors
/// [`Error::Malformed`]
pub fn request(pem: &[u8]) -> Result<Vec<u8>, Error> {
    let mut requests = sections(pem)?.into_iter().filter_map(|section| match section {
        Section::Request(der) => Some(der),
        _ => None,
    });
    match (requests.next(), requests.next()) {
        (Some(request), None) => Ok(request),
        (Some(_), Some(_)) => Err(Error::Malformed("more than one request in it".to_owned())),
        (None, _) => Err(Error::Malformed("no certificate request in it".to_owned())),
    }
}

/// Everything in a PEM text that has a meaning here.
///
/// # Errors
/// [`Error::Malformed`]
pub fn sections(pem: &[u8]) -> Result<Vec<Section>, Error> {
    let mut found = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) = section.map_err(malformed)?;
        if found.len() == MAX_CERTIFICATES {
            return Err(Error::Malformed(format!("more than {MAX_CERTIFICATES} sections in it")));
        }
        let section = match kind {
            SectionKind::Certificate => Section::Certificate(bounded(der)?.into()),
            SectionKind::Csr => Section::Request(bounded(der)?),
            SectionKind::PrivateKey | SectionKind::EcPrivateKey | SectionKind::RsaPrivateKey => {
                Section::PrivateKey
            }
            // As large as its file: it names many certificates.
            SectionKind::Crl => Section::RevocationList(der),
            SectionKind::PublicKey => Section::Other("PUBLIC KEY"),
            _ => Section::Other("a section that is not known here"),
        };
        found.push(section);
    }
    Ok(found)
}

/// Reads the certificates of a file.
///
/// # Errors
/// [`Error::Io`], [`Error::Unreadable`]
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    certificates(&file::read(path, MAX_FILE)?).map_err(|error| error.in_file(path))
}

/// Reads the one private key of a file.
///
/// # Errors
/// [`Error::Io`], [`Error::Unreadable`]
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    key(&file::read(path, MAX_FILE)?).map_err(|error| error.in_file(path))
}

/// `der` in PEM under `label`.
pub fn encode(label: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}

/// Certificates in PEM, in the order given.
pub fn encode_certificates<'c>(
    certificates: impl IntoIterator<Item = &'c CertificateDer<'static>>,
) -> String {
    certificates.into_iter().map(|certificate| encode("CERTIFICATE", certificate)).collect()
}

fn bounded(der: Vec<u8>) -> Result<Vec<u8>, Error> {
    if der.len() > MAX_DER {
        let problem = format!("a section of {} bytes, more than {MAX_DER}", der.len());
        return Err(Error::Malformed(problem));
    }
    Ok(der)
}

fn malformed(error: rustls_pki_types::pem::Error) -> Error {
    use rustls_pki_types::pem::Error as Pem;
    Error::Malformed(match error {
        Pem::MissingSectionEnd { .. } => "cut off: a PEM section has no end".to_owned(),
        Pem::IllegalSectionStart { .. } => "not PEM: a malformed BEGIN line".to_owned(),
        Pem::Base64Decode(_) => "not PEM: a section is not base64".to_owned(),
        other => format!("not PEM: {other}"),
    })
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_pem_is_named_for_what_it_is() {
        let text = |error: Error| error.to_string();
        assert_eq!(text(certificates(b"hello").unwrap_err()), "no certificate in it");
        let cut = b"-----BEGIN CERTIFICATE-----\nMIIB\n";
        assert_eq!(text(certificates(cut).unwrap_err()), "cut off: a PEM section has no end");
        let noise = b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        assert_eq!(text(certificates(noise).unwrap_err()), "not PEM: a section is not base64");
        let sealed =
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(text(key(sealed).unwrap_err()).contains("encrypted"));
    }

    #[test]
    fn a_bundle_is_bounded_in_number_and_size() {
        let one = encode("CERTIFICATE", &[1, 2, 3]);
        assert_eq!(certificates(one.repeat(MAX_CERTIFICATES).as_bytes()).unwrap().len(), 16);
        assert!(certificates(one.repeat(MAX_CERTIFICATES + 1).as_bytes()).is_err());
        let large = encode("CERTIFICATE", &vec![0; MAX_DER + 1]);
        assert!(certificates(large.as_bytes()).is_err());
    }

    #[test]
    fn two_keys_in_one_file_are_none() {
        let key_pem = crate::key::Key::generate(crate::key::Algorithm::P256).unwrap().to_pem();
        assert!(key(key_pem.as_bytes()).is_ok());
        assert!(key(key_pem.repeat(2).as_bytes()).is_err());
    }
}
