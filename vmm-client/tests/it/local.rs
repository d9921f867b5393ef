//! The local socket.

use tokio::net::UnixListener;
use vmm_proto::message::Hello;
use vmm_proto::message::client::{Error, ErrorCode, Reply, Request, ToServer};
use vmm_service::connection::{Reader, Writer, greet};

use crate::client::{program, run, with};

#[tokio::test]
async fn the_admin_needs_no_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("vmmd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let words = ["stop", "/dev/hello", "--timeout", "2", "--socket", socket.to_str().unwrap()];
    let client = tokio::spawn(run(with(program(), &words)));
    let (stream, _) = listener.accept().await.unwrap();
    let (mut reader, mut writer) = greet::<ToServer, Reply>(stream, "vmmd").await.unwrap();
    let request = Request::Stop { name: "/dev/hello".to_owned(), timeout_ms: Some(2000) };
    assert_eq!(reader.next().await.unwrap(), Some((1, ToServer::Open(request))));
    let error = Error::new(ErrorCode::NotFound, "there is no machine dev/hello");
    writer.send(1, &Reply::Error(error)).await.unwrap();
    let ran = client.await.unwrap();
    assert_eq!(ran.code, Some(4));
    assert_eq!(ran.err, "vmm-client: there is no machine dev/hello\n");
}

#[tokio::test]
async fn a_daemon_of_another_version_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("vmmd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let words = ["quota", "--socket", socket.to_str().unwrap()];
    let client = tokio::spawn(run(with(program(), &words)));
    let (stream, _) = listener.accept().await.unwrap();
    let (read, write) = stream.into_split();
    let mut writer: Writer<_, Hello> = Writer::new(write);
    writer.send(0, &Hello { version: 2, name: "vmmd".to_owned() }).await.unwrap();
    let mut reader: Reader<_, Hello> = Reader::new(read);
    assert!(reader.next().await.unwrap().is_some());
    let ran = client.await.unwrap();
    assert_eq!(ran.code, Some(5));
    assert!(ran.err.contains("version 2"), "{}", ran.err);
}

#[tokio::test]
async fn no_socket_is_no_connection() {
    let ran = run(with(program(), &["info", "--socket", "/nonexistent/vmmd.sock"])).await;
    assert_eq!(ran.code, Some(5));
    assert!(ran.err.contains("/nonexistent/vmmd.sock"), "{}", ran.err);
}
