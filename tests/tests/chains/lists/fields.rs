//! The list itself, all but its entries.

use vmm_proto::chain::crl::{CrlError, MAX_DER};
use vmm_tests::forge::Forge;
use vmm_tests::forge::crl::{CRL_NUMBER, DELTA, DISTRIBUTION_POINT, Entries, List};
use vmm_tests::forge::der;
use vmm_tests::forge::extensions::{AUTHORITY_KEY_ID, Extended, UNKNOWN};
use vmm_tests::forge::key::{self, Key, Kind};
use vmm_tests::forge::signing::Signing;
use vmm_tests::forge::times::Time;

use super::scene::{Case, Reason, alice, changed, list};
use crate::case::refuse;
use crate::scene::{NOW, wrong_times};

/// A change to how the list is signed.
fn signed(name: &str, change: impl Fn(&mut Signing) + 'static, reason: Reason) -> Case {
    changed(name, move |l| change(&mut l.signing), reason)
}

pub(crate) fn signatures() -> Vec<Case> {
    let bad = list!(CrlError::Signature);
    let not_allowed = list!(CrlError::SignatureAlgorithm);
    let mismatch = list!(CrlError::AlgorithmMismatch);
    let rsa = Key::generate(Kind::Rsa);
    let p521 = Key::generate(Kind::P521);
    vec![
        signed("one bit changed", |s| s.edit_signature = Some(|bytes| bytes[7] ^= 1), bad),
        signed("a signature by another key", |s| s.signer = Some(Key::named("nobody")), bad),
        signed("a signature of zeros", |s| s.edit_signature = Some(|bytes| bytes.fill(0)), bad),
        signed(
            "a signature cut short",
            |s| s.edit_signature = Some(|bytes| bytes.truncate(63)),
            bad,
        ),
        signed("an empty signature", |s| s.edit_signature = Some(Vec::clear), bad),
        signed(
            "a signature with a byte behind it",
            |s| s.edit_signature = Some(|bytes| bytes.push(0)),
            bad,
        ),
        signed(
            "an Ed25519 signature that calls itself ECDSA",
            |s| s.claim(&[der::oid(key::ECDSA_SHA256)]),
            bad,
        ),
        signed("an RSA signature", move |s| s.signer = Some(rsa.clone()), not_allowed),
        signed("a P-521 signature", move |s| s.signer = Some(p521.clone()), not_allowed),
        signed(
            "a signature by ecdsa-with-SHA1",
            |s| s.claim(&[der::oid(key::ECDSA_SHA1)]),
            not_allowed,
        ),
        signed(
            "a signature by sha1WithRSAEncryption",
            |s| s.claim(&[der::oid(key::SHA1_WITH_RSA), der::tlv(der::NULL, &[])]),
            not_allowed,
        ),
        signed(
            "Ed25519 with NULL parameters",
            |s| s.claim(&[der::oid(&[1, 3, 101, 112]), der::tlv(der::NULL, &[])]),
            not_allowed,
        ),
        signed(
            "another algorithm beside the signature than in it",
            |s| s.outer_algorithm = Some(der::sequence(&[der::oid(key::ECDSA_SHA256)])),
            mismatch,
        ),
        signed(
            "another algorithm in the signature than beside it",
            |s| s.inner_algorithm = Some(der::sequence(&[der::oid(key::ECDSA_SHA256)])),
            mismatch,
        ),
    ]
}

pub(crate) fn times() -> Vec<Case> {
    let time = list!(CrlError::Time);
    let mut cases = vec![
        changed("no nextUpdate", |l| l.next_update = None, list!(CrlError::NoNextUpdate)),
        changed(
            "no nextUpdate and no entries",
            |l| {
                l.next_update = None;
                l.entries = Entries::Absent;
            },
            list!(CrlError::NoNextUpdate),
        ),
        changed(
            "a nextUpdate that is the thisUpdate",
            |l| l.next_update = Some(l.this_update.clone()),
            list!(CrlError::NextUpdateFirst),
        ),
        changed(
            "a nextUpdate before the thisUpdate",
            |l| l.next_update = Some(Time::utc("251231235959Z")),
            list!(CrlError::NextUpdateFirst),
        ),
        changed(
            "made 301 seconds from now",
            |l| l.this_update = Time::unix(NOW + 301),
            list!(CrlError::FromTheFuture(_)),
        ),
    ];
    let letters = ("a time of letters", Time::utc("4912312359xxZ"));
    for (name, wrong) in wrong_times().into_iter().chain([letters]) {
        let again = wrong.clone();
        cases.push(changed(
            format!("{name} as nextUpdate"),
            move |l| l.next_update = Some(wrong.clone()),
            time,
        ));
        cases.push(changed(
            format!("{name} as thisUpdate"),
            move |l| l.this_update = again.clone(),
            time,
        ));
    }
    cases
}

/// The list has a critical issuingDistributionPoint.
fn scope(list: &mut List, fields: Vec<u8>) {
    list.add(DISTRIBUTION_POINT, true, fields);
}

pub(crate) fn extensions() -> Vec<Case> {
    let number = list!(CrlError::Number);
    let critical = list!(CrlError::Critical(_));
    let key_id = |octets: &[u8]| der::sequence(&[der::tlv(der::context(0), octets)]);
    let mut cases = vec![
        changed("no number", |l| l.drop(CRL_NUMBER), list!(CrlError::NoNumber)),
        changed("no extensions", |l| l.extensions.clear(), list!(CrlError::NoNumber)),
        changed("a critical number", |l| l.extension(CRL_NUMBER).critical = true, critical),
        changed(
            "a critical authorityKeyIdentifier",
            |l| l.extension(AUTHORITY_KEY_ID).critical = true,
            critical,
        ),
        changed("an unknown critical extension", |l| l.add(UNKNOWN, true, vec![5, 0]), critical),
        changed(
            "an unknown critical extension with a long identifier",
            |l| l.add(&[2, 5, u128::MAX, u128::MAX, u128::MAX], true, vec![5, 0]),
            critical,
        ),
        changed("a delta", |l| l.add(DELTA, true, der::integer(4)), list!(CrlError::Delta)),
        changed(
            "a delta that is not critical",
            |l| l.add(DELTA, false, der::integer(4)),
            list!(CrlError::Delta),
        ),
        changed(
            "an indirect list",
            // indirectCRL [4] TRUE
            |l| scope(l, der::sequence(&[der::tlv(der::context(4), &[0xff])])),
            list!(CrlError::Partial),
        ),
        changed(
            "a list of CA certificates only",
            |l| scope(l, der::sequence(&[der::tlv(der::context(2), &[0xff])])),
            list!(CrlError::Partial),
        ),
        changed(
            "a list of some reasons only",
            |l| scope(l, der::sequence(&[der::tlv(der::context(3), &[6, 0x40])])),
            list!(CrlError::Partial),
        ),
        changed(
            "an issuingDistributionPoint that says nothing, not critical",
            |l| l.add(DISTRIBUTION_POINT, false, der::sequence(&[])),
            list!(CrlError::Partial),
        ),
        changed(
            "a number twice",
            |l| l.add(CRL_NUMBER, false, der::integer(6)),
            list!(CrlError::ExtensionTwice(_)),
        ),
        changed(
            "an unknown extension twice",
            |l| {
                l.add(UNKNOWN, false, vec![5, 0]);
                l.add(UNKNOWN, false, vec![5, 0]);
            },
            list!(CrlError::ExtensionTwice(_)),
        ),
        changed(
            "seventeen extensions",
            |l| (1..=15).for_each(|arc| l.add(&[2, 999, arc], false, vec![5, 0])),
            list!(CrlError::TooManyExtensions),
        ),
        changed(
            "an authorityKeyIdentifier of another key",
            move |l| l.set(AUTHORITY_KEY_ID, key_id(&[9; 20])),
            list!(CrlError::AuthorityKeyId),
        ),
        changed(
            "an authorityKeyIdentifier without a keyIdentifier",
            |l| l.set(AUTHORITY_KEY_ID, der::sequence(&[])),
            list!(CrlError::AuthorityKeyId),
        ),
        changed(
            "an authorityKeyIdentifier that is no SEQUENCE",
            |l| l.set(AUTHORITY_KEY_ID, vec![4, 1, 7]),
            list!(CrlError::Extension("authorityKeyIdentifier")),
        ),
    ];
    let numbers: [(&str, Vec<u8>); 9] = [
        ("negative", der::tlv(der::INTEGER, &[0xff])),
        ("of 21 octets", der::tlv(der::INTEGER, &[1; 21])),
        (
            "of 2^160 - 1, which has a sign",
            der::tlv(der::INTEGER, &[&[0][..], &[0xff; 20]].concat()),
        ),
        ("with a leading zero", der::tlv(der::INTEGER, &[0, 5])),
        ("without octets", der::tlv(der::INTEGER, &[])),
        ("that is an OCTET STRING", der::tlv(der::OCTET_STRING, &[5])),
        ("with bytes behind it", [der::integer(5), vec![5, 0]].concat()),
        ("with a long length", der::tlv_long(der::INTEGER, &[5])),
        ("of nothing at all", Vec::new()),
    ];
    for (name, der) in numbers {
        cases.push(changed(
            format!("a number {name}"),
            move |l| l.set(CRL_NUMBER, der.clone()),
            number,
        ));
    }
    cases
}

/// The contents of the outermost SEQUENCE, in another frame.
fn reframed(list: &mut Vec<u8>, frame: fn(u8, &[u8]) -> Vec<u8>) {
    *list = frame(der::SEQUENCE, der::content(list));
}

pub(crate) fn shapes() -> Vec<Case> {
    let malformed = list!(CrlError::Der);
    let version = list!(CrlError::Version);
    vec![
        changed("version 1", |l| l.version = None, version),
        changed("version 1, said so", |l| l.version = Some(0), version),
        changed("version 3", |l| l.version = Some(2), version),
        changed("version 257", |l| l.version = Some(256), version),
        signed("bytes behind it", |s| s.edit = Some(|der| der.push(0)), list!(CrlError::Trailing)),
        signed(
            "twice itself",
            |s| s.edit = Some(|der| der.extend(der.clone())),
            list!(CrlError::Trailing),
        ),
        signed(
            "its last byte missing",
            |s| s.edit = Some(|der| der.truncate(der.len() - 1)),
            malformed,
        ),
        signed("no bytes", |s| s.edit = Some(Vec::clear), malformed),
        signed(
            "something else",
            |s| s.edit = Some(|der| *der = b"GET / HTTP/1.1\r\n\r\n".to_vec()),
            malformed,
        ),
        signed("a long length", |s| s.edit = Some(|der| reframed(der, der::tlv_long)), malformed),
        signed(
            "an indefinite length",
            |s| s.edit = Some(|der| reframed(der, der::tlv_indefinite)),
            malformed,
        ),
        changed(
            "a field behind the signature",
            |l| {
                l.signing.edit = Some(|der| {
                    *der = der::tlv(der::SEQUENCE, &[der::content(der), &[5, 0]].concat());
                });
            },
            malformed,
        ),
        signed(
            "a field behind the extensions",
            |s| s.edit_signed = Some(|signed| signed.extend([5, 0])),
            malformed,
        ),
        changed(
            "the extensions twice",
            |l| {
                l.signing.edit_signed = Some(|signed| {
                    let again = der::tlv(der::constructed(0), &der::sequence(&[]));
                    signed.extend(again);
                });
            },
            malformed,
        ),
        changed(
            "an empty list of extensions",
            |l| {
                l.extensions.clear();
                l.signing.edit_signed = Some(|signed| {
                    signed.extend(der::tlv(der::constructed(0), &der::sequence(&[])));
                });
            },
            malformed,
        ),
        refuse(
            "a certificate in the place of the list",
            alice,
            |s| {
                s.list.signing.edit =
                    Some(|der| *der = Forge::root("x y").sign().root_der().to_vec());
            },
            list!(CrlError::Version),
        ),
        signed(
            "more bytes than are taken",
            |s| s.edit = Some(|der| der.resize(MAX_DER + 1, 0)),
            list!(CrlError::TooLarge(_)),
        ),
    ]
}
