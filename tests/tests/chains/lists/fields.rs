//! The list itself, all but its entries.

use vmm_proto::chain::crl::{CrlError, MAX_DER};
use vmm_tests::forge::Forge;
use vmm_tests::forge::certificate::{AUTHORITY_KEY_ID, Time, UNKNOWN};
use vmm_tests::forge::crl::{CRL_NUMBER, DELTA, DISTRIBUTION_POINT, Entries, List};
use vmm_tests::forge::der;
use vmm_tests::forge::key::{self, Key, Kind};

use super::scene::{Case, alice, changed, list, refuse};
use crate::scene::NOW;

/// The list calls its signature that.
fn algorithm(list: &mut List, elements: &[Vec<u8>]) {
    list.inner_algorithm = Some(der::sequence(elements));
    list.outer_algorithm = Some(der::sequence(elements));
}

pub(crate) fn signatures() -> Vec<Case> {
    let bad = list!(CrlError::Signature);
    let not_allowed = list!(CrlError::SignatureAlgorithm);
    let mismatch = list!(CrlError::AlgorithmMismatch);
    let rsa = Key::generate(Kind::Rsa);
    let p521 = Key::generate(Kind::P521);
    vec![
        changed("one bit changed", |l| l.edit_signature = Some(|s| s[7] ^= 1), bad),
        changed("a signature by another key", |l| l.signer = Some(Key::named("nobody")), bad),
        changed("a signature of zeros", |l| l.edit_signature = Some(|s| s.fill(0)), bad),
        changed("a signature cut short", |l| l.edit_signature = Some(|s| s.truncate(63)), bad),
        changed("an empty signature", |l| l.edit_signature = Some(Vec::clear), bad),
        changed(
            "a signature with a byte behind it",
            |l| l.edit_signature = Some(|s| s.push(0)),
            bad,
        ),
        changed(
            "an Ed25519 signature that calls itself ECDSA",
            |l| algorithm(l, &[der::oid(key::ECDSA_SHA256)]),
            bad,
        ),
        changed("an RSA signature", move |l| l.signer = Some(rsa.clone()), not_allowed),
        changed("a P-521 signature", move |l| l.signer = Some(p521.clone()), not_allowed),
        changed(
            "a signature by ecdsa-with-SHA1",
            |l| algorithm(l, &[der::oid(key::ECDSA_SHA1)]),
            not_allowed,
        ),
        changed(
            "a signature by sha1WithRSAEncryption",
            |l| algorithm(l, &[der::oid(key::SHA1_WITH_RSA), der::tlv(der::NULL, &[])]),
            not_allowed,
        ),
        changed(
            "Ed25519 with NULL parameters",
            |l| algorithm(l, &[der::oid(&[1, 3, 101, 112]), der::tlv(der::NULL, &[])]),
            not_allowed,
        ),
        changed(
            "another algorithm beside the signature than in it",
            |l| l.outer_algorithm = Some(der::sequence(&[der::oid(key::ECDSA_SHA256)])),
            mismatch,
        ),
        changed(
            "another algorithm in the signature than beside it",
            |l| l.inner_algorithm = Some(der::sequence(&[der::oid(key::ECDSA_SHA256)])),
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
    for (name, wrong) in [
        ("a UTCTime without seconds", Time::utc("4912312359Z")),
        ("a UTCTime with an offset", Time::utc("491231235959+0100")),
        ("a UTCTime in month 13", Time::utc("491331235959Z")),
        ("a UTCTime on 30 February", Time::utc("490230000000Z")),
        ("a GeneralizedTime with fractions", Time::generalized("20991231235959.5Z")),
        ("a GeneralizedTime without Z", Time::generalized("20991231235959")),
        ("an empty time", Time::utc("")),
        ("a time of letters", Time::utc("4912312359xxZ")),
    ] {
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
        changed("bytes behind it", |l| l.edit = Some(|der| der.push(0)), list!(CrlError::Trailing)),
        changed(
            "twice itself",
            |l| l.edit = Some(|der| der.extend(der.clone())),
            list!(CrlError::Trailing),
        ),
        changed(
            "its last byte missing",
            |l| l.edit = Some(|der| der.truncate(der.len() - 1)),
            malformed,
        ),
        changed("no bytes", |l| l.edit = Some(Vec::clear), malformed),
        changed(
            "something else",
            |l| l.edit = Some(|der| *der = b"GET / HTTP/1.1\r\n\r\n".to_vec()),
            malformed,
        ),
        changed("a long length", |l| l.edit = Some(|der| reframed(der, der::tlv_long)), malformed),
        changed(
            "an indefinite length",
            |l| l.edit = Some(|der| reframed(der, der::tlv_indefinite)),
            malformed,
        ),
        changed(
            "a field behind the signature",
            |l| {
                l.edit = Some(|der| {
                    *der = der::tlv(der::SEQUENCE, &[der::content(der), &[5, 0]].concat());
                });
            },
            malformed,
        ),
        changed(
            "a field behind the extensions",
            |l| l.edit_signed = Some(|signed| signed.extend([5, 0])),
            malformed,
        ),
        changed(
            "the extensions twice",
            |l| {
                l.edit_signed = Some(|signed| {
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
                l.edit_signed = Some(|signed| {
                    signed.extend(der::tlv(der::constructed(0), &der::sequence(&[])));
                });
            },
            malformed,
        ),
        refuse(
            "a certificate in the place of the list",
            alice,
            |s| {
                s.list.edit = Some(|der| *der = Forge::root("x y").sign().root_der().to_vec());
            },
            list!(CrlError::Version),
        ),
        changed(
            "more bytes than are taken",
            |l| l.edit = Some(|der| der.resize(MAX_DER + 1, 0)),
            list!(CrlError::TooLarge(_)),
        ),
    ]
}
