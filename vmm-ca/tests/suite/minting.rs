//! What a client does with the key of a delegation: mint a leaf for the moment.

use std::time::Duration;

use crate::desk::Desk;
use rustls_pki_types::CertificateDer;
use vmm_ca::issue::Issuer;
use vmm_ca::{Error, Refusal, pem};
use vmm_proto::authority::Holder;
use vmm_proto::chain::certificate::Certificate;
use vmm_proto::chain::{self, Root};
use vmm_proto::grant::Grant;
use vmm_proto::permission::{Permission, Permissions};

const MINUTE: Duration = Duration::from_mins(1);

fn issuer(desk: &Desk) -> Issuer {
    Issuer::load(&desk.read("dev.bundle"), &desk.read("dev.key")).unwrap()
}

fn root(desk: &Desk) -> Root {
    Root::from_der(&pem::read_certificates(&desk.path("cacert.pem")).unwrap()[0]).unwrap()
}

fn grant() -> Grant {
    Grant::Permissions(Permissions::of([Permission::Create, Permission::Console]))
}

#[test]
fn a_server_accepts_a_minted_leaf_while_it_lives() {
    let desk = Desk::with_delegation();
    let label = "me".parse().unwrap();
    let minted = issuer(&desk).mint_leaf(&label, &grant(), MINUTE, desk.now).unwrap();
    let authorize = |now| chain::authorize(&minted.chain, &root(&desk), None, now);
    let authorization = authorize(desk.now).unwrap();
    assert_eq!(authorization.path().to_string(), "dev");
    assert_eq!(authorization.describe(), "dev/me");
    let Grant::Permissions(granted) = grant() else { unreachable!() };
    assert_eq!(*authorization.holder(), Holder::Permissions(granted));
    assert!(authorize(desk.now - 300).is_ok(), "clocks may be five minutes apart");
    assert!(authorize(desk.now + 60).is_ok());
    assert!(authorize(desk.now + 61).is_err());
    assert!(authorize(desk.now - 301).is_err());
}

#[test]
fn every_minted_leaf_has_its_own_key_and_serial() {
    let desk = Desk::with_delegation();
    let label = "me".parse().unwrap();
    let issuer = issuer(&desk);
    let mint = || issuer.mint_leaf(&label, &grant(), MINUTE, desk.now).unwrap();
    let (one, other) = (mint(), mint());
    assert_ne!(one.key.secret_pkcs8_der(), other.key.secret_pkcs8_der());
    assert_ne!(one.chain[0], other.chain[0]);
    assert_eq!(one.chain[1..], other.chain[1..]);
}

#[test]
fn a_leaf_does_not_outlive_its_issuer() {
    let desk = Desk::with_delegation();
    let issuer = issuer(&desk);
    let forever = Duration::from_secs(u64::MAX);
    let label = "me".parse().unwrap();
    let minted = issuer.mint_leaf(&label, &grant(), forever, desk.now).unwrap();
    let end = issuer.validity().not_after;
    assert!(chain::authorize(&minted.chain, &root(&desk), None, end).is_ok());
    let leaf = Certificate::parse(&minted.chain[0]).unwrap();
    assert_eq!(leaf.validity.not_after, end);
}

#[test]
fn an_expired_issuer_still_mints_and_the_server_says_no() {
    let desk = Desk::with_delegation();
    let issuer = issuer(&desk);
    let late = issuer.validity().not_after + 1;
    let minted = issuer.mint_leaf(&"me".parse().unwrap(), &grant(), MINUTE, late).unwrap();
    assert!(chain::authorize(&minted.chain, &root(&desk), None, late).is_err());
}

#[test]
fn a_delegation_is_not_minted() {
    let desk = Desk::with_delegation();
    let grant = Grant::Delegation(issuer(&desk).bounds().unwrap().clone());
    let minted = issuer(&desk).mint_leaf(&"me".parse().unwrap(), &grant, MINUTE, desk.now);
    assert!(matches!(minted, Err(Error::Usage(_))));
}

#[test]
fn the_root_mints_for_the_whole_host() {
    let desk = Desk::with_authority();
    let issuer = Issuer::load(&desk.read("cacert.pem"), &desk.read("ca.key")).unwrap();
    let minted = issuer.mint_leaf(&"me".parse().unwrap(), &grant(), MINUTE, desk.now).unwrap();
    let [leaf] = &minted.chain[..] else { panic!("the root is left out") };
    let chain = [CertificateDer::from(leaf.to_vec())];
    let authorization = chain::authorize(&chain, &root(&desk), None, desk.now).unwrap();
    assert!(authorization.path().is_host());
}

#[test]
fn a_key_and_a_bundle_that_do_not_belong_together_load_nothing() {
    let desk = Desk::with_delegation();
    let loaded = Issuer::load(&desk.read("dev.bundle"), &desk.read("ca.key"));
    assert!(matches!(loaded, Err(Error::Refused(Refusal::WrongKey(_)))));
    assert!(matches!(Issuer::load(b"", &desk.read("ca.key")), Err(Error::Malformed(_))));
    assert!(matches!(Issuer::load(&desk.read("dev.bundle"), b""), Err(Error::Malformed(_))));
}

#[test]
fn every_level_down_to_the_sixth_is_authorized() {
    let desk = Desk::with_authority();
    let (mut certificate, mut key) = ("cacert.pem".to_owned(), "ca.key".to_owned());
    for depth in 1..=6 {
        desk.run(&format!("request delegation d{depth} 1 8 --cpu 0 --algorithm p384")).done();
        desk.run(&format!("sign d{depth}.db {certificate} {key} d{depth}.req")).done();
        (certificate, key) = (format!("d{depth}.bundle"), format!("d{depth}.key"));
        let issuer = Issuer::load(&desk.read(&certificate), &desk.read(&key)).unwrap();
        let minted = issuer.mint_leaf(&"me".parse().unwrap(), &grant(), MINUTE, desk.now).unwrap();
        let authorization = chain::authorize(&minted.chain, &root(&desk), None, desk.now).unwrap();
        assert_eq!(authorization.path().depth(), depth);
    }
}
