//! A client that is refused.

use vmm_proto::authority::Validity;
use vmm_proto::chain::authorize;
use vmm_proto::message::client::{Error, ErrorCode, Reply};

use crate::authority::{Authority, all, now, valid};
use crate::client::{self, run, with};
use crate::server::Server;

#[tokio::test]
async fn an_alert_about_an_expired_certificate_is_explained() {
    let authority = Authority::new();
    let server = Server::new(&authority).await;
    let past = Validity { not_before: now() - 7200, not_after: now() - 3600 };
    let files = authority.leaf(None, "late", &all(), past);
    let client = client::to(&authority, &server, &files);
    let client = tokio::spawn(run(with(client, &["info"])));
    assert!(server.accept().await.is_err());
    let ran = client.await.unwrap();
    assert_eq!(ran.code, Some(3));
    assert!(ran.err.contains("rule 3") && ran.err.contains("CertificateExpired"), "{}", ran.err);
}

#[tokio::test]
async fn a_chain_of_another_root_is_refused_and_explained() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Server::new(&authority).await;
    let client = client::to(&authority, &server, &other.admin());
    let client = tokio::spawn(run(with(client, &["info", "--format", "json"])));
    assert!(server.accept().await.is_err());
    let ran = client.await.unwrap();
    assert_eq!(ran.code, Some(3));
    let last = ran.err.lines().last().unwrap();
    let document: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(document["error"]["code"], "chain");
    assert!(ran.err.contains("is not by the issuer's key"), "{}", ran.err);
}

#[tokio::test]
async fn an_error_about_the_connection_itself_is_the_answer() {
    for (code, exit) in [(ErrorCode::Chain, 3), (ErrorCode::Busy, 1)] {
        let authority = Authority::new();
        let server = Server::new(&authority).await;
        let client = client::to(&authority, &server, &authority.admin());
        let client = tokio::spawn(run(with(client, &["info"])));
        let mut peer = server.accept().await.unwrap();
        let error = Reply::Error(Error::new(code, "rule 9: a newer delegation was seen"));
        peer.writer.send(0, &error).await.unwrap();
        peer.writer.close().await.unwrap();
        peer.rest().await;
        let ran = client.await.unwrap();
        assert_eq!(ran.code, Some(exit));
        assert_eq!(ran.err, "vmm-client: rule 9: a newer delegation was seen\n");
    }
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_is_lost() {
    for (replies, exit) in [(vec![], 5), (vec![Reply::Machines(vec![])], 1)] {
        let authority = Authority::new();
        let server = Server::new(&authority).await;
        let client = client::to(&authority, &server, &authority.admin());
        let client = tokio::spawn(run(with(client, &["info"])));
        let mut peer = server.accept().await.unwrap();
        peer.request().await;
        peer.reply(replies).await;
        peer.writer.close().await.unwrap();
        let ran = client.await.unwrap();
        assert_eq!(ran.code, Some(exit));
        assert!(ran.err.contains("closed the connection"), "{}", ran.err);
    }
}

#[tokio::test]
async fn a_delegation_shows_a_leaf_with_just_the_permissions_that_are_needed() {
    let authority = Authority::new();
    let image = authority.write("hello.spt", "image");
    let image = image.to_str().unwrap();
    let (_, files) = authority.delegation("dev");
    for (words, permissions) in [
        (&["info"][..], "info"),
        (&["stop", "hello"], "power"),
        (
            &["run", "x", image, "--memory", "1", "--cpu", "1", "--replace", "--attach"],
            "console, create, replace",
        ),
    ] {
        let server = Server::new(&authority).await;
        let client = tokio::spawn(run(with(client::to(&authority, &server, &files), words)));
        let mut peer = server.accept().await.unwrap();
        peer.request().await;
        let shown = authorize(&peer.chain, &authority.root(), None, now()).unwrap();
        assert_eq!(shown.path().to_string(), "dev");
        let vmm_proto::authority::Holder::Permissions(has) = shown.holder() else {
            panic!("{shown:?}")
        };
        assert_eq!(has.to_string(), permissions);
        let lives = shown.validity().not_after - now();
        assert!((500..=600).contains(&lives), "{lives}");
        assert!(shown.validity().not_after < valid().not_after);
        peer.reply([Reply::Done]).await;
        assert_eq!(client.await.unwrap().code, Some(0));
    }
}
