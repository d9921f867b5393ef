//! TLS as the certificate profile wants it: version 1.3, nothing remembered between connections,
//! and a server that the one root itself vouches for.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
};
use vmm_proto::chain::certificate::Certificate;
use vmm_proto::chain::{self, ChainError, Fault, PathError, Root};
use vmm_proto::message::ALPN;
use vmm_proto::message::client::ErrorCode;
use vmm_proto::revocation::Serials;
use vmm_service::tls;

use crate::credentials::Presented;
use crate::failure::{Code, Failure};
use crate::time;

/// What one connection is made with. A server whose serial number is `revoked` is refused.
pub(crate) fn config(
    presented: Presented,
    root: &Root,
    revoked: Serials,
) -> Result<ClientConfig, Failure> {
    let verifier = RootVouches { root: root.clone(), revoked };
    let Presented { chain, key } = presented;
    let usable = |error| Failure::usage(format!("the key makes no TLS client: {error}"));
    let provider = tls::provider();
    let key = provider.key_provider.load_private_key(key).map_err(usable)?;
    // The key is held against the certificate, the chain is not: that is for the server.
    let shown = CertifiedKey::new(chain, key);
    if let Err(Error::InconsistentKeys(_)) = shown.keys_match() {
        let message = "the key (--key) is not that of the bundle's first certificate (--bundle)";
        return Err(Failure::usage(message));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(usable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Accepts the servers that `proto` accepts.
#[derive(Debug)]
struct RootVouches {
    root: Root,
    revoked: Serials,
}

impl RootVouches {
    fn is_revoked(&self, server: &CertificateDer<'_>) -> bool {
        let serial = Certificate::parse(server).map(|certificate| certificate.serial);
        // It was parsed a moment ago; if not, it is nobody's to trust.
        serial.map_or(true, |serial| self.revoked.contains(&serial.0))
    }
}

impl ServerCertVerifier for RootVouches {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match chain::verify_server(&presented, &self.root, server_name, now) {
            Ok(()) if self.is_revoked(end_entity) => {
                Err(Error::InvalidCertificate(CertificateError::Revoked))
            }
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(error) => {
                let certificate = CertificateError::Other(OtherError(Arc::new(error)));
                Err(Error::InvalidCertificate(certificate))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
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

/// What this side shows, kept to explain a refusal that is only an alert or a closed connection.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) root: Root,
}

impl Shown {
    /// What the server's own checks would say of it, as far as they can be made here.
    fn fault(&self) -> Option<ChainError> {
        chain::authorize(&self.chain, &self.root, None, time::now()).err()
    }

    /// An alert, or a connection that was closed without an answer, in words.
    pub(crate) fn explain(&self, error: &str, alert: Option<AlertDescription>) -> Failure {
        let refused = |message| Failure::new(Code::Of(ErrorCode::Chain), message);
        match (self.fault(), alert) {
            (Some(fault), Some(alert)) => {
                refused(format!("the server refused the certificate ({}): {fault}", said(alert)))
            }
            (Some(fault), None) => {
                refused(format!("the server closed the connection, as it must: {fault}"))
            }
            (None, Some(alert)) if is_about_certificate(alert) => refused(format!(
                "the server refused the certificate ({}). By what can be checked here nothing is \
                 wrong with it: the server may have another root, another time, or know it to be \
                 revoked",
                said(alert)
            )),
            (None, Some(alert)) => Failure::new(
                Code::Connect,
                format!("the server ended the handshake ({})", said(alert)),
            ),
            (None, None) => Failure::new(Code::Connect, error),
        }
    }
}

fn said(alert: AlertDescription) -> String {
    format!("TLS alert {alert:?}")
}

fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}

/// The alert that ended a connection, if one did.
pub(crate) fn alert_of(error: &std::io::Error) -> Option<AlertDescription> {
    match tls_error(error)? {
        Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// Why this side will not speak with that server.
pub(crate) fn distrust(error: &std::io::Error) -> Option<String> {
    let Error::InvalidCertificate(certificate) = tls_error(error)? else { return None };
    let other = match certificate {
        CertificateError::Other(other) => other,
        CertificateError::Revoked => {
            return Some("its certificate is in the root's revocation list (--crl)".to_owned());
        }
        other => return Some(other.to_string()),
    };
    let Some(error) = other.0.downcast_ref::<ChainError>() else { return Some(other.to_string()) };
    Some(match &error.fault {
        Fault::Path(PathError::CertNotValidForName(names)) => {
            let others: Vec<_> = names.presented.iter().map(|name| bare(name)).collect();
            format!(
                "its certificate does not name {}, but {}; dial it by that name, or give that \
                 with --server-name",
                names.expected.to_str(),
                others.join(", ")
            )
        }
        _ => error.to_string(),
    })
}

/// `localhost` of `DnsName("localhost")`, as the library shows a name.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

fn tls_error(error: &std::io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}
