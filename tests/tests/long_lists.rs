//! A revocation list of a million entries holds up nobody, and does what a short one does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::ClientConfig;
use vmm_proto::message::client::{Error, ErrorCode, Reply, Request, Revoked, ToServer};
use vmm_proto::revocation::MAX_SERIALS;
use vmm_tests::census::Census;
use vmm_tests::forge::crl::{Entries, List};
use vmm_tests::forge::{Forge, der};
use vmm_tests::peer::{Credentials, Peer};
use vmm_tests::setup::Setup;

/// Bytes of a piece.
const PIECE: usize = 64 << 10;

fn dev() -> Forge {
    Forge::root("ca root").delegation("dev", |_| {})
}

fn alice() -> Forge {
    dev().delegation("alice", |_| {})
}

/// A list of `dev` with so many entries, alice's certificate among them.
fn list(number: u64, count: usize) -> Vec<u8> {
    let taken_back = alice().last().serial.clone();
    let entry = |serial: &[u8]| {
        let fields =
            [der::tlv(der::INTEGER, serial), der::tlv(der::UTC_TIME, b"260101000000Z")].concat();
        der::tlv(der::SEQUENCE, &fields)
    };
    let mut entries = entry(&taken_back);
    for other in 1..count as u64 {
        // 16 octets, as those of `vmm-ca`.
        let serial = [&[0x40, 1, 2, 3, 4, 5, 6, 7], other.to_be_bytes().as_slice()].concat();
        entries.extend(entry(&serial));
    }
    let mut list = List::of(number, &[]);
    list.entries = Entries::Raw(entries);
    list.sign(dev().drafts.last().unwrap())
}

fn credentials(of: Forge) -> Arc<ClientConfig> {
    Credentials::forged(&of.permissions("admin", &[0], |_| {}).sign()).config()
}

fn connect(setup: &Setup, of: &Arc<ClientConfig>) -> Peer {
    Peer::connect(setup.house.address, Arc::clone(of)).unwrap()
}

/// Announces a list of `dev` of that size; what the server says to that.
fn announce(peer: &mut Peer, number: u32, size: u32) -> Reply {
    let chain = dev().sign().chain_der();
    peer.send(number, &ToServer::Open(Request::Revoke { size, chain })).unwrap();
    let (of, reply) = peer.receive().unwrap().unwrap();
    assert_eq!(of, number);
    reply
}

fn size(list: &[u8]) -> u32 {
    u32::try_from(list.len()).unwrap()
}

fn send(peer: &mut Peer, number: u32, bytes: &[u8]) {
    for piece in bytes.chunks(PIECE) {
        peer.send(number, &ToServer::Data(piece.to_vec())).unwrap();
    }
}

/// What became of a list all of which was sent.
fn outcome(peer: &mut Peer, number: u32) -> Result<Revoked, Error> {
    let mut done = None;
    loop {
        match peer.receive().unwrap().unwrap() {
            (of, Reply::Revoked(revoked)) if of == number => done = Some(revoked),
            (of, Reply::Error(error)) if of == number => return Err(error),
            (of, Reply::Done) if of == number => return Ok(done.unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

fn hand_in(setup: &Setup, by: &Arc<ClientConfig>, list: &[u8]) -> Result<Revoked, Error> {
    let mut peer = connect(setup, by);
    match announce(&mut peer, 1, size(list)) {
        Reply::NeedList => {}
        Reply::Error(error) => return Err(error),
        other => panic!("{other:?}"),
    }
    send(&mut peer, 1, list);
    outcome(&mut peer, 1)
}

/// A handshake and a request; whether the client was let in.
fn listed(setup: &Setup, by: &Arc<ClientConfig>) -> bool {
    let mut peer = connect(setup, by);
    // A refused peer may find the connection closed already; the answer is there all the same.
    let _closed = peer.send(1, &ToServer::Open(Request::Info { name: None }));
    loop {
        match peer.receive().unwrap().unwrap() {
            (1, Reply::Machines(_)) => {}
            (1, Reply::Done) => return true,
            (0, Reply::Error(error)) => {
                assert_eq!(error.code, ErrorCode::Chain, "{error}");
                return false;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The files of long lists.
fn files(setup: &Setup) -> BTreeSet<String> {
    let dir = std::fs::read_dir(setup.file("run/vmmd/lists")).unwrap();
    dir.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Resident memory of vmmd in KiB.
fn memory(setup: &Setup) -> usize {
    let pid = setup.house.daemon("vmmd").unwrap().pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn while_a_list_of_a_million_entries_is_taken_everybody_else_is_served() {
    /// Sessions before, while the bytes come, and at least while they are verified and stored.
    const BEFORE: usize = 20;
    const WHILE_JUDGED: usize = 3;
    let mut setup = Setup::forged();
    let (admin, hers) = (credentials(dev()), credentials(alice()));
    let others = credentials(dev().delegation("bob", |_| {}));
    let million = list(7, MAX_SERIALS);
    assert!((35_000_000..40_000_000).contains(&million.len()), "{}", million.len());
    assert!(listed(&setup, &hers));
    let before = Census::of(&setup);
    let memory_before = memory(&setup);

    let mut peer = connect(&setup, &admin);
    assert_eq!(announce(&mut peer, 1, size(&million)), Reply::NeedList);
    let (first, last) = million.split_at(million.len() - PIECE);
    send(&mut peer, 1, first);
    for _ in 0..BEFORE {
        assert!(listed(&setup, &others));
    }
    send(&mut peer, 1, last);
    let answered = AtomicBool::new(false);
    let served = std::thread::scope(|scope| {
        let outcome = scope.spawn(|| {
            let outcome = outcome(&mut peer, 1);
            answered.store(true, Ordering::Relaxed);
            outcome
        });
        let mut served = 0;
        while !answered.load(Ordering::Relaxed) {
            assert!(listed(&setup, &others));
            served += 1;
        }
        let revoked = outcome.join().unwrap().unwrap();
        assert_eq!((revoked.serials, revoked.number.as_str()), (1 << 20, "7"));
        // The last one may have ended after the answer.
        served - 1
    });
    eprintln!("{served} sessions were served while the list was judged and stored");
    assert!(served >= WHILE_JUDGED, "{served}");
    assert!(!listed(&setup, &hers));
    drop(peer);
    before.wait_for_again(&setup);
    let grown = memory(&setup).saturating_sub(memory_before);
    eprintln!("vmmd has grown by {grown} KiB, of which the serial numbers take 21504 KiB");
    assert!(grown < 64 << 10, "vmmd has grown by {grown} KiB");

    let kept = files(&setup);
    assert_eq!(kept.len(), 1, "{kept:?}");
    setup.house.take("vmmd").unwrap().kill().unwrap();
    std::fs::write(setup.file("run/vmmd/lists/torn.new"), b"a list that was cut off").unwrap();
    setup.house.start_with("vmmd", &[]).unwrap();
    assert!(!listed(&setup, &hers));
    assert_eq!(files(&setup), kept);
    assert!(listed(&setup, &others));
    let known = hand_in(&setup, &admin, &million).unwrap_err();
    assert!(known.message.contains("known already"), "{known}");

    // A shorter one takes its place.
    hand_in(&setup, &admin, &List::of(8, &[&[1]]).sign(dev().drafts.last().unwrap())).unwrap();
    assert!(listed(&setup, &hers));
    let gone = xtask::house::wait_until("no file", || files(&setup).is_empty());
    gone.unwrap();
}

#[test]
fn long_lists_have_a_budget_and_whoever_takes_back_with_a_short_one_is_never_kept_waiting() {
    const MIB: u32 = 1 << 20;
    let setup = Setup::forged();
    let (admin, hers) = (credentials(dev()), credentials(alice()));
    let host = credentials(Forge::root("ca root"));
    // Somebody below uses up all that those below may, and it need not be anything.
    let mut below = connect(&setup, &hers);
    for number in 1..=3 {
        assert_eq!(announce(&mut below, number, 18 * MIB), Reply::NeedList);
    }
    let spent = announce(&mut below, 4, 18 * MIB);
    let Reply::Error(spent) = spent else { panic!("{spent:?}") };
    assert_eq!(spent.code, ErrorCode::Busy, "{spent}");
    assert!(spent.message.contains("64 MiB in 10 minutes"), "{spent}");
    assert!(spent.message.contains("try again in"), "{spent}");
    // Whoever is above her has a budget of their own, and short lists need none.
    let mut above = connect(&setup, &admin);
    assert_eq!(announce(&mut above, 1, 40 * MIB), Reply::NeedList);
    let spent = announce(&mut above, 2, 40 * MIB);
    let Reply::Error(spent) = spent else { panic!("{spent:?}") };
    assert!(spent.message.contains("\"dev/\" itself may hand in"), "{spent}");
    let short = List::of(8, &[&alice().last().serial]).sign(dev().drafts.last().unwrap());
    hand_in(&setup, &admin, &short).unwrap();
    assert!(!listed(&setup, &hers));
    // The host's own are not counted.
    let mut own = connect(&setup, &host);
    for number in 1..=4 {
        assert_eq!(announce(&mut own, number, 64 * MIB), Reply::NeedList);
    }
}
