//! TLS as the certificate profile wants it (rules 1 and 3): version 1.3 only, a client certificate
//! required, nothing remembered between two connections.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use vmm_proto::chain::certificate::{Certificate, Role};
use vmm_proto::chain::{self, ChainError, Fault, Root};
use vmm_proto::id::Digest;
use vmm_proto::message::ALPN;
use vmm_service::tls;

/// The largest PEM file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What the server is configured with.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The one root.
    pub(crate) root: Arc<Root>,
    /// SHA-256 of this server's SubjectPublicKeyInfo (rule 6).
    pub(crate) key: Digest,
    /// For the acceptor.
    pub(crate) config: Arc<ServerConfig>,
}

/// Reads the three files and makes the configuration.
///
/// # Errors
/// When a file cannot be read, or is not what the profile wants in its place.
pub(crate) fn identity(ca: &Path, cert: &Path, key: &Path) -> anyhow::Result<Identity> {
    let root = read_root(ca)?;
    let presented = certificates(cert)?;
    let own = &presented[0];
    let parsed = Certificate::parse(own)
        .with_context(|| format!("{} is no server certificate", cert.display()))?;
    let Role::Server = parsed.role else {
        bail!(
            "{} is a {} certificate; give the server's (server.pem of `vmm-ca init`)",
            cert.display(),
            parsed.role.name()
        );
    };
    chain::verify_server_path(&presented, &root, crate::clock::unix_s())
        .with_context(|| format!("every client would refuse {}", cert.display()))?;
    let key_pem = read_file(key)?;
    let key_der = PrivateKeyDer::from_pem_slice(&key_pem)
        .with_context(|| format!("{} holds no private key in PEM", key.display()))?;
    let root = Arc::new(root);
    let config = server_config(&root, presented, key_der).with_context(|| {
        format!("{} and {} do not make a TLS server", cert.display(), key.display())
    })?;
    Ok(Identity { root, key: parsed.key, config: Arc::new(config) })
}

fn read_root(ca: &Path) -> anyhow::Result<Root> {
    let certificates = certificates(ca)?;
    let [der] = certificates.as_slice() else {
        bail!(
            "{} holds {} certificates; give the root's alone (cacert.pem of `vmm-ca init`)",
            ca.display(),
            certificates.len()
        );
    };
    let root = Root::from_der(der).with_context(|| ca.display().to_string())?;
    root.check_validity(crate::clock::unix_s()).with_context(|| ca.display().to_string())?;
    Ok(root)
}

fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// All certificates of a file, at least one.
fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let text = read_file(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.with_context(|| format!("{} is no PEM", path.display()))?;
    if all.is_empty() {
        bail!("{} holds no certificate in PEM", path.display());
    }
    Ok(all)
}

fn server_config(
    root: &Arc<Root>,
    presented: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, Error> {
    let verifier = Arc::new(PathVerifier {
        root: Arc::clone(root),
        hints: vec![DistinguishedName::in_sequence(root.subject_der())],
    });
    let mut config = ServerConfig::builder_with_provider(Arc::new(tls::provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(presented, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would skip the verifier.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The part of the verification that belongs into the handshake: the library's.
#[derive(Debug)]
struct PathVerifier {
    root: Arc<Root>,
    hints: Vec<DistinguishedName>,
}

impl ClientCertVerifier for PathVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut presented = vec![end_entity.clone()];
        presented.extend(intermediates.iter().cloned());
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match chain::verify_path(&presented, &self.root, now) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(error) => Err(alert(error)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls::no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls::verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::schemes()
    }
}

/// The alert that says as much as an alert can.
fn alert(error: ChainError) -> Error {
    use chain::PathError as Path;
    let certificate = match &error.fault {
        Fault::Path(Path::CertExpired { .. }) => CertificateError::Expired,
        Fault::Path(Path::CertNotValidYet { .. }) => CertificateError::NotValidYet,
        Fault::Path(Path::UnknownIssuer) => CertificateError::UnknownIssuer,
        Fault::Path(Path::BadDer | Path::BadDerTime) => CertificateError::BadEncoding,
        Fault::Path(Path::InvalidSignatureForPublicKey) => CertificateError::BadSignature,
        Fault::Path(Path::RequiredEkuNotFoundContext(_)) => CertificateError::InvalidPurpose,
        _ => CertificateError::Other(OtherError(Arc::new(error))),
    };
    Error::InvalidCertificate(certificate)
}
