//! A server that is not who it should be, or none at all.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};

use crate::authority::Authority;
use crate::client::{self, run, with};
use crate::server::Server;

#[tokio::test]
async fn a_server_of_another_name_is_not_spoken_to_unless_it_is_meant() {
    let authority = Authority::new();
    let server = Server::named(&authority, "vmm.example").await;
    let client = client::to(&authority, &server, &authority.admin());
    let client = tokio::spawn(run(with(client, &["info"])));
    assert!(server.accept().await.is_err());
    let ran = client.await.unwrap();
    assert_eq!(ran.code, Some(5));
    let expected = "its certificate does not name 127.0.0.1, but vmm.example; ";
    assert!(ran.err.contains(expected) && ran.err.contains("--server-name"), "{}", ran.err);

    let server = Server::named(&authority, "vmm.example").await;
    let client = client::to(&authority, &server, &authority.admin());
    let client = with(client, &["info", "--server-name", "vmm.example"]);
    let client = tokio::spawn(run(client));
    let mut peer = server.accept().await.unwrap();
    peer.request().await;
    peer.reply([vmm_proto::message::client::Reply::Done]).await;
    assert_eq!(client.await.unwrap().code, Some(0));
}

#[tokio::test]
async fn a_server_of_another_root_is_not_spoken_to() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Server::new(&other).await;
    let client = client::to(&authority, &server, &authority.admin());
    let client = tokio::spawn(run(with(client, &["info", "--format=json"])));
    assert!(server.accept().await.is_err());
    let ran = client.await.unwrap();
    assert_eq!(ran.code, Some(5));
    assert!(ran.err.contains("\"code\":\"server-identity\""), "{}", ran.err);
}

#[tokio::test]
async fn a_server_of_another_protocol_is_no_server() {
    let authority = Authority::new();
    let server = Server::new(&authority).await.speaking(b"vmm/2");
    let client = client::to(&authority, &server, &authority.admin());
    let client = tokio::spawn(run(with(client, &["info"])));
    assert!(server.accept().await.is_err());
    let ran = client.await.unwrap();
    assert_eq!(ran.code, Some(5));
    assert!(ran.err.contains("NoApplicationProtocol"), "{}", ran.err);
}

#[tokio::test]
async fn nobody_there_and_somebody_else_there_are_no_connection() {
    let authority = Authority::new();
    let server = Server::new(&authority).await;
    let usual = client::to(&authority, &server, &authority.admin());
    let info_at = |address: SocketAddr| {
        let address = address.to_string();
        let mut words: Vec<_> = usual.get_args().map(|word| word.to_str().unwrap()).collect();
        words[3] = &address;
        run(with(client::program(), &[&words[..], &["info"]].concat()))
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    // Nobody listens there, and nobody else gets it: one that was closed could still be open in a child
    // that another test starts.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind(any).unwrap();
    let ran = info_at(nobody.local_addr().unwrap()).await;
    assert_eq!(ran.code, Some(5));
    assert!(ran.err.contains("cannot connect to 127.0.0.1:"), "{}", ran.err);

    let listener = TcpListener::bind(any).await.unwrap();
    let client = tokio::spawn(info_at(listener.local_addr().unwrap()));
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let ran = client.await.unwrap();
    assert_eq!(ran.code, Some(5));
    assert!(ran.err.contains("no TLS with"), "{}", ran.err);
}
