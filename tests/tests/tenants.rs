//! Tenants with a valid certificate and bad intentions, or bad luck.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use vmm_proto::message::client::{Error, ErrorCode, MAX_OPEN, Reply, Request, ToServer};
use vmm_proto::resource::Machine;
use vmm_tests::census::Census;
use vmm_tests::deploy;
use vmm_tests::forge::{Forge, grant};
use vmm_tests::peer::{Credentials, Peer};
use vmm_tests::setup::Setup;

/// A request to deploy a machine whose image has this digest and size.
fn deploying(name: &str, sha256: [u8; 32], size: u32) -> ToServer {
    let machine = Machine { memory_mib: 64, ..deploy::machine(sha256, size) };
    ToServer::Open(deploy::request(Some(deploy::described(name, machine))))
}

/// The error that ends request `number`.
fn refusal(peer: &mut Peer, number: u32) -> Error {
    loop {
        match peer.receive().unwrap() {
            Some((of, Reply::Error(error))) if of == number => return error,
            Some((_, Reply::NeedImage { .. })) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn wait_for_need(peer: &mut Peer, number: u32) {
    let need = peer.receive().unwrap();
    assert_eq!(need, Some((number, Reply::NeedImage { offset: 0 })));
}

/// Deploys what claims to be `claimed` and sends `sent`.
fn upload(peer: &mut Peer, number: u32, claimed: &[u8], sent: &[u8]) -> Error {
    let size = u32::try_from(claimed.len()).unwrap();
    peer.send(number, &deploying("upload", Sha256::digest(claimed).into(), size)).unwrap();
    wait_for_need(peer, number);
    for piece in sent.chunks(1000) {
        peer.send(number, &ToServer::Data(piece.to_vec())).unwrap();
    }
    refusal(peer, number)
}

#[test]
fn an_image_that_is_not_what_was_signed_is_refused_and_nothing_is_kept() {
    let setup = Setup::new();
    let before = Census::of(&setup);
    let image = std::fs::read(setup.file("hello.spt")).unwrap();
    let mut peer = setup.peer("admin");
    let mut other = image.clone();
    other[5000] ^= 1;
    let error = upload(&mut peer, 1, &image, &other);
    assert!(error.code == ErrorCode::Image && error.message.contains("SHA-256"), "{error}");
    let longer = [&image[..], b"more"].concat();
    let error = upload(&mut peer, 2, &image, &longer);
    assert!(error.code == ErrorCode::Image && error.message.contains("more bytes"), "{error}");
    drop(peer);
    before.wait_for_again(&setup);
}

#[test]
fn a_file_that_is_no_unikernel_of_this_host_is_refused_and_nothing_is_kept() {
    let setup = Setup::new();
    let before = Census::of(&setup);
    let image = std::fs::read(setup.file("hello.spt")).unwrap();
    let mut arm = image.clone();
    arm[18] = 183;
    let mut overlapping = image.clone();
    // The second PT_LOAD with contents moves onto the first one's address.
    let header = |index: usize| 64 + 56 * index;
    let load = |bytes: &[u8], index: usize| {
        let at = header(index);
        bytes[at] == 1 && bytes[at + 32..at + 40] != [0; 8]
    };
    let count = usize::from(u16::from_le_bytes([image[56], image[57]]));
    let loads: Vec<usize> = (0..count).filter(|index| load(&image, *index)).collect();
    let first: [u8; 8] = image[header(loads[0]) + 16..header(loads[0]) + 24].try_into().unwrap();
    let second = header(loads[1]) + 16;
    overlapping[second..second + 8].copy_from_slice(&first);
    let mut peer = setup.peer("admin");
    for (number, (what, bytes)) in [
        ("text", b"#!/bin/sh\necho no\n".to_vec()),
        ("one byte", vec![0x7f]),
        ("a real ELF program", std::fs::read("/bin/true").unwrap()),
        ("another machine type", arm),
        ("truncated", image[..image.len() / 2].to_vec()),
        ("overlapping segments", overlapping),
    ]
    .into_iter()
    .enumerate()
    {
        let error = upload(&mut peer, u32::try_from(number).unwrap() + 1, &bytes, &bytes);
        assert_eq!(error.code, ErrorCode::Image, "{what}: {error}");
    }
    drop(peer);
    before.wait_for_again(&setup);
}

#[test]
fn a_packed_image_that_is_not_what_its_certificate_says_is_refused_as_the_grant_that_it_is() {
    let setup = Setup::forged();
    // A zstd frame of five bytes, "image", uncompressed (RFC 8878).
    let zstd = b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00image";
    for (label, size, packed, code) in [
        ("longer", 4, &zstd[..], ErrorCode::Chain),
        ("shorter", 6, zstd, ErrorCode::Chain),
        ("garbage", 5, b"no zstd", ErrorCode::Chain),
        // What it says, but no unikernel.
        ("image", 5, zstd, ErrorCode::Image),
    ] {
        let image = grant::embedded(1, size, packed);
        let dev = Forge::root("ca root").delegation("dev", |_| {});
        let leaf = dev.machine(label, |draft| draft.fields().set("image", image)).sign();
        let credentials = Credentials::forged(&leaf);
        let mut peer = Peer::connect(setup.house.address, credentials.config()).unwrap();
        peer.send(1, &ToServer::Open(deploy::request(None))).unwrap();
        let error = refusal(&mut peer, 1);
        assert_eq!(error.code, code, "{label}: {error}");
        let named = error.message.contains(&format!("\"dev/{label}\""));
        assert_eq!(named, code == ErrorCode::Chain, "{error}");
    }
    assert_eq!(setup.admin(&["--format", "json", "info"]).json(), serde_json::json!([]));
}

#[test]
fn an_upload_that_breaks_off_can_be_gone_on_with() {
    let setup = Setup::new();
    let image = std::fs::read(setup.file("hello.spt")).unwrap();
    let request =
        deploying("resumed", Sha256::digest(&image).into(), u32::try_from(image.len()).unwrap());
    let mut peer = setup.peer("admin");
    peer.send(1, &request).unwrap();
    wait_for_need(&mut peer, 1);
    for piece in image[..8000].chunks(1000) {
        peer.send(1, &ToServer::Data(piece.to_vec())).unwrap();
    }
    // The answer to a later request shows that nearly all of them were taken.
    peer.send(2, &ToServer::Open(Request::Quota)).unwrap();
    while !matches!(peer.receive().unwrap(), Some((2, Reply::Done))) {}
    drop(peer);
    let mut peer = setup.peer("admin");
    peer.send(1, &request).unwrap();
    // The server may not have noticed yet that the first connection is gone: then it waits for that.
    let Some((1, Reply::NeedImage { offset })) = peer.receive().unwrap() else { panic!() };
    let offset = usize::try_from(offset).unwrap();
    assert!((5000..=8000).contains(&offset), "{offset}");
    // Nobody else's part: another path asks for all of it.
    setup.subdelegate("dev", "alice", &["1", "64", "--cpu", "0"]);
    setup.leaf("alice", "a-admin", &["--permission", "all"]);
    let mut other = setup.peer("a-admin");
    other.send(1, &request).unwrap();
    wait_for_need(&mut other, 1);
    peer.send(1, &ToServer::Data(image[offset..].to_vec())).unwrap();
    assert!(matches!(peer.receive().unwrap(), Some((1, Reply::Deployed(_)))));
}

#[test]
fn an_upload_that_breaks_off_and_is_not_gone_on_with_leaves_nothing() {
    let setup = Setup::new();
    let before = Census::of(&setup);
    let mut peer = setup.peer("admin");
    peer.send(1, &deploying("broken", [1; 32], 1 << 20)).unwrap();
    wait_for_need(&mut peer, 1);
    peer.send(1, &ToServer::Data(vec![0; 1000])).unwrap();
    drop(peer);
    before.wait_for_again(&setup);
    let mut peer = setup.peer("admin");
    peer.send(1, &deploying("cancelled", [1; 32], 1 << 20)).unwrap();
    wait_for_need(&mut peer, 1);
    peer.send(1, &ToServer::Cancel).unwrap();
    peer.send(2, &ToServer::Open(Request::Quota)).unwrap();
    while !matches!(peer.receive().unwrap(), Some((2, Reply::Done))) {}
    drop(peer);
    before.wait_for_again(&setup);
}

#[test]
fn nothing_is_uploaded_for_a_machine_that_would_be_refused() {
    let setup = Setup::new();
    let mut peer = setup.peer("admin");
    let run = ["run", "tick", "ticker.spt", "--memory", "64", "--cpu", "0"];
    setup.client("dev", &run).expect(0);
    peer.send(1, &deploying("tick", [1; 32], 1 << 20)).unwrap();
    let first = peer.receive().unwrap();
    assert!(matches!(&first, Some((1, Reply::Error(error))) if error.code == ErrorCode::Name));
    peer.send(2, &deploying("huge", [1; 32], 1 << 30)).unwrap();
    let first = peer.receive().unwrap();
    assert!(
        matches!(&first, Some((2, Reply::Error(error))) if error.code == ErrorCode::Quota),
        "{first:?}"
    );
}

#[test]
fn a_frame_that_claims_four_gibibytes_ends_the_session_with_a_word() {
    let setup = Setup::new();
    let before = Census::of(&setup);
    let mut peer = setup.peer("admin");
    peer.send_bytes(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1]).unwrap();
    let Some((0, Reply::Error(error))) = peer.receive().unwrap() else { panic!("no word") };
    assert!(error.message.contains("4294967295"), "{error}");
    assert_eq!(peer.receive(), Ok(None));
    let mut peer = setup.peer("admin");
    peer.send_bytes(&[0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff, 0xff]).unwrap();
    let Some((0, Reply::Error(error))) = peer.receive().unwrap() else { panic!("no word") };
    assert!(error.message.contains("not a message"), "{error}");
    before.wait_for_again(&setup);
}

#[test]
fn a_name_that_is_a_path_elsewhere_is_refused() {
    let setup = Setup::new();
    let mut peer = setup.peer("admin");
    for (number, name) in ["../../x", "..", "/../x", "a/../../b", "x\0y", ""].iter().enumerate() {
        let number = u32::try_from(number).unwrap() + 1;
        peer.send(number, &deploying(name, [1; 32], 4096)).unwrap();
        let error = refusal(&mut peer, number);
        assert_eq!(error.code, ErrorCode::Usage, "{name}: {error}");
    }
}

#[test]
fn requests_have_numbers_of_their_own_and_a_limit() {
    let setup = Setup::new();
    let mut peer = setup.peer("admin");
    peer.send(0, &ToServer::Open(Request::Quota)).unwrap();
    assert!(matches!(peer.receive().unwrap(), Some((0, Reply::Error(_)))));
    let follow = Request::Log { name: None, since_ms: None, follow: true };
    let most = u32::try_from(MAX_OPEN).unwrap();
    for number in 1..=most {
        peer.send(number, &ToServer::Open(follow.clone())).unwrap();
    }
    peer.send(most + 1, &ToServer::Open(Request::Quota)).unwrap();
    peer.send(1, &ToServer::Open(Request::Quota)).unwrap();
    let mut codes = Vec::new();
    while codes.len() < 2 {
        if let Some((number, Reply::Error(error))) = peer.receive().unwrap() {
            codes.push((number, error.code));
        }
    }
    assert_eq!(codes, [(most + 1, ErrorCode::Busy), (1, ErrorCode::Usage)]);
}

#[test]
fn a_peer_that_stalls_is_given_up_while_others_go_on() {
    let setup = Setup::new();
    let before = Census::of(&setup);
    let mut in_frame = setup.peer("admin");
    let mut in_upload = setup.peer("admin");
    let begun = Instant::now();
    in_frame.send_bytes(&[0, 0, 0, 9, 0, 0]).unwrap();
    in_upload.send(1, &deploying("slow", [1; 32], 1 << 20)).unwrap();
    wait_for_need(&mut in_upload, 1);
    in_upload.send(1, &ToServer::Data(vec![0; 10])).unwrap();

    let run = ["run", "hello", "hello.spt", "--memory", "64", "--cpu", "0", "--attach"];
    setup.client("dev", &run).expect(0);
    // Those who stall are still being waited for.
    assert!(begun.elapsed() < Duration::from_secs(30), "others were held up");

    let Some((0, Reply::Error(error))) = in_frame.receive().unwrap() else { panic!("no word") };
    assert!(error.message.contains("not finished"), "{error}");
    let error = refusal(&mut in_upload, 1);
    assert!(error.message.contains("30 seconds"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(90));
    drop((in_frame, in_upload));
    setup.admin(&["destroy", "/dev/hello"]).expect(0);
    before.wait_for_again(&setup);
}

#[test]
fn a_tenant_does_not_learn_which_images_others_have() {
    let setup = Setup::new();
    setup.delegate("ca.db", "cacert.pem", "ca.key", "other", &["1", "64", "--cpu", "0"]);
    let run = ["run", "tick", "ticker.spt", "--memory", "64", "--cpu", "0"];
    setup.client("other", &run).expect(0);
    let image = std::fs::read(setup.file("ticker.spt")).unwrap();
    let size = u32::try_from(image.len()).unwrap();
    let mut peer = setup.peer("admin");
    peer.send(1, &deploying("mine", Sha256::digest(&image).into(), size)).unwrap();
    wait_for_need(&mut peer, 1);
}

#[test]
fn pieces_that_nobody_asked_for_hold_up_nothing() {
    let setup = Setup::new();
    let mut peer = setup.peer("admin");
    let follow = Request::Log { name: None, since_ms: None, follow: true };
    peer.send(1, &ToServer::Open(follow)).unwrap();
    for _ in 0..50 {
        peer.send(1, &ToServer::Data(vec![0; 60_000])).unwrap();
    }
    peer.send(2, &ToServer::Open(Request::Quota)).unwrap();
    while !matches!(peer.receive().unwrap(), Some((2, Reply::Done))) {}
}

#[test]
fn whoever_waits_for_anothers_upload_and_goes_takes_nothing_along() {
    let setup = Setup::new();
    let before = Census::of(&setup);
    let (mut first, mut second) = (setup.peer("admin"), setup.peer("admin"));
    let image = deploying("same", [1; 32], 1 << 20);
    first.send(1, &image).unwrap();
    wait_for_need(&mut first, 1);
    second.send(1, &image).unwrap();
    // The answer to a later request shows that the one before was taken.
    second.send(2, &ToServer::Open(Request::Quota)).unwrap();
    while !matches!(second.receive().unwrap(), Some((2, Reply::Done))) {}
    second.send(1, &ToServer::Cancel).unwrap();
    second.send(3, &ToServer::Open(Request::Quota)).unwrap();
    while !matches!(second.receive().unwrap(), Some((3, Reply::Done))) {}
    drop(first);
    let mut third = setup.peer("admin");
    third.send(1, &image).unwrap();
    wait_for_need(&mut third, 1);
    drop((second, third));
    before.wait_for_again(&setup);
}

#[test]
fn a_console_needs_its_permission_also_with_a_deploy() {
    let setup = Setup::new();
    setup.leaf("dev", "maker", &["--permission", "create"]);
    let run = ["run", "hello", "hello.spt", "--memory", "64", "--cpu", "0"];
    let refused = setup.client("maker", &[&run[..], &["--attach"]].concat());
    assert!(refused.expect(3).err.contains("console"), "{}", refused.err);
    assert_eq!(setup.state("/dev/hello"), None);
    setup.client("maker", &run).expect(0);
}
