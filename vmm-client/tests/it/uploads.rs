//! Images on their way to the server.

use std::time::Instant;

use vmm_proto::frame::MAX_DATA;
use vmm_proto::message::Exit;
use vmm_proto::message::client::{Error, ErrorCode, Reply, Request, ToServer};

use crate::authority::{Authority, Files, machine, valid};
use crate::client::{self, run, with};
use crate::consoles;
use crate::server::Server;

const SIZE: usize = 3 * MAX_DATA + 17;

struct Deploying {
    authority: Authority,
    server: Server,
    files: Files,
    image: Vec<u8>,
}

impl Deploying {
    async fn of_size(size: usize) -> Self {
        let authority = Authority::new();
        let image: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let file = authority.write("hello.spt", &image);
        let (dev, _) = authority.delegation("dev");
        let files = authority.leaf(Some(&dev), "hello", &machine(&file), valid());
        let server = Server::new(&authority).await;
        Self { authority, server, files, image }
    }

    fn client(&self, words: &[&str]) -> std::process::Command {
        with(client::to(&self.authority, &self.server, &self.files), words)
    }

    fn image_path(&self) -> String {
        self.authority.path("hello.spt").to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn what_the_server_lacks_is_sent_and_only_that() {
    let deploying = Deploying::of_size(SIZE).await;
    let words = ["deploy", "--attach", "--image", &deploying.image_path()];
    let client = tokio::spawn(run(deploying.client(&words)));
    let mut peer = deploying.server.accept().await.unwrap();
    assert_eq!(
        peer.request().await,
        Request::Deploy { described: None, attach: true, probation_ms: None }
    );
    let offset = MAX_DATA + 5;
    peer.reply([Reply::NeedImage { offset: offset as u64 }]).await;
    let mut received = Vec::new();
    while received.len() < SIZE - offset {
        match peer.reader.next().await.unwrap() {
            Some((1, ToServer::Data(piece))) if piece.len() <= MAX_DATA => received.extend(piece),
            other => panic!("{other:?}"),
        }
    }
    assert!(received == deploying.image[offset..]);
    peer.reply([
        Reply::Deployed(consoles::machine()),
        Reply::Ended { state: "exited".to_owned(), exit: Some(Exit::Code(0)) },
        Reply::Done,
    ])
    .await;
    let ran = client.await.unwrap();
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
}

#[tokio::test]
async fn a_refusal_in_the_middle_ends_the_upload() {
    let deploying = Deploying::of_size(32 << 20).await;
    let words = ["deploy", "--image", &deploying.image_path()];
    let client = tokio::spawn(run(deploying.client(&words)));
    let mut peer = deploying.server.accept().await.unwrap();
    peer.request().await;
    peer.reply([Reply::NeedImage { offset: 0 }]).await;
    assert!(matches!(peer.reader.next().await.unwrap(), Some((1, ToServer::Data(_)))));
    let begun = Instant::now();
    let error = Error::new(ErrorCode::Quota, "/dev/ holds 1 MiB of images at most");
    peer.reply([Reply::Error(error)]).await;
    let rest = peer.rest().await;
    let ran = client.await.unwrap();
    assert_eq!(ran.code, Some(3));
    assert!(ran.err.contains("1 MiB of images"), "{}", ran.err);
    assert!(rest.len() < 256, "{} pieces were sent after the refusal", rest.len());
    assert!(begun.elapsed().as_secs() < 20);
}

#[tokio::test]
async fn an_image_that_is_wanted_and_was_not_given_is_asked_for() {
    let deploying = Deploying::of_size(SIZE).await;
    let client = tokio::spawn(run(deploying.client(&["deploy"])));
    let mut peer = deploying.server.accept().await.unwrap();
    peer.request().await;
    peer.reply([Reply::NeedImage { offset: 0 }]).await;
    assert_eq!(peer.rest().await, [(1, ToServer::Cancel)]);
    let ran = client.await.unwrap();
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("--image FILE"), "{}", ran.err);
}

#[tokio::test]
async fn another_image_than_the_signed_one_is_not_even_offered() {
    let deploying = Deploying::of_size(SIZE).await;
    let other = deploying.authority.write("other.spt", "other");
    let ran = run(deploying.client(&["deploy", "--image", other.to_str().unwrap()])).await;
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("not the image that was signed"), "{}", ran.err);
}
