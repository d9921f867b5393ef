//! What a session may do is judged as long as it is open: by the clock, by newer delegations and by
//! lists that come meanwhile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use vmm_proto::message::client::{Error, ErrorCode, Reply, Request, ToServer};
use vmm_tests::deploy;
use vmm_tests::forge::crl::List;
use vmm_tests::forge::times::Time;
use vmm_tests::forge::{Forge, der};
use vmm_tests::peer::{Credentials, Peer};
use vmm_tests::setup::Setup;
use xtask::house::wait_until;

/// Seconds that a certificate is valid: long enough for a handshake and a request before its end.
const SHORT_S: i64 = 25;

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

fn root() -> Forge {
    Forge::root("ca root")
}

/// A delegation of that path; the root for an empty one.
fn ca(path: &str) -> Forge {
    let labels = path.split('/').filter(|label| !label.is_empty());
    labels.fold(root(), |forge, label| forge.delegation(label, |_| {}))
}

fn admin(forge: Forge) -> Forge {
    forge.permissions("admin", &[0], |_| {})
}

fn connect(setup: &Setup, leaf: &Forge) -> Peer {
    let credentials = Credentials::forged(&leaf.sign());
    Peer::connect(setup.house.address, credentials.config()).unwrap()
}

/// How a request ends.
fn ask(peer: &mut Peer, number: u32, request: Request) -> Result<(), Error> {
    peer.send(number, &ToServer::Open(request)).unwrap();
    end_of(peer, number)
}

/// The end of an open request.
fn end_of(peer: &mut Peer, number: u32) -> Result<(), Error> {
    loop {
        match peer.receive().unwrap() {
            Some((of, Reply::Done)) if of == number => return Ok(()),
            Some((of, Reply::Error(error))) if of == number => return Err(error),
            Some((of, Reply::Quota(_) | Reply::LogLine(_))) if of == number => {}
            other => panic!("{other:?}"),
        }
    }
}

const FOLLOW: Request = Request::Log { name: None, since_ms: None, follow: true };

/// What a session is told at the end of a certificate in its chain: in what it does, and in what
/// it wants to do then.
fn told_at_the_end(leaf: impl FnOnce(Time) -> Forge) {
    let setup = Setup::forged();
    let end = now_s() + SHORT_S;
    let mut peer = connect(&setup, &leaf(Time::unix(end)));
    ask(&mut peer, 1, Request::Quota).unwrap();
    peer.send(2, &ToServer::Open(FOLLOW)).unwrap();
    let error = end_of(&mut peer, 2).unwrap_err();
    assert!(now_s() > end, "not before its end");
    assert_eq!(error.code, ErrorCode::Chain);
    assert!(error.message.contains("has expired"), "{error}");
    let error = ask(&mut peer, 3, Request::Quota).unwrap_err();
    assert!(error.message.contains("has expired"), "{error}");
}

#[test]
fn at_the_end_of_its_leaf_a_session_does_nothing_more() {
    told_at_the_end(|end| ca("dev").permissions("admin", &[0], |leaf| leaf.not_after = end));
}

#[test]
fn at_the_end_of_a_delegation_above_it_a_session_does_nothing_more() {
    told_at_the_end(|end| {
        admin(root().delegation("dev", |dev| dev.not_after = end).delegation("alice", |_| {}))
    });
}

#[test]
fn a_session_with_an_outdated_delegation_does_nothing_more_once_the_newer_one_was_shown() {
    let setup = Setup::forged();
    let mut peer = connect(&setup, &admin(ca("dev/alice")));
    ask(&mut peer, 1, Request::Quota).unwrap();
    let newer = root().delegation("dev", |dev| dev.fields().number("generation", 7));
    let mut shows = connect(&setup, &admin(newer));
    ask(&mut shows, 1, Request::Quota).unwrap();
    let error = ask(&mut peer, 2, Request::Quota).unwrap_err();
    assert_eq!(error.code, ErrorCode::Chain);
    let says = |what| error.message.contains(what);
    assert!(says("\"dev\" is outdated") && says("generation 7"), "{error}");
    ask(&mut shows, 2, Request::Quota).unwrap();
}

/// Writes the leaf of a delegation as `NAME.bundle` and `NAME.key`, and runs a machine as it.
fn run(setup: &Setup, name: &str, path: &str) {
    let leaf = admin(ca(path)).sign();
    std::fs::write(setup.file(&format!("{name}.bundle")), leaf.chain_pem()).unwrap();
    std::fs::write(setup.file(&format!("{name}.key")), leaf.key_pem()).unwrap();
    let run = ["run", name, "ticker.spt", "--memory", "8", "--cpu", "0"];
    setup.client(name, &run).expect(0);
}

/// A session in the middle of an upload.
fn uploading(setup: &Setup, path: &str) -> Peer {
    let machine = deploy::machine(Sha256::digest([0; 4096]).into(), 1 << 20);
    let deploy = deploy::request(Some(deploy::described("new", machine)));
    let mut peer = connect(setup, &admin(ca(path)));
    peer.send(1, &ToServer::Open(deploy)).unwrap();
    assert_eq!(peer.receive().unwrap(), Some((1, Reply::NeedImage { offset: 0 })));
    peer.send(1, &ToServer::Data(vec![0; 4096])).unwrap();
    peer
}

/// A session has been told that `dev` was revoked, and is over.
#[track_caller]
fn assert_ended(mut peer: Peer, whose: &str) {
    let Some((0, Reply::Error(error))) = peer.receive().unwrap() else { panic!("{whose}") };
    assert_eq!(error.code, ErrorCode::Chain, "{whose}: {error}");
    let says = |what| error.message.contains(what);
    assert!(says("\"dev\"") && says("has been revoked"), "{whose}: {error}");
    assert_eq!(peer.receive(), Ok(None), "{whose}");
}

fn stored_images(setup: &Setup) -> usize {
    std::fs::read_dir(setup.file("run/vmmd/images")).unwrap().count()
}

#[test]
fn a_revoked_delegation_takes_all_below_it_along_and_nothing_beside_it() {
    const BELOW: [(&str, &str); 3] =
        [("top", "dev"), ("middle", "dev/alice"), ("inner", "dev/alice/inner")];
    let setup = Setup::forged();
    for (name, path) in BELOW {
        run(&setup, name, path);
    }
    run(&setup, "beside", "other");
    let images = stored_images(&setup);
    let idle = BELOW.map(|(_, path)| connect(&setup, &admin(ca(path))));
    let upload = uploading(&setup, "dev/alice/inner");
    let mut beside = connect(&setup, &admin(ca("other")));
    ask(&mut beside, 1, Request::Quota).unwrap();

    let taken_back = ca("dev").last().serial.clone();
    let list = List::of(1, &[&taken_back]).sign(root().last());
    std::fs::write(setup.file("root.crl"), der::pem("X509 CRL", &list)).unwrap();
    let done = setup.admin(&["--format", "json", "revoke", "root.crl"]);
    assert_eq!(done.expect(0).json()["machines"], 3, "{}", done.out);
    // All of it is so when the answer comes.
    for row in setup.admin(&["--format", "json", "info"]).expect(0).json().as_array().unwrap() {
        let state = if row["name"] == "other/beside" { "running" } else { "revoked" };
        assert_eq!(row["state"], state, "{row}");
        assert_eq!(row["pid"] == Value::Null, state == "revoked", "{row}");
    }
    for (peer, (name, _)) in idle.into_iter().zip(BELOW) {
        assert_ended(peer, name);
    }
    assert_ended(upload, "an upload");
    ask(&mut beside, 2, Request::Quota).unwrap();
    // Also what was never seen here before is refused, as it is below what was taken back.
    for path in ["dev", "dev/alice/inner", "dev/carol", "dev/carol/new"] {
        let mut peer = connect(&setup, &admin(ca(path)));
        let Some((0, Reply::Error(error))) = peer.receive().unwrap() else { panic!("{path}") };
        assert!(error.message.contains("has been revoked"), "{path}: {error}");
    }
    let gone = || stored_images(&setup) <= images;
    wait_until("the end of the upload that was begun", gone).unwrap();
}
