//! A client that does what it is told and nothing to help: for bad input on a real connection.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme,
    StreamOwned,
};
use vmm_proto::message::ALPN;
use vmm_proto::message::client::{Reply, ToServer};
use vmm_service::tls;
use vmm_testkit::PATIENCE;

use crate::forge::{Forge, Forged};

/// Does not look at the server: these tests are about what the server makes of the client.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
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

/// What a peer shows of itself.
#[derive(Debug)]
pub struct Credentials {
    /// The presented list; empty for none.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// From a bundle and a key in PEM.
    pub fn read(bundle: &Path, key: &Path) -> Self {
        let chain = CertificateDer::pem_file_iter(bundle).expect("a bundle");
        Self {
            chain: chain.map(|certificate| certificate.expect("a certificate")).collect(),
            key: PrivateKeyDer::from_pem_file(key).expect("a key"),
        }
    }

    /// From a forged chain.
    pub fn forged(forged: &Forged) -> Self {
        let key = PrivatePkcs8KeyDer::from(forged.key_pkcs8());
        Self {
            chain: forged.chain_der().into_iter().map(CertificateDer::from).collect(),
            key: key.into(),
        }
    }

    /// Nothing to show.
    pub fn none() -> Self {
        let any = Forge::root("ca root").permissions("nobody", &[0], |_| {}).sign();
        Self { chain: Vec::new(), ..Self::forged(&any) }
    }

    /// A configuration for [`Peer::connect`]; kept, it also keeps what a session could be resumed
    /// with.
    pub fn config(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(tls::provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer));
        let mut config = if self.chain.is_empty() {
            builder.with_no_client_auth()
        } else {
            // Not `with_client_auth_cert`: that looks at the chain first, and here it may be wrong.
            let key = provider.key_provider.load_private_key(self.key.clone_key());
            let certified = CertifiedKey::new(self.chain.clone(), key.expect("a key"));
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::in_memory_sessions(8);
        config.enable_early_data = true;
        Arc::new(config)
    }
}

/// A connection on which anything can be sent.
#[derive(Debug)]
pub struct Peer {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Peer {
    /// Connects and completes the handshake as far as a client can tell: with TLS 1.3, what the
    /// server thinks of the client comes with the first thing that is read.
    ///
    /// # Errors
    /// The server's alert, or what else went wrong, in words.
    pub fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> Result<Self, String> {
        let tcp = TcpStream::connect(address).map_err(|error| error.to_string())?;
        tcp.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(config, name).map_err(|error| error.to_string())?;
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| error.to_string())?;
        }
        Ok(Self { stream })
    }

    /// Whether the handshake was a full one.
    pub fn handshake(&self) -> Option<HandshakeKind> {
        self.stream.conn.handshake_kind()
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the server has closed.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
        sent.map_err(|error| error.to_string())
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the server has closed.
    pub fn send(&mut self, request: u32, message: &ToServer) -> Result<(), String> {
        vmm_testkit::write(&mut self.stream, request, message).map_err(|error| error.to_string())
    }

    /// The next reply; `None` when the server has closed in an orderly way.
    ///
    /// # Errors
    /// The server's alert, or what else went wrong, in words.
    pub fn receive(&mut self) -> Result<Option<(u32, Reply)>, String> {
        vmm_testkit::read(&mut self.stream).map_err(|error| error.to_string())
    }
}
