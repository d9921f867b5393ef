//! Revocation lists against golden files that other encoders made (`vectors/make_crls.py`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use vmm_proto::chain::crl::pem::{CrlFile, CrlFileError};
use vmm_proto::chain::crl::{CrlAuthority, CrlError, MAX_DER, authorize_crl};
use vmm_proto::chain::{Fault, PathError, Root};
use vmm_proto::id::Digest;
use vmm_proto::revocation::CrlNumber;

/// 2026-06-01, 2026-05-01 and 2026-07-01.
const NOW: i64 = 1_780_272_000;
const THIS_UPDATE: i64 = 1_777_593_600;
const NEXT_UPDATE: i64 = 1_782_864_000;

macro_rules! golden {
    ($file:literal) => {
        include_bytes!(concat!("vectors/crls/", $file)).as_slice()
    };
}

fn root() -> Root {
    Root::from_der(&CertificateDer::from_pem_slice(golden!("root.pem")).unwrap()).unwrap()
}

fn authorize(file: &CrlFile, now: i64) -> Result<CrlAuthority, CrlError> {
    authorize_crl(&file.der, &file.chain, &root(), None, now)
}

fn accepted(pem: &[u8]) -> CrlAuthority {
    authorize(&CrlFile::parse(pem).unwrap(), NOW).unwrap()
}

fn serials(of: &CrlAuthority) -> Vec<&[u8]> {
    of.list.serials.iter().collect()
}

#[test]
fn a_list_of_the_root_needs_no_chain_and_may_bring_the_root() {
    let alone = accepted(golden!("root.crl"));
    assert_eq!((alone.links.len(), alone.list.issuer), (0, root().key()));
    assert!(alone.list.path.is_host());
    assert_eq!(serials(&alone), [&[0x10, 0x01]]);
    let with_root = [golden!("root.crl"), golden!("root.pem")].concat();
    assert_eq!(accepted(&with_root), alone);
}

#[test]
fn a_list_says_whose_it_is_and_what_it_takes_back() {
    let dev = accepted(golden!("dev.crl"));
    assert_eq!(dev.list.path.to_string(), "dev");
    assert_eq!(dev.links.len(), 1);
    assert_eq!(dev.list.issuer, dev.links[0].key);
    assert_eq!((dev.list.this_update, dev.list.next_update), (THIS_UPDATE, NEXT_UPDATE));
    let largest = [&[0x7f][..], &[0xff; 19]].concat();
    assert_eq!(dev.list.number, CrlNumber::from_der(&largest).unwrap());
    assert_eq!(serials(&dev), [&[1][..], &[0, 0x80], &largest]);
}

#[test]
fn an_empty_list_with_number_0_and_the_root_behind_its_chain_is_accepted() {
    let dev = accepted(golden!("dev-with-root.crl"));
    assert_eq!(dev.list.number, CrlNumber::from(0));
    assert!(dev.list.serials.is_empty());
}

#[test]
fn lists_may_be_signed_with_p_256_and_p_384() {
    for (pem, path, number) in
        [(golden!("alice.crl"), "dev/alice", 7), (golden!("bob.crl"), "dev/bob", 8)]
    {
        let authority = accepted(pem);
        assert_eq!(authority.list.path.to_string(), path);
        assert_eq!(authority.list.number, CrlNumber::from(number));
        assert_eq!(authority.list.issuer, authority.links[1].key);
    }
}

#[test]
fn a_list_that_openssl_made_is_accepted() {
    let alice = accepted(golden!("openssl.crl"));
    assert_eq!(alice.list.number, CrlNumber::from(0x1000));
    assert_eq!(serials(&alice), [&[0, 0xff][..], &[0x12, 0x34]]);
}

#[test]
fn a_list_is_taken_after_its_time_but_not_before() {
    let file = CrlFile::parse(golden!("dev.crl")).unwrap();
    assert!(authorize(&file, NEXT_UPDATE + 1).is_ok());
    assert!(authorize(&file, THIS_UPDATE - 300).is_ok());
    let early = authorize(&file, THIS_UPDATE - 301);
    assert_eq!(early.unwrap_err(), CrlError::FromTheFuture(THIS_UPDATE));
}

#[test]
fn the_chain_of_a_list_is_judged_as_any_other() {
    let path_fault = |error: CrlError| match error {
        CrlError::Chain(error) => match error.fault {
            Fault::Path(path) => path,
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    };
    let mut file = CrlFile::parse(golden!("alice.crl")).unwrap();
    let expired = path_fault(authorize(&file, 2_200_000_000).unwrap_err());
    assert!(matches!(expired, PathError::CertExpired { .. }), "{expired}");
    // The delegation in between is missing; then the two stand the wrong way round.
    let dev = file.chain.pop().unwrap();
    assert!(authorize(&file, NOW).is_err());
    file.chain.insert(0, dev);
    assert!(authorize(&file, NOW).is_err());
    file.chain.reverse();
    assert!(authorize(&file, NOW).is_ok());
    // The delegation says which hosts it is for.
    let elsewhere = authorize_crl(&file.der, &file.chain, &root(), Some(&Digest([9; 32])), NOW);
    let CrlError::Chain(error) = elsewhere.unwrap_err() else { panic!("not the chain's fault") };
    assert_eq!(error.fault, Fault::OtherHost);
    let here = authorize_crl(&file.der, &file.chain, &root(), Some(&Digest([7; 32])), NOW);
    assert!(here.is_ok());
}

#[test]
fn a_list_with_the_chain_of_another_ca_is_refused() {
    let mut file = CrlFile::parse(golden!("alice.crl")).unwrap();
    file.chain = CrlFile::parse(golden!("bob.crl")).unwrap().chain;
    assert_eq!(authorize(&file, NOW).unwrap_err(), CrlError::OtherIssuer);
    file.chain.clear();
    assert_eq!(authorize(&file, NOW).unwrap_err(), CrlError::OtherIssuer);
}

#[test]
fn no_bit_of_a_list_can_be_changed() {
    let original = CrlFile::parse(golden!("dev.crl")).unwrap();
    for place in 0..original.der.len() {
        let mut file = original.clone();
        file.der[place] ^= 1;
        assert!(authorize(&file, NOW).is_err(), "byte {place}");
    }
}

#[test]
fn bytes_behind_a_list_and_missing_ones_are_refused() {
    let original = CrlFile::parse(golden!("dev.crl")).unwrap();
    let mut longer = original.clone();
    longer.der.push(0);
    assert_eq!(authorize(&longer, NOW).unwrap_err(), CrlError::Trailing);
    for length in 0..original.der.len() {
        let file = CrlFile { der: original.der[..length].to_vec(), ..original.clone() };
        assert_eq!(authorize(&file, NOW).unwrap_err(), CrlError::Der, "{length} bytes");
    }
    let huge = CrlFile { der: vec![0x30; MAX_DER + 1], ..original };
    assert_eq!(authorize(&huge, NOW).unwrap_err(), CrlError::TooLarge(MAX_DER + 1));
}

#[test]
fn a_file_is_a_list_and_then_certificates_and_nothing_else() {
    let (list, root) = (golden!("root.crl"), golden!("root.pem"));
    let read = |parts: &[&[u8]]| CrlFile::parse(&parts.concat());
    assert!(read(&[b"some words\n", list, root]).is_ok());
    assert_eq!(read(&[]).unwrap_err(), CrlFileError::NoCrl);
    assert_eq!(read(&[root, list]).unwrap_err(), CrlFileError::NoCrl);
    assert_eq!(read(&[list, list]).unwrap_err(), CrlFileError::SecondCrl);
    assert_eq!(read(&[list, &root.repeat(8)]).unwrap().chain.len(), 8);
    assert_eq!(read(&[list, &root.repeat(9)]).unwrap_err(), CrlFileError::TooLong);
    let cut = read(&[&list[..list.len() - 30]]).unwrap_err();
    assert_eq!(cut, CrlFileError::Pem("cut off: a section has no end".to_owned()));
    let key = b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    assert_eq!(read(&[list, key]).unwrap_err(), CrlFileError::Other);
}
