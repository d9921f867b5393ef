//! What is wrong before anything is sent.

use crate::authority::Authority;
use crate::client::{program, run, with};
use crate::server::Server;

#[tokio::test]
async fn what_is_missing_is_a_usage_error_in_words_and_in_json() {
    for (words, expected) in [
        (&["info"][..], "VMM_SERVER"),
        (&["--server", "x", "--profile", "none", "info"], "none.conf"),
        (&["--server", "x", "--socket", "y", "info"], "leave out --server"),
        (&["frobnicate"], "unrecognized subcommand"),
        (&["--socket", "x", "--crl", "y", "info"], "leave out --crl"),
        (&["--socket", "x", "revoke", "none.crl"], "none.crl: No such file"),
        (&["run", "x"], "were not provided:"),
        (&["stop", "x", "--timeout", "no"], "invalid value 'no'"),
        (&["--socket", "x"], "needs a terminal"),
    ] {
        let plain = run(with(program(), words)).await;
        assert_eq!(plain.code, Some(2), "{words:?}");
        assert!(plain.err.contains(expected) && plain.out.is_empty(), "{words:?}: {}", plain.err);
        assert!(!plain.err.contains("{\"error\""), "{}", plain.err);
        let json = run(with(program(), &[&["--format", "json"], words].concat())).await;
        let last = json.err.lines().last().unwrap();
        let document: serde_json::Value = serde_json::from_str(last).unwrap();
        assert_eq!(document["error"]["code"], "usage", "{words:?}");
        let message = document["error"]["message"].as_str().unwrap();
        assert!(!message.contains("Usage:") && !message.contains('\n'), "{message}");
        assert!(message.contains(expected), "{message}");
        assert_eq!(json.code, Some(2));
    }
}

#[tokio::test]
async fn files_that_cannot_be_parsed_or_do_not_belong_together_are_named() {
    let authority = Authority::new();
    let server = Server::new(&authority).await;
    let files = authority.admin();
    let (_, other) = authority.delegation("dev");
    let noise = authority.write("noise.pem", "noise");
    let noise = noise.to_str().unwrap();
    let (bundle, key) = (files.bundle.to_str().unwrap(), files.key.to_str().unwrap());
    let other_key = other.key.to_str().unwrap();
    for (ca, bundle, key, expected) in [
        (noise, bundle, key, "noise.pem: no certificate in it"),
        (bundle, bundle, key, "admin.bundle: this is a permissions certificate, not a root"),
        ("", noise, key, "noise.pem: no certificate in it"),
        ("", "/nonexistent", key, "/nonexistent"),
        ("", bundle, noise, "noise.pem: no private key in it"),
        ("", bundle, other_key, "not that of the bundle's first certificate"),
        ("", other.bundle.to_str().unwrap(), key, "not that of the issuer certificate \"dev\""),
    ] {
        let cacert = authority.path("cacert.pem");
        let mut client = program();
        client
            .arg("--ca")
            .arg(if ca.is_empty() { cacert.as_os_str() } else { ca.as_ref() })
            .args(["--server", &format!("127.0.0.1:{}", server.port)])
            .args(["--bundle", bundle, "--key", key, "info"]);
        let ran = run(client).await;
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
}

#[tokio::test]
async fn everything_may_come_from_the_environment_or_a_profile() {
    let authority = Authority::new();
    let files = authority.admin();
    let config = authority.path("config");
    std::fs::create_dir_all(config.join("vmm")).unwrap();
    std::fs::copy(&files.key, config.join("vmm/admin.key")).unwrap();
    let server = Server::new(&authority).await;
    let profile = format!(
        "# work\nserver = 127.0.0.1:{}\nca = {}\nkey = admin.key\nbundle = nowhere\n",
        server.port,
        authority.path("cacert.pem").display()
    );
    std::fs::write(config.join("vmm/work.conf"), profile).unwrap();
    let mut client = with(program(), &["--profile", "work", "detach", "hello"]);
    client.env("XDG_CONFIG_HOME", &config).env("VMM_BUNDLE", &files.bundle);
    let client = tokio::spawn(run(client));
    let mut peer = server.accept().await.unwrap();
    peer.request().await;
    let replies = [vmm_proto::message::client::Reply::Detached(2)];
    peer.reply(replies).await;
    peer.reply([vmm_proto::message::client::Reply::Done]).await;
    let ran = client.await.unwrap();
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "2 readers detached\n"), "{}", ran.err);
}

#[tokio::test]
async fn help_names_the_permissions_and_ends_well() {
    let ran = run(with(program(), &["--help"])).await;
    assert_eq!(ran.code, Some(0));
    assert!(ran.out.contains("permission: power") && ran.out.contains("Exit codes"), "{}", ran.out);
    assert!(ran.out.contains("permission: revoke"), "{}", ran.out);
}

#[tokio::test]
async fn a_command_without_its_own_command_shows_its_help_and_is_a_usage_error() {
    let ran = run(with(program(), &["--format", "json", "why"])).await;
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("run") && ran.out.is_empty(), "{}", ran.err);
    let document: serde_json::Value =
        serde_json::from_str(ran.err.lines().last().unwrap()).unwrap();
    assert_eq!(document["error"]["message"], "a command is missing: see --help");
}
