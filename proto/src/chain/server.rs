//! The client's half: who a server is (the profile's rules for a client).

use rustls_pki_types::{CertificateDer, ServerName};
use webpki::{EndEntityCert, KeyUsage};

use super::certificate::{self, Role};
use super::walk::Walk;
use super::{ChainError, Fault, Root, SIGNATURES};

/// id-kp-serverAuth (RFC 5280, 4.2.1.12), as DER content octets.
const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];

/// Whether the server may call itself `name`. It presents its certificate
/// alone, or it and the root; the root itself issued it.
///
/// `now` is in Unix seconds.
///
/// # Errors
/// [`ChainError`]
pub fn verify_server(
    presented: &[CertificateDer<'_>],
    root: &Root,
    name: &ServerName<'_>,
    now: i64,
) -> Result<(), ChainError> {
    let (server, _) = presented.split_first().ok_or(Fault::NoCertificate)?;
    let end_entity = EndEntityCert::try_from(server).map_err(Fault::Path)?;
    end_entity.verify_is_valid_for_subject_name(name).map_err(Fault::Path)?;
    verify_server_path(presented, root, now)
}

/// Everything of [`verify_server`] but the name: what a server can find out of itself at start.
///
/// # Errors
/// [`ChainError`]
pub fn verify_server_path(
    presented: &[CertificateDer<'_>],
    root: &Root,
    now: i64,
) -> Result<(), ChainError> {
    let (server, rest) = presented.split_first().ok_or(Fault::NoCertificate)?;
    if !(rest.is_empty() || rest.len() == 1 && rest[0].as_ref() == root.der()) {
        return Err(Fault::ServerChain.into());
    }
    root.check_validity(now)?;
    let end_entity = EndEntityCert::try_from(server).map_err(Fault::Path)?;
    end_entity
        .verify_for_usage(
            SIGNATURES,
            &[root.anchor()],
            &[],
            super::unix_time(now)?,
            KeyUsage::required(SERVER_AUTH),
            None,
            None,
        )
        .map_err(Fault::Path)?;
    let certificate = Walk::from(root).read(server.as_ref())?;
    let Role::Server = certificate.role else {
        return Err(Fault::NotAServer(certificate.role.name()).of(&certificate.subject));
    };
    certificate::label(&certificate.subject).map(drop)
}
