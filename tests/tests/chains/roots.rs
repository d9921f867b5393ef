//! The root itself: what a server refuses to be configured with.

use vmm_proto::chain::{Fault, PathError, RootError};
use vmm_tests::forge::certificate::Draft;
use vmm_tests::forge::extensions::{
    BASIC_CONSTRAINTS, CERT_SIGN, CLIENT_AUTH, CRL_SIGN, DIGITAL_SIGNATURE, EXT_KEY_USAGE,
    Extended, GRANT, KEY_USAGE, SUBJECT_KEY_ID, UNKNOWN, basic_constraints, ext_key_usage,
    key_usage,
};
use vmm_tests::forge::grant::{Grant, delegation};
use vmm_tests::forge::key::{self, Key};
use vmm_tests::forge::names::{COMMON_NAME, Name, ORGANIZATION};
use vmm_tests::forge::{Forge, der};

use crate::case::refuse;
use crate::scene::{Case, Reason, at_each, bad_root, none};

fn root(name: &str, change: fn(&mut Draft), reason: &Reason) -> Vec<Case> {
    at_each(&[0], name, change, reason)
}

pub(crate) fn cases() -> Vec<Case> {
    let usage = bad_root!(fault Fault::KeyUsage(_));
    let serial = bad_root!(fault Fault::Serial);
    let constraints = bad_root!(fault Fault::BasicConstraints);
    let subject = bad_root!(fault Fault::Subject);
    let unsigned = bad_root!(RootError::NotSelfSigned);
    let mut cases = [
        root("version 1", |c| c.version = None, &bad_root!(fault Fault::Version | Fault::Encoding)),
        root("serial 0", |c| c.serial = vec![0], &serial),
        root("a serial of 21 octets", |c| c.serial = vec![1; 21], &serial),
        root("no keyUsage", |c| c.drop(KEY_USAGE), &usage),
        root(
            "a keyUsage that is not critical",
            |c| c.extension(KEY_USAGE).critical = false,
            &usage,
        ),
        root("a keyUsage without cRLSign", |c| c.set(KEY_USAGE, key_usage(&[CERT_SIGN])), &usage),
        root(
            "a keyUsage with digitalSignature too",
            |c| c.set(KEY_USAGE, key_usage(&[DIGITAL_SIGNATURE, CERT_SIGN, CRL_SIGN])),
            &usage,
        ),
        root(
            "a root with an extKeyUsage",
            |c| c.add(EXT_KEY_USAGE, false, ext_key_usage(&[CLIENT_AUTH])),
            &bad_root!(fault Fault::ExtendedKeyUsage(_)),
        ),
        root("no basicConstraints", |c| c.drop(BASIC_CONSTRAINTS), &constraints),
        root(
            "basicConstraints that are not critical",
            |c| c.extension(BASIC_CONSTRAINTS).critical = false,
            &constraints,
        ),
        root(
            "a root that is no CA",
            |c| c.set(BASIC_CONSTRAINTS, basic_constraints(false, None)),
            &bad_root!(fault Fault::KeyUsage(_)),
        ),
        root(
            "a root with a path length",
            |c| c.set(BASIC_CONSTRAINTS, basic_constraints(true, Some(3))),
            &bad_root!(fault Fault::RootPathLength),
        ),
        root(
            "no subjectKeyIdentifier",
            |c| c.drop(SUBJECT_KEY_ID),
            &bad_root!(fault Fault::SubjectKeyId),
        ),
        root(
            "a root with a grant",
            |c| c.add(GRANT, false, Grant::Delegation(delegation()).to_der()),
            &bad_root!(fault Fault::RootGrant),
        ),
        root(
            "a name without a space",
            |c| c.subject = Name::common("root"),
            &bad_root!(fault Fault::RootName),
        ),
        root(
            "a name of two attributes",
            |c| {
                c.subject = Name::of(&[
                    &[(ORGANIZATION, der::UTF8_STRING, b"Example")],
                    &[(COMMON_NAME, der::UTF8_STRING, b"ca root")],
                ]);
            },
            &subject,
        ),
        root("an empty name", |c| c.subject = Name::of(&[]), &subject),
        root(
            "an issuer that is not itself",
            |c| c.issuer = Some(Name::common("b root")),
            &bad_root!(fault Fault::ExtendedKeyUsage("clientAuth")),
        ),
        root(
            "a signature by another key",
            |c| c.signing.signer = Some(Key::named("nobody")),
            &unsigned,
        ),
        root(
            "a signature with one bit changed",
            |c| c.signing.edit_signature = Some(|signature| signature[9] ^= 0x20),
            &unsigned,
        ),
        root(
            "a signature by Ed25519 that calls itself ECDSA",
            |c| c.signing.claim(&[der::oid(key::ECDSA_SHA256)]),
            &unsigned,
        ),
        root(
            "another algorithm in the signature than beside it",
            |c| c.signing.inner_algorithm = Some(der::sequence(&[der::oid(key::ECDSA_SHA256)])),
            &bad_root!(fault Fault::Path(PathError::SignatureAlgorithmMismatch)),
        ),
        root(
            "a signature by an algorithm that is not allowed",
            |c| c.signing.claim(&[der::oid(key::ECDSA_SHA512)]),
            &bad_root!(fault Fault::SignatureAlgorithm),
        ),
        root(
            "an extension twice",
            |c| {
                c.add(UNKNOWN, false, vec![5, 0]);
                c.add(UNKNOWN, false, vec![5, 0]);
            },
            &bad_root!(fault Fault::ExtensionTwice(_)),
        ),
        root(
            "bytes behind its end",
            |c| c.signing.edit = Some(|certificate| certificate.push(0)),
            &bad_root!(fault Fault::Trailing),
        ),
        root(
            "its last byte missing",
            |c| c.signing.edit = Some(|certificate| certificate.truncate(certificate.len() - 1)),
            &bad_root!(fault Fault::Encoding),
        ),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    cases.extend([
        refuse(
            "a delegation as root",
            none,
            |s| {
                let forged = Forge::root("ca root").delegation("dev", |_| {}).sign();
                s.root = Some(forged.certificates[1].clone());
            },
            bad_root!(RootError::NotARoot("delegation")),
        ),
        refuse(
            "a leaf as root",
            none,
            |s| s.root = Some(s.forge.sign().certificates[1].clone()),
            bad_root!(RootError::NotARoot("permissions")),
        ),
        refuse(
            "a server as root",
            none,
            |s| {
                let forged = Forge::root("ca root").server("host", &["localhost"], &[], |_| {});
                s.root = Some(forged.sign().certificates[1].clone());
            },
            bad_root!(RootError::NotARoot("server")),
        ),
    ]);
    cases
}
