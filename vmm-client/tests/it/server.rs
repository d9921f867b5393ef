//! A server that goes by a script.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use vmm_proto::message::ALPN;
use vmm_proto::message::client::{Reply, Request, ToServer};
use vmm_service::connection::{Reader, Writer};

use crate::authority::Authority;

/// A listening server.
pub(crate) struct Server {
    listener: TcpListener,
    config: ServerConfig,
    pub(crate) port: u16,
}

/// One client, after the handshake.
pub(crate) struct Peer {
    pub(crate) reader: Reader<ReadHalf<TlsStream<TcpStream>>, ToServer>,
    pub(crate) writer: Writer<WriteHalf<TlsStream<TcpStream>>, Reply>,
    /// What it presented.
    pub(crate) chain: Vec<CertificateDer<'static>>,
}

impl Server {
    /// A server that goes by `name` and wants client certificates, as a stock library judges them.
    pub(crate) async fn named(authority: &Authority, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.root_der.clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap();
        let (certificate, key) = authority.server(name);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        Self { listener, config, port }
    }

    /// A server at 127.0.0.1.
    pub(crate) async fn new(authority: &Authority) -> Self {
        Self::named(authority, "127.0.0.1").await
    }

    /// The same, speaking another protocol.
    pub(crate) fn speaking(mut self, alpn: &[u8]) -> Self {
        self.config.alpn_protocols = vec![alpn.to_vec()];
        self
    }

    /// Accepts one client.
    pub(crate) async fn accept(self) -> std::io::Result<Peer> {
        let (stream, _) = self.listener.accept().await?;
        let stream = TlsAcceptor::from(Arc::new(self.config)).accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap().to_vec();
        let (read, write) = tokio::io::split(stream);
        Ok(Peer { reader: Reader::new(read), writer: Writer::new(write), chain })
    }
}

impl Peer {
    /// The first request.
    pub(crate) async fn request(&mut self) -> Request {
        match self.reader.next().await.unwrap() {
            Some((1, ToServer::Open(request))) => request,
            other => panic!("{other:?}"),
        }
    }

    /// Sends replies to the first request.
    pub(crate) async fn reply(&mut self, replies: impl IntoIterator<Item = Reply>) {
        for reply in replies {
            self.writer.send(1, &reply).await.unwrap();
        }
    }

    /// Waits until the client has gone.
    pub(crate) async fn rest(mut self) -> Vec<(u32, ToServer)> {
        let mut rest = Vec::new();
        while let Ok(Some(message)) = self.reader.next().await {
            rest.push(message);
        }
        rest
    }
}
