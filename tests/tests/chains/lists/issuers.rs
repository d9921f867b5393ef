//! The chain that comes with a list: rules 2 to 6, without a leaf.

use vmm_proto::chain::crl::CrlError;
use vmm_proto::chain::{Fault, PathError};
use vmm_tests::forge::certificate::Draft;
use vmm_tests::forge::extensions::{
    AUTHORITY_KEY_ID, BASIC_CONSTRAINTS, CERT_SIGN, CRL_SIGN, EXT_KEY_USAGE, Extended, GRANT,
    KEY_USAGE, NAME_CONSTRAINTS, SERVER_AUTH, SUBJECT_KEY_ID, UNKNOWN, basic_constraints,
    ext_key_usage, key_usage,
};
use vmm_tests::forge::grant;
use vmm_tests::forge::key::{self, Key, Kind};
use vmm_tests::forge::names::{Attribute, COMMON_NAME, Name};
use vmm_tests::forge::times::Time;
use vmm_tests::forge::{Forge, der};

use super::scene::{Case, Reason, alice, chain, changed, list, presented, root, sixth};
use crate::case::refuse;
use crate::scene::{NOW, deep};

pub(crate) fn chains() -> Vec<Case> {
    let not_linked = chain!(3, Fault::AuthorityKeyId);
    vec![
        presented("no chain", |list, _| list.clear(), list!(CrlError::OtherIssuer)),
        presented(
            "the root alone for a delegation's list",
            |list, forged| *list = vec![forged.root_der().to_vec()],
            list!(CrlError::OtherIssuer),
        ),
        refuse(
            "a chain for the root's list",
            root,
            |s| s.chain.present(|list, _| *list = deep(1).sign().chain_der()),
            list!(CrlError::OtherIssuer),
        ),
        presented("the delegation in between is missing", |list, _| drop(list.pop()), not_linked),
        presented(
            "the issuer itself is missing",
            |list, _| drop(list.remove(0)),
            list!(CrlError::OtherIssuer),
        ),
        presented("outermost delegation first", |list, _| list.reverse(), not_linked),
        presented("the issuer twice", |list, _| list.insert(0, list[0].clone()), not_linked),
        presented("a CA that nobody needs, first", |list, _| list.insert(0, beside()), not_linked),
        presented("a CA that nobody needs, last", |list, _| list.push(beside()), not_linked),
        presented(
            "another root in the place of the root",
            |list, _| list.push(Forge::root("b root").sign().root_der().to_vec()),
            chain!(3, Fault::AuthorityKeyId),
        ),
        presented(
            "the root twice",
            |list, forged| {
                list.extend([forged.root_der().to_vec(), forged.root_der().to_vec()]);
            },
            not_linked,
        ),
        refuse(
            "seven delegations",
            sixth,
            |s| s.chain.forge = deep(7),
            chain!(2, Fault::TooLong(_)),
        ),
        refuse(
            "a server that knows another root",
            alice,
            |s| s.chain.root = Some(Forge::root("b root").sign().root_der().to_vec()),
            not_linked,
        ),
        refuse(
            "a root that has expired",
            alice,
            |s| s.chain.at(0).not_after = Time::unix(NOW - 1),
            chain!(3, Fault::RootNotValid { .. }),
        ),
        refuse(
            "a root that has expired, for its own list",
            root,
            |s| s.chain.at(0).not_after = Time::unix(NOW - 1),
            chain!(3, Fault::RootNotValid { .. }),
        ),
        refuse(
            "a chain of more than 64 KiB",
            alice,
            |s| s.chain.at(1).add(UNKNOWN, false, vec![0; 65_000]),
            list!(CrlError::ChainTooLarge(_)),
        ),
        presented(
            "rubbish behind the chain",
            |list, _| list.push(vec![0xff; 64]),
            chain!(3, Fault::Encoding),
        ),
        presented(
            "bytes behind the issuer's certificate",
            |list, _| list[0].push(0),
            chain!(3, Fault::Trailing),
        ),
        refuse(
            "a path length one too short above six",
            sixth,
            |s| s.chain.at(2).set(BASIC_CONSTRAINTS, basic_constraints(true, Some(3))),
            chain!(3, Fault::Path(PathError::PathLenConstraintViolated)),
        ),
    ]
}

/// A delegation of the same root, apart from those of [`alice`].
fn beside() -> Vec<u8> {
    Forge::root("ca root").delegation("other", |_| {}).sign().certificates[1].clone()
}

/// The same change at dev and at alice, the issuer.
fn at_both(name: &str, change: fn(&mut Draft), reason: Reason) -> [Case; 2] {
    [(1, "dev"), (2, "alice")].map(|(place, label)| {
        refuse(format!("{name}, in {label}"), alice, move |s| change(s.chain.at(place)), reason)
    })
}

pub(crate) fn certificates() -> Vec<Case> {
    let usage = chain!(3, Fault::KeyUsage(_));
    let time = chain!(3, Fault::Path(PathError::BadDerTime) | Fault::Encoding);
    [
        at_both("no cRLSign", |c| c.set(KEY_USAGE, key_usage(&[CERT_SIGN])), usage),
        at_both("no keyCertSign", |c| c.set(KEY_USAGE, key_usage(&[CRL_SIGN])), usage),
        at_both("no keyUsage", |c| c.drop(KEY_USAGE), usage),
        at_both(
            "no CA",
            |c| c.set(BASIC_CONSTRAINTS, basic_constraints(false, None)),
            chain!(3, Fault::KeyUsage("digitalSignature")),
        ),
        at_both(
            "expired a second ago",
            |c| c.not_after = Time::unix(NOW - 1),
            chain!(3, Fault::Path(PathError::CertExpired { .. })),
        ),
        at_both(
            "valid in a second",
            |c| c.not_before = Time::unix(NOW + 1),
            chain!(3, Fault::Path(PathError::CertNotValidYet { .. })),
        ),
        at_both(
            "ends before it begins",
            |c| {
                c.not_before = Time::unix(NOW + 10);
                c.not_after = Time::unix(NOW - 10);
            },
            chain!(3, Fault::Path(PathError::CertExpired { .. })),
        ),
        at_both("a UTCTime without seconds", |c| c.not_after = Time::utc("4912312359Z"), time),
        at_both("a UTCTime with an offset", |c| c.not_after = Time::utc("491231235959+0100"), time),
        at_both(
            "a GeneralizedTime with fractions",
            |c| c.not_after = Time::generalized("20991231235959.5Z"),
            time,
        ),
        at_both("no grant", |c| c.drop(GRANT), chain!(4, Fault::NoGrant)),
        at_both(
            "no extKeyUsage",
            |c| c.drop(EXT_KEY_USAGE),
            chain!(3, Fault::ExtendedKeyUsage("clientAuth")),
        ),
        at_both(
            "serverAuth only",
            |c| c.set(EXT_KEY_USAGE, ext_key_usage(&[SERVER_AUTH])),
            chain!(3, Fault::ExtendedKeyUsage("clientAuth")),
        ),
        at_both(
            "no subjectKeyIdentifier",
            |c| c.drop(SUBJECT_KEY_ID),
            chain!(3, Fault::SubjectKeyId),
        ),
        at_both(
            "no authorityKeyIdentifier",
            |c| c.drop(AUTHORITY_KEY_ID),
            chain!(3, Fault::AuthorityKeyId),
        ),
        at_both(
            "an unknown critical extension",
            |c| c.add(UNKNOWN, true, vec![5, 0]),
            chain!(3, Fault::Path(PathError::UnsupportedCriticalExtension)),
        ),
        at_both(
            "name constraints",
            |c| {
                let subtree = der::sequence(&[der::tlv(der::context(2), b"example")]);
                let constraints = der::sequence(&[der::tlv(der::constructed(1), &subtree)]);
                c.add(NAME_CONSTRAINTS, true, constraints);
            },
            chain!(3, Fault::Path(PathError::NameConstraintViolation)),
        ),
        at_both(
            "a signature by another key",
            |c| c.signing.signer = Some(Key::named("nobody")),
            chain!(3, Fault::Path(PathError::InvalidSignatureForPublicKey)),
        ),
        at_both(
            "a signature with one bit changed",
            |c| c.signing.edit_signature = Some(|signature| signature[7] ^= 1),
            chain!(3, Fault::Path(PathError::InvalidSignatureForPublicKey)),
        ),
        at_both(
            "another algorithm in the signature than beside it",
            |c| c.signing.inner_algorithm = Some(der::sequence(&[der::oid(key::ECDSA_SHA256)])),
            chain!(3, Fault::Path(PathError::SignatureAlgorithmMismatch)),
        ),
        at_both(
            "another issuer's name",
            |c| c.issuer = Some(Name::common("b root")),
            chain!(3, Fault::Path(PathError::UnknownIssuer)),
        ),
        at_both("version 1", |c| c.version = None, chain!(3, Fault::Version | Fault::Encoding)),
        at_both("serial 0", |c| c.serial = vec![0], chain!(3, Fault::Serial)),
        at_both(
            "a name that is no label",
            |c| c.subject = Name::common("An Other"),
            chain!(3, Fault::Label(_)),
        ),
        at_both(
            "for another host",
            |c| grant::hosts(c.fields(), &[&[0x11; 32]]),
            chain!(6, Fault::OtherHost),
        ),
    ]
    .into_iter()
    .flatten()
    .chain([
        refuse(
            "an issuer with more than its own issuer",
            alice,
            |s| s.chain.at(2).fields().number("memory", 1 << 30),
            chain!(5, Fault::Misfit(_)),
        ),
        refuse(
            "an issuer with an RSA key",
            alice,
            |s| {
                s.chain.at(2).key = Key::generate(Kind::Rsa);
                // The list itself calls its signature one that is allowed.
                s.list.signing.signer = Some(Key::named("nobody"));
            },
            chain!(3, Fault::KeyAlgorithm),
        ),
    ])
    .collect()
}

/// A delegation with alice's name, below another one.
fn other_alice() -> Forge {
    Forge::root("ca root").delegation("eve", |_| {}).delegation("alice", |_| {})
}

pub(crate) fn others() -> Vec<Case> {
    vec![
        changed(
            "a list by a CA that nobody knows",
            |l| {
                l.issuer = Some(Name::common("nobody"));
                l.signing.signer = Some(Key::named("nobody"));
            },
            list!(CrlError::OtherIssuer),
        ),
        refuse(
            "a list by the issuer's issuer",
            alice,
            |s| {
                s.list.issuer = Some(s.chain.at(1).subject.clone());
                s.list.signing.signer = Some(s.chain.at(1).key.clone());
            },
            list!(CrlError::OtherIssuer),
        ),
        refuse(
            "a list by the root with a delegation's chain",
            alice,
            |s| {
                s.list.issuer = Some(s.chain.at(0).subject.clone());
                s.list.signing.signer = Some(s.chain.at(0).key.clone());
            },
            list!(CrlError::OtherIssuer),
        ),
        refuse(
            "a list in alice's name by another alice",
            alice,
            |s| s.list.signing.signer = Some(other_alice().last().key.clone()),
            list!(CrlError::Signature),
        ),
        presented(
            "a list with the chain of another alice",
            |list, _| *list = other_alice().sign().chain_der(),
            list!(CrlError::AuthorityKeyId),
        ),
        refuse(
            "a list with the chain of another alice, which does not name its key",
            alice,
            |s| {
                s.list.drop(AUTHORITY_KEY_ID);
                s.chain.present(|list, _| *list = other_alice().sign().chain_der());
            },
            list!(CrlError::Signature),
        ),
        refuse(
            "a list by a leaf",
            alice,
            |s| s.chain.forge = s.chain.forge.clone().permissions("admin", &[0], |_| {}),
            chain!(4, Fault::NotADelegation("permissions")),
        ),
        refuse(
            "a list by a machine",
            alice,
            |s| s.chain.forge = s.chain.forge.clone().machine("hello", |_| {}),
            chain!(4, Fault::NotADelegation("machine")),
        ),
        refuse(
            "a list by a server",
            root,
            |s| s.chain.forge = s.chain.forge.clone().server("host", &["localhost"], &[], |_| {}),
            chain!(4, Fault::NotADelegation("server")),
        ),
        changed(
            "a name with the same text in another string type",
            |l| {
                let name: Attribute<'_> = (COMMON_NAME, der::PRINTABLE_STRING, b"alice");
                l.issuer = Some(Name::of(&[&[name]]));
            },
            list!(CrlError::OtherIssuer),
        ),
        changed(
            "an empty issuer",
            |l| l.issuer = Some(Name::of(&[])),
            list!(CrlError::OtherIssuer),
        ),
    ]
}
