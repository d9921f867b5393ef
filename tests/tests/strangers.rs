//! Peers that should not get in: each is turned away for its own reason, told so, recorded, and
//! leaves nothing behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;
use vmm_proto::message::client::{ErrorCode, Reply, Request, ToServer};
use vmm_tests::census::Census;
use vmm_tests::forge::extensions::{Extended, GRANT};
use vmm_tests::forge::grant::hosts;
use vmm_tests::forge::times::Time;
use vmm_tests::forge::{Forge, Forged, der};
use vmm_tests::peer::{Credentials, Peer};
use vmm_tests::setup::Setup;
use xtask::house::wait_until;

fn root() -> Forge {
    Forge::root("ca root")
}

fn dev() -> Forge {
    root().delegation("dev", |_| {})
}

/// What the server makes of a peer with these credentials.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// It listed machines.
    In,
    /// It was turned away with an error frame.
    Told(ErrorCode, String),
    /// It was turned away in the handshake.
    Alert(String),
}

fn verdict(setup: &Setup, credentials: &Credentials) -> Verdict {
    let mut peer = match Peer::connect(setup.house.address, credentials.config()) {
        Ok(peer) => peer,
        Err(alert) => return Verdict::Alert(alert),
    };
    // A refused peer may find the connection closed already; the answer is there all the same.
    let _closed = peer.send(1, &ToServer::Open(Request::Info { name: None }));
    loop {
        match peer.receive() {
            Ok(Some((0, Reply::Error(error)))) => return Verdict::Told(error.code, error.message),
            Ok(Some((1, Reply::Done))) => return Verdict::In,
            Ok(Some((1, Reply::Machines(_)))) => {}
            Ok(other) => panic!("{other:?}"),
            Err(alert) => return Verdict::Alert(alert),
        }
    }
}

fn forged(setup: &Setup, forged: &Forged) -> Verdict {
    verdict(setup, &Credentials::forged(forged))
}

/// An error frame that names this rule and says this.
#[track_caller]
fn assert_told(verdict: &Verdict, rule: u8, what: &str) {
    let Verdict::Told(ErrorCode::Chain, message) = verdict else { panic!("{verdict:?}") };
    assert!(message.contains(&format!("rule {rule})")) && message.contains(what), "{message}");
}

#[track_caller]
fn assert_alert(verdict: &Verdict, what: &str) {
    let Verdict::Alert(alert) = verdict else { panic!("{verdict:?}") };
    assert!(alert.contains(what), "{alert}");
}

#[test]
fn a_forged_chain_by_the_profile_gets_in() {
    let setup = Setup::forged();
    assert_eq!(forged(&setup, &dev().permissions("admin", &[1], |_| {}).sign()), Verdict::In);
    assert_eq!(forged(&setup, &root().permissions("admin", &[0], |_| {}).sign()), Verdict::In);
    let deep = dev().delegation("a", |_| {}).delegation("b", |_| {});
    assert_eq!(forged(&setup, &deep.permissions("x", &[0], |_| {}).sign()), Verdict::In);
}

#[test]
fn whoever_cannot_be_verified_is_told_by_an_alert() {
    let setup = Setup::forged();
    let before = Census::of(&setup);
    let admin = |forge: Forge| forge.permissions("admin", &[0], |_| {}).sign();
    let past = Time::utc("200201000000Z");
    let future = Time::utc("480101000000Z");

    let none = verdict(&setup, &Credentials::none());
    assert_alert(&none, "CertificateRequired");
    assert_alert(&forged(&setup, &admin(Forge::root("other root"))), "UnknownCA");
    let expired = root().permissions("admin", &[0], |leaf| leaf.not_after = past.clone()).sign();
    assert_alert(&forged(&setup, &expired), "CertificateExpired");
    let early = root().permissions("admin", &[0], |leaf| leaf.not_before = future.clone()).sign();
    assert_alert(&forged(&setup, &early), "CertificateExpired");
    let above = root().delegation("dev", |dev| dev.not_after = past.clone());
    assert_alert(&forged(&setup, &admin(above)), "CertificateExpired");
    let server = root().server("localhost", &["localhost"], &[], |_| {}).sign();
    assert!(matches!(forged(&setup, &server), Verdict::Alert(_)));
    let mut missing = Credentials::forged(&admin(dev().delegation("alice", |_| {})));
    missing.chain.remove(1);
    assert_alert(&verdict(&setup, &missing), "UnknownCA");
    let mut stolen = Credentials::forged(&admin(dev()));
    stolen.key = Credentials::none().key;
    assert_alert(&verdict(&setup, &stolen), "DecryptError");
    before.wait_for_again(&setup);
}

#[test]
fn whoever_breaks_a_rule_of_the_profile_is_told_which() {
    let setup = Setup::forged();
    let before = Census::of(&setup);
    let admin = |forge: Forge| forge.permissions("admin", &[0], |_| {}).sign();
    let chain = || Credentials::forged(&admin(dev().delegation("alice", |_| {})));

    let mut unordered = chain();
    unordered.chain.swap(1, 2);
    assert_told(&verdict(&setup, &unordered), 2, "leaf first");
    let mut extra = chain();
    let stray = admin(root().delegation("stray", |_| {})).chain_der().remove(1);
    extra.chain.push(CertificateDer::from(stray));
    assert_told(&verdict(&setup, &extra), 2, "leaf first");
    let mut repeated = chain();
    repeated.chain.push(repeated.chain[1].clone());
    assert_told(&verdict(&setup, &repeated), 2, "leaf first");

    let without = root().permissions("admin", &[0], |leaf| leaf.drop(GRANT)).sign();
    assert_told(&forged(&setup, &without), 4, "no grant");
    let doubled = root().permissions("admin", &[0], |leaf| leaf.twice(GRANT));
    assert_told(&forged(&setup, &doubled.sign()), 3, "twice");
    let trailing = root().permissions("admin", &[0], |leaf| {
        let mut grant = der::tlv(der::context(1), &der::bits(&[0]));
        grant.push(0);
        leaf.set_grant(grant);
    });
    assert_told(&forged(&setup, &trailing.sign()), 3, "DER");
    let wrong_kind = root().permissions("admin", &[0], |leaf| {
        let share = vmm_tests::forge::grant::delegation();
        leaf.set_grant(vmm_tests::forge::grant::Grant::Delegation(share).to_der());
    });
    assert_told(&forged(&setup, &wrong_kind.sign()), 4, "CA certificate");
    let larger = dev().delegation("alice", |alice| alice.fields().number("memory", 1025));
    assert_told(&forged(&setup, &admin(larger)), 5, "1024");
    let named = root().permissions("../../x", &[0], |_| {}).sign();
    assert_told(&forged(&setup, &named), 3, "is not a label");
    let seven = ["a", "b", "c", "d", "e", "f", "g"];
    let deep = seven.iter().fold(root(), |forge, label| forge.delegation(label, |_| {}));
    let deep = forged(&setup, &admin(deep));
    assert!(!matches!(deep, Verdict::In), "{deep:?}");
    before.wait_for_again(&setup);
}

#[test]
fn a_delegation_for_certain_servers_is_good_at_those_alone() {
    let setup = Setup::forged();
    let server = root().server("localhost", &["localhost"], &[], |_| {}).last().key.digest();
    let for_hosts = |keys: &[&[u8]]| {
        let dev = root().delegation("dev", |dev| hosts(dev.fields(), keys));
        forged(&setup, &dev.delegation("alice", |_| {}).permissions("admin", &[0], |_| {}).sign())
    };
    // One that is for other servers is refused before it is remembered as the newest.
    assert_told(&for_hosts(&[&[1; 32]]), 6, "dev");
    assert_eq!(for_hosts(&[&[1; 32], &server]), Verdict::In);
}

#[test]
fn every_stranger_is_in_the_log() {
    let setup = Setup::forged();
    assert_alert(&verdict(&setup, &Credentials::none()), "CertificateRequired");
    let without = root().permissions("admin", &[0], |leaf| leaf.drop(GRANT)).sign();
    assert_told(&forged(&setup, &without), 4, "no grant");
    let recorded = || {
        let log = setup.admin(&["--format", "json", "log"]);
        let refusals = log.out.matches("\"refused\"").count();
        refusals >= 2 && log.out.contains("handshake") && log.out.contains("no grant")
    };
    wait_until("two refusals in the log", recorded).unwrap();
}

/// Sends bytes on a plain connection and reads what comes back until the end.
fn raw(setup: &Setup, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(setup.house.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A reset ends the reading as well as an orderly end.
    let _reset = stream.read_to_end(&mut answer);
    answer
}

/// A `ClientHello` of TLS 1.2: no `supported_versions`, one cipher suite of that version.
fn client_hello_12() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0xc0, 0x2b]);
    body.extend([1, 0]);
    let extensions: &[u8] = &[0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3];
    body.extend([0, u8::try_from(extensions.len()).unwrap()]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

#[test]
fn other_protocols_are_ended_at_once() {
    let setup = Setup::forged();
    let before = Census::of(&setup);
    // A single one that is only given up is so after ten seconds. Once in a while the host may pause.
    let waited = (0..3).all(|_| {
        let begun = Instant::now();
        let old = raw(&setup, &client_hello_12());
        // A fatal alert (level 2), protocol_version (70).
        assert!(old.ends_with(&[2, 70]), "{old:?}");
        let http = raw(&setup, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(http.len() < 64, "an alert at most: {http:?}");
        raw(&setup, &[0; 4096]);
        begun.elapsed() >= Duration::from_secs(10)
    });
    assert!(!waited, "they waited");
    before.wait_for_again(&setup);
    assert_eq!(forged(&setup, &root().permissions("x", &[0], |_| {}).sign()), Verdict::In);
}

/// Notes the names of CAs that the server asks for.
#[derive(Debug, Default)]
struct Asked(std::sync::Mutex<Vec<Vec<u8>>>);

impl rustls::client::ResolvesClientCert for Asked {
    fn resolve(
        &self,
        names: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<std::sync::Arc<rustls::sign::CertifiedKey>> {
        *self.0.lock().unwrap() = names.iter().map(|name| name.to_vec()).collect();
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn the_server_asks_for_certificates_of_its_root_by_a_whole_name() {
    let setup = Setup::forged();
    let asked = std::sync::Arc::new(Asked::default());
    let mut config = (*Credentials::none().config()).clone();
    config.client_auth_cert_resolver = asked.clone();
    let mut peer = Peer::connect(setup.house.address, config.into()).unwrap();
    assert!(peer.receive().is_err());
    let expected = vmm_tests::forge::names::Name::common("ca root").0;
    assert_eq!(*asked.0.lock().unwrap(), [expected]);
}

#[test]
fn a_session_is_never_resumed() {
    let setup = Setup::forged();
    let credentials = Credentials::forged(&root().permissions("x", &[0], |_| {}).sign());
    let config = credentials.config();
    for _ in 0..3 {
        let mut peer = Peer::connect(setup.house.address, config.clone()).unwrap();
        peer.send(1, &ToServer::Open(Request::Quota)).unwrap();
        while !matches!(peer.receive().unwrap(), Some((1, Reply::Done))) {}
        assert_eq!(peer.handshake(), Some(HandshakeKind::Full));
    }
}

#[test]
fn a_peer_that_stalls_in_the_handshake_is_given_up_and_others_are_not_held_up() {
    let setup = Setup::forged();
    let before = Census::of(&setup);
    let begun = Instant::now();
    // As many as one address may have, in several stages of the handshake.
    let mut stalled: Vec<TcpStream> = (0..7)
        .map(|stage: usize| {
            let mut stream = TcpStream::connect(setup.house.address).unwrap();
            stream.write_all(&client_hello_12()[..stage]).unwrap();
            stream
        })
        .collect();
    assert_eq!(forged(&setup, &root().permissions("x", &[0], |_| {}).sign()), Verdict::In);
    for stream in &mut stalled {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // A reset ends the reading as well as an orderly end.
        let _reset = stream.read_to_end(&mut Vec::new());
    }
    let took = begun.elapsed();
    assert!(Duration::from_secs(9) < took && took < Duration::from_mins(1), "{took:?}");
    drop(stalled);
    before.wait_for_again(&setup);
}
