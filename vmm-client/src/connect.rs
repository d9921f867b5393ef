//! From settings to a connection.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vmm_proto::message::ALPN;
use vmm_proto::permission::Permissions;
use vmm_service::connection::{Reader, Writer, greet};

use crate::credentials::{Credentials, Speaker};
use crate::failure::{Code, Failure};
use crate::output::Screen;
use crate::session::{Incoming, Outgoing, Session};
use crate::settings::{Server, Tls, Way};
use crate::time;
use crate::tls::{self, Shown};

/// How long a server may take to accept, and to shake hands.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where to connect, as whom.
#[derive(Debug)]
pub(crate) enum Dialler {
    /// The local socket.
    Local(std::path::PathBuf),
    /// TLS, with what was read from the files.
    Tls(Tls, Box<Credentials>),
}

impl Dialler {
    /// Reads the files that the way needs.
    pub(crate) fn new(way: Way) -> Result<Self, Failure> {
        match way {
            Way::Local(socket) => Ok(Self::Local(socket)),
            Way::Tls(tls) => {
                let credentials = Credentials::load(&tls)?;
                Ok(Self::Tls(tls, Box::new(credentials)))
            }
        }
    }

    /// As whom a command speaks.
    pub(crate) fn speaker(&self) -> &Speaker {
        match self {
            Self::Local(_) => &Speaker::Local,
            Self::Tls(_, credentials) => &credentials.speaker,
        }
    }

    /// Whether a connection serves one command only, because its leaf was made for that.
    pub(crate) fn once(&self) -> bool {
        matches!(self, Self::Tls(_, credentials) if credentials.mints())
    }

    /// Connects, for a command that needs these permissions.
    pub(crate) async fn dial(
        &self,
        needs: Permissions,
        screen: &mut Screen,
    ) -> Result<Session, Failure> {
        match self {
            Self::Local(socket) => local(socket, screen).await,
            Self::Tls(tls, credentials) => {
                if credentials.mints() {
                    screen.say(&format!("making a leaf with the permission: {needs}"));
                }
                over_tls(tls, credentials, needs, screen).await
            }
        }
    }
}

async fn local(socket: &Path, screen: &mut Screen) -> Result<Session, Failure> {
    let failed = |error: String| {
        Failure::new(Code::Connect, format!("cannot connect to {}: {error}", socket.display()))
    };
    screen.say(&format!("connecting to {}", socket.display()));
    let stream = UnixStream::connect(socket).await.map_err(|error| failed(error.to_string()))?;
    let (reader, writer) =
        greet(stream, "vmm-client").await.map_err(|error| failed(error.to_string()))?;
    Ok(Session::new(Incoming::Local(reader), Outgoing::Local(writer), None))
}

async fn over_tls(
    tls: &Tls,
    credentials: &Credentials,
    needs: Permissions,
    screen: &mut Screen,
) -> Result<Session, Failure> {
    let presented = credentials.present(needs, time::now())?;
    let shown = Shown { chain: presented.chain.clone(), root: credentials.root.clone() };
    let config = tls::config(presented, &credentials.root, credentials.revoked.clone())?;
    screen.say(&format!("connecting to {}", tls.server));
    let stream = reach(&tls.server).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let shake = connector.connect(tls.name.clone(), stream);
    let stream =
        in_time(&tls.server, shake).await?.map_err(|error| refusal(&tls.server, &shown, &error))?;
    if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        let problem = format!("the server at {} does not speak vmm/1", tls.server);
        return Err(Failure::new(Code::Connect, problem));
    }
    Ok(session(stream, shown))
}

fn session(stream: TlsStream<TcpStream>, shown: Shown) -> Session {
    let (read, write) = tokio::io::split(stream);
    Session::new(Incoming::Tls(Reader::new(read)), Outgoing::Tls(Writer::new(write)), Some(shown))
}

/// Why a handshake failed.
fn refusal(server: &Server, shown: &Shown, error: &std::io::Error) -> Failure {
    if let Some(why) = tls::distrust(error) {
        let problem = format!("the server at {server} is not who it should be: {why}");
        return Failure::new(Code::ServerIdentity, problem);
    }
    match tls::alert_of(error) {
        Some(alert) => shown.explain("", Some(alert)),
        None => Failure::new(Code::Connect, format!("no TLS with {server}: {error}")),
    }
}

/// A TCP connection to the first address that answers.
async fn reach(server: &Server) -> Result<TcpStream, Failure> {
    let cannot =
        |why: String| Failure::new(Code::Connect, format!("cannot connect to {server}: {why}"));
    // An address is not looked up, and a name only here and once, so a thread for it would be
    // nothing but start-up time.
    let addresses: Vec<SocketAddr> = if server.host.eq_ignore_ascii_case("localhost") {
        // RFC 6761, 6.3: always the loopback addresses; nobody has to be asked.
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        loopback.map(|address| SocketAddr::new(address, server.port)).to_vec()
    } else {
        (server.host.as_str(), server.port)
            .to_socket_addrs()
            .map_err(|error| cannot(error.to_string()))?
            .collect()
    };
    let mut last = cannot("the name has no address".to_owned());
    for address in addresses {
        match in_time(server, TcpStream::connect(address)).await? {
            Ok(stream) => {
                // The request follows the handshake's last message at once.
                stream.set_nodelay(true).map_err(|error| cannot(error.to_string()))?;
                return Ok(stream);
            }
            Err(error) => last = cannot(error.to_string()),
        }
    }
    Err(last)
}

async fn in_time<T>(server: &Server, work: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(PATIENCE, work).await.map_err(|_| {
        let seconds = PATIENCE.as_secs();
        let problem = format!("cannot connect to {server}: no answer within {seconds} seconds");
        Failure::new(Code::Connect, problem)
    })
}
