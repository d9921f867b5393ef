//! Rule 3: the fields of each certificate, the grant apart.

use vmm_proto::chain::{Fault, PathError};
use vmm_tests::forge::certificate::Draft;
use vmm_tests::forge::der;
use vmm_tests::forge::extensions::{
    ANY_USAGE, AUTHORITY_KEY_ID, BASIC_CONSTRAINTS, CERT_SIGN, CLIENT_AUTH, CODE_SIGNING, CRL_SIGN,
    DIGITAL_SIGNATURE, EXT_KEY_USAGE, Extended, KEY_USAGE, NAME_CONSTRAINTS, POLICIES, SERVER_AUTH,
    SUBJECT_ALT_NAME, SUBJECT_KEY_ID, UNKNOWN, alternative_names, basic_constraints, ext_key_usage,
    key_usage,
};
use vmm_tests::forge::key::{self, Key, Kind};

use crate::case::refuse;
use crate::scene::{Case, Reason, Scene, at_each, fault, no_path, none, six, two};

const BELOW_ROOT: [usize; 3] = [1, 2, 3];

/// The same at dev, alice and admin, each of which is blamed by name.
fn below_root(name: &str, change: fn(&mut Draft), reason: &Reason) -> Vec<Case> {
    let named = |place: usize| reason.of(["ca root", "dev", "alice", "admin"][place]);
    BELOW_ROOT
        .into_iter()
        .flat_map(|place| at_each(&[place], name, change, &named(place)))
        .collect()
}

pub(crate) fn version_and_serial() -> Vec<Case> {
    let version = no_path!(PathError::UnsupportedCertVersion);
    let issuer_version = no_path!(PathError::UnknownIssuer | PathError::UnsupportedCertVersion);
    let serial = fault!(3, Fault::Serial);
    [
        at_each(&[3], "version 1", |c| c.version = None, &version),
        at_each(&[3], "version 2", |c| c.version = Some(1), &version),
        at_each(&[3], "version 4", |c| c.version = Some(3), &version),
        at_each(&[1, 2], "version 1", |c| c.version = None, &issuer_version),
        at_each(&[1, 2], "version 2", |c| c.version = Some(1), &issuer_version),
        below_root("serial 0", |c| c.serial = vec![0], &serial),
        below_root("a negative serial", |c| c.serial = vec![0x80, 1], &serial),
        below_root("a serial of 21 octets", |c| c.serial = vec![0x11; 21], &serial),
        below_root(
            "a positive serial of 20 octets and a sign",
            |c| {
                c.serial = vec![0xff; 20];
                c.serial.insert(0, 0);
            },
            &serial,
        ),
        below_root("a serial with a leading zero", |c| c.serial = vec![0, 1], &serial),
        below_root("a serial without octets", |c| c.serial.clear(), &serial),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(crate) fn usages() -> Vec<Case> {
    let missing_purpose = no_path!(PathError::RequiredEkuNotFoundContext(_));
    let other_purpose = fault!(3, Fault::ExtendedKeyUsage("clientAuth"));
    let usage = fault!(3, Fault::KeyUsage(_));
    [
        below_root("no keyUsage", |c| c.drop(KEY_USAGE), &usage),
        below_root(
            "a keyUsage that is not critical",
            |c| c.extension(KEY_USAGE).critical = false,
            &usage,
        ),
        below_root(
            "a keyUsage with keyAgreement too",
            |c| {
                let mut bits = own_bits(c);
                bits.push(4);
                c.set(KEY_USAGE, key_usage(&bits));
            },
            &usage,
        ),
        below_root(
            "a keyUsage with decipherOnly too",
            |c| {
                let mut bits = own_bits(c);
                bits.push(8);
                c.set(KEY_USAGE, key_usage(&bits));
            },
            &usage,
        ),
        below_root(
            "a keyUsage with a bit that has no name",
            |c| {
                let mut bits = own_bits(c);
                bits.push(16);
                c.set(KEY_USAGE, key_usage(&bits));
            },
            &usage,
        ),
        below_root("a keyUsage without bits", |c| c.set(KEY_USAGE, key_usage(&[])), &usage),
        at_each(
            &[1, 2],
            "a CA without cRLSign",
            |c| c.set(KEY_USAGE, key_usage(&[CERT_SIGN])),
            &usage,
        ),
        at_each(
            &[1, 2],
            "a CA without keyCertSign",
            |c| c.set(KEY_USAGE, key_usage(&[CRL_SIGN])),
            &usage,
        ),
        at_each(
            &[1, 2],
            "a CA with digitalSignature too",
            |c| c.set(KEY_USAGE, key_usage(&[DIGITAL_SIGNATURE, CERT_SIGN, CRL_SIGN])),
            &usage,
        ),
        at_each(
            &[3],
            "a leaf with keyCertSign",
            |c| c.set(KEY_USAGE, key_usage(&[DIGITAL_SIGNATURE, CERT_SIGN])),
            &usage,
        ),
        at_each(
            &[3],
            "a leaf with keyCertSign only",
            |c| c.set(KEY_USAGE, key_usage(&[CERT_SIGN])),
            &usage,
        ),
        at_each(&BELOW_ROOT, "no extKeyUsage", |c| c.drop(EXT_KEY_USAGE), &missing_purpose),
        at_each(
            &BELOW_ROOT,
            "an extKeyUsage with serverAuth only",
            |c| c.set(EXT_KEY_USAGE, ext_key_usage(&[SERVER_AUTH])),
            &missing_purpose,
        ),
        at_each(
            &BELOW_ROOT,
            "an extKeyUsage with any purpose",
            |c| c.set(EXT_KEY_USAGE, ext_key_usage(&[ANY_USAGE])),
            &missing_purpose,
        ),
        at_each(
            &BELOW_ROOT,
            "an empty extKeyUsage",
            |c| c.set(EXT_KEY_USAGE, ext_key_usage(&[])),
            &no_path!(PathError::EmptyEkuExtension),
        ),
        below_root(
            "an extKeyUsage with serverAuth too",
            |c| c.set(EXT_KEY_USAGE, ext_key_usage(&[CLIENT_AUTH, SERVER_AUTH])),
            &other_purpose,
        ),
        below_root(
            "an extKeyUsage with any purpose too",
            |c| c.set(EXT_KEY_USAGE, ext_key_usage(&[CLIENT_AUTH, ANY_USAGE])),
            &other_purpose,
        ),
        below_root(
            "an extKeyUsage with code signing too",
            |c| c.set(EXT_KEY_USAGE, ext_key_usage(&[CODE_SIGNING, CLIENT_AUTH])),
            &other_purpose,
        ),
        below_root(
            "an extKeyUsage with a purpose that nobody knows too",
            |c| c.set(EXT_KEY_USAGE, ext_key_usage(&[CLIENT_AUTH, UNKNOWN])),
            &other_purpose,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The keyUsage bits that the profile wants in it.
fn own_bits(draft: &mut Draft) -> Vec<usize> {
    let is_ca = draft.extensions.iter().any(|e| e.oid == der::arcs(SUBJECT_KEY_ID));
    if is_ca { vec![CERT_SIGN, CRL_SIGN] } else { vec![DIGITAL_SIGNATURE] }
}

pub(crate) fn constraints() -> Vec<Case> {
    let constraints = fault!(3, Fault::BasicConstraints);
    let length = no_path!(PathError::PathLenConstraintViolated);
    let mut cases = [
        at_each(
            &[1, 2],
            "a CA without basicConstraints",
            |c| c.drop(BASIC_CONSTRAINTS),
            &no_path!(PathError::EndEntityUsedAsCa),
        ),
        at_each(
            &[1, 2],
            "a delegation that is no CA",
            |c| c.set(BASIC_CONSTRAINTS, basic_constraints(false, None)),
            &no_path!(PathError::EndEntityUsedAsCa),
        ),
        at_each(
            &[3],
            "a leaf that is a CA",
            |c| c.set(BASIC_CONSTRAINTS, basic_constraints(true, None)),
            &no_path!(PathError::CaUsedAsEndEntity),
        ),
        below_root(
            "basicConstraints that are not critical",
            |c| c.extension(BASIC_CONSTRAINTS).critical = false,
            &constraints,
        ),
        at_each(
            &[3],
            "a leaf without basicConstraints",
            |c| c.drop(BASIC_CONSTRAINTS),
            &constraints,
        ),
        at_each(
            &[1],
            "a path length of 0 above another delegation",
            |c| c.set(BASIC_CONSTRAINTS, basic_constraints(true, Some(0))),
            &length,
        ),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    for depth in 1..=5_usize {
        cases.push(refuse(
            format!("a path length one too short at depth {depth} of six"),
            six,
            move |s| {
                let below = 6 - depth as u64;
                s.at(depth).set(BASIC_CONSTRAINTS, basic_constraints(true, Some(below - 1)));
            },
            length,
        ));
    }
    cases
}

pub(crate) fn key_identifiers() -> Vec<Case> {
    let authority = fault!(3, Fault::AuthorityKeyId);
    let wrong = |octets: &[u8]| der::sequence(&[der::tlv(der::context(0), octets)]);
    let mut cases = [
        at_each(
            &[1, 2],
            "a CA without a subjectKeyIdentifier",
            |c| c.drop(SUBJECT_KEY_ID),
            &fault!(3, Fault::SubjectKeyId),
        ),
        below_root("no authorityKeyIdentifier", |c| c.drop(AUTHORITY_KEY_ID), &authority),
        below_root(
            "an authorityKeyIdentifier of another key",
            |c| c.set(AUTHORITY_KEY_ID, der::sequence(&[der::tlv(der::context(0), &[9; 20])])),
            &authority,
        ),
        below_root(
            "an authorityKeyIdentifier without a keyIdentifier",
            |c| c.set(AUTHORITY_KEY_ID, der::sequence(&[])),
            &authority,
        ),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    cases.push(refuse(
        "an authorityKeyIdentifier that is cut short",
        two,
        move |s| {
            let key_id = s.at(2).identifier();
            s.at(3).set(AUTHORITY_KEY_ID, wrong(&key_id[..19]));
        },
        authority.of("admin"),
    ));
    cases.push(refuse(
        "an authorityKeyIdentifier of the issuer's issuer",
        two,
        move |s| {
            let key_id = s.at(1).identifier();
            s.at(3).set(AUTHORITY_KEY_ID, wrong(&key_id));
        },
        authority.of("admin"),
    ));
    cases.push(refuse(
        "a CA whose subjectKeyIdentifier is not what its leaf says",
        two,
        |s| s.at(2).set(SUBJECT_KEY_ID, der::tlv(der::OCTET_STRING, &[9; 20])),
        authority.of("admin"),
    ));
    cases
}

pub(crate) fn extensions() -> Vec<Case> {
    let critical = no_path!(PathError::UnsupportedCriticalExtension);
    let twice = fault!(3, Fault::ExtensionTwice(_));
    let unreadable = fault!(3, Fault::Extension(_));
    [
        at_each(
            &BELOW_ROOT,
            "an unknown critical extension",
            |c| c.add(UNKNOWN, true, vec![5, 0]),
            &critical,
        ),
        at_each(
            &BELOW_ROOT,
            "a critical subjectKeyIdentifier",
            |c| {
                if let Some(place) =
                    c.extensions.iter().position(|e| e.oid == der::arcs(SUBJECT_KEY_ID))
                {
                    c.extensions.remove(place);
                }
                c.add(SUBJECT_KEY_ID, true, der::tlv(der::OCTET_STRING, &[9; 20]));
            },
            &critical,
        ),
        at_each(
            &[3],
            "critical certificate policies",
            |c| c.add(POLICIES, true, der::sequence(&[])),
            &critical,
        ),
        below_root(
            "an unknown extension twice",
            |c| {
                c.add(UNKNOWN, false, vec![5, 0]);
                c.add(UNKNOWN, false, vec![5, 0]);
            },
            &twice,
        ),
        below_root("an authorityKeyIdentifier twice", |c| c.twice(AUTHORITY_KEY_ID), &twice),
        at_each(
            &BELOW_ROOT,
            "a keyUsage twice",
            |c| c.twice(KEY_USAGE),
            &no_path!(PathError::ExtensionValueInvalid),
        ),
        at_each(
            &BELOW_ROOT,
            "an extKeyUsage twice",
            |c| c.twice(EXT_KEY_USAGE),
            &no_path!(PathError::ExtensionValueInvalid),
        ),
        at_each(
            &BELOW_ROOT,
            "basicConstraints twice",
            |c| c.twice(BASIC_CONSTRAINTS),
            &no_path!(PathError::ExtensionValueInvalid),
        ),
        below_root(
            "a keyUsage with bytes behind it",
            |c| {
                let bits = own_bits(c);
                c.set(KEY_USAGE, [key_usage(&bits), vec![5, 0]].concat());
            },
            &fault!(3, Fault::Extension("keyUsage")),
        ),
        below_root(
            "an authorityKeyIdentifier with bytes behind it",
            |c| {
                c.set(AUTHORITY_KEY_ID, [der::sequence(&[]), vec![5, 0]].concat());
            },
            &fault!(3, Fault::Extension("authorityKeyIdentifier")),
        ),
        at_each(
            &[1, 2],
            "a subjectKeyIdentifier with bytes behind it",
            |c| {
                let id = der::tlv(der::OCTET_STRING, &c.identifier());
                c.set(SUBJECT_KEY_ID, [id, vec![5, 0]].concat());
            },
            &fault!(3, Fault::Extension("subjectKeyIdentifier")),
        ),
        at_each(
            &BELOW_ROOT,
            "an extKeyUsage with bytes behind it",
            |c| {
                c.set(EXT_KEY_USAGE, [ext_key_usage(&[CLIENT_AUTH]), vec![5, 0]].concat());
            },
            &no_path!(PathError::BadDer | PathError::TrailingData(_)),
        ),
        at_each(
            &[3],
            "basicConstraints with bytes behind them",
            |c| {
                c.set(BASIC_CONSTRAINTS, [basic_constraints(false, None), vec![5, 0]].concat());
            },
            &no_path!(PathError::BadDer | PathError::TrailingData(_)),
        ),
        below_root(
            "an authorityKeyIdentifier that is no SEQUENCE",
            |c| c.set(AUTHORITY_KEY_ID, vec![4, 1, 7]),
            &unreadable,
        ),
        at_each(
            &[1, 2],
            "a subjectKeyIdentifier that is no OCTET STRING",
            |c| c.set(SUBJECT_KEY_ID, vec![5, 0]),
            &unreadable,
        ),
        at_each(
            &[3],
            "a subjectAltName that is critical and empty",
            |c| c.add(SUBJECT_ALT_NAME, true, vec![5, 0]),
            &no_path!(PathError::BadDer),
        ),
        vec![refuse(
            "name constraints that exclude the leaf's DNS name",
            with_dns_name,
            |s| {
                // excludedSubtrees [1] of one GeneralSubtree: dNSName [2] "example".
                let subtree = der::sequence(&[der::tlv(der::context(2), b"example")]);
                let constraints = der::sequence(&[der::tlv(der::constructed(1), &subtree)]);
                s.at(1).add(NAME_CONSTRAINTS, true, constraints);
            },
            no_path!(PathError::NameConstraintViolation),
        )],
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// [`two`], its leaf with a DNS name.
fn with_dns_name() -> Scene {
    let mut scene = two();
    scene.at(3).add(SUBJECT_ALT_NAME, false, alternative_names(&["admin.example"], &[]));
    scene
}

/// The SubjectPublicKeyInfo of an RSA key of 1024 bits.
fn rsa_1024() -> Vec<u8> {
    let modulus = der::tlv(der::INTEGER, &[&[0, 0xc5][..], &[0x5b; 127]].concat());
    let key = der::sequence(&[modulus, der::integer(65_537)]);
    let algorithm =
        der::sequence(&[der::oid(&[1, 2, 840, 113_549, 1, 1, 1]), der::tlv(der::NULL, &[])]);
    der::sequence(&[algorithm, der::tlv(der::BIT_STRING, &[&[0][..], &key].concat())])
}

pub(crate) fn algorithms() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(at_each(
        &[3],
        "an RSA key of 1024 bits",
        |c| c.spki = Some(rsa_1024()),
        &fault!(3, Fault::KeyAlgorithm),
    ));
    cases.extend(at_each(
        &[1, 2],
        "an RSA key of 1024 bits",
        |c| c.spki = Some(rsa_1024()),
        &no_path!(PathError::UnsupportedSignatureAlgorithmForPublicKeyContext(_)),
    ));
    for (name, elements) in [
        ("ecdsa-with-SHA1", vec![der::oid(key::ECDSA_SHA1)]),
        ("sha1WithRSAEncryption", vec![der::oid(key::SHA1_WITH_RSA), der::tlv(der::NULL, &[])]),
    ] {
        cases.extend(at_each(
            &BELOW_ROOT,
            &format!("a signature by {name}"),
            move |c| c.signing.claim(&elements),
            &no_path!(PathError::UnsupportedSignatureAlgorithmContext(_)),
        ));
    }
    for (name, kind) in [("RSA", Kind::Rsa), ("ECDSA P-521", Kind::P521)] {
        let key = Key::generate(kind);
        let leaf = key.clone();
        cases.push(refuse(
            format!("a leaf with an {name} key"),
            two,
            move |s| s.at(3).key = leaf.clone(),
            fault!(3, Fault::KeyAlgorithm).of("admin"),
        ));
        for place in [1, 2] {
            let key = key.clone();
            cases.push(refuse(
                format!("a CA with an {name} key, at {place}"),
                two,
                move |s| s.at(place).key = key.clone(),
                no_path!(PathError::UnsupportedSignatureAlgorithmContext(_)),
            ));
        }
        cases.push(refuse(
            format!("a root with an {name} key"),
            none,
            move |s| s.at(0).key = key.clone(),
            crate::scene::bad_root!(fault Fault::KeyAlgorithm),
        ));
    }
    let mismatch = no_path!(PathError::SignatureAlgorithmMismatch);
    let bad = no_path!(PathError::InvalidSignatureForPublicKey);
    cases.extend(at_each(
        &[3],
        "another algorithm beside the signature than in it",
        |c| c.signing.outer_algorithm = Some(der::sequence(&[der::oid(key::ECDSA_SHA256)])),
        &mismatch,
    ));
    cases.extend(at_each(
        &[3],
        "another algorithm in the signature than beside it",
        |c| c.signing.inner_algorithm = Some(der::sequence(&[der::oid(key::ECDSA_SHA256)])),
        &mismatch,
    ));
    cases.extend(at_each(
        &BELOW_ROOT,
        "an Ed25519 signature that calls itself ECDSA",
        |c| c.signing.claim(&[der::oid(key::ECDSA_SHA256)]),
        &no_path!(PathError::UnsupportedSignatureAlgorithmForPublicKeyContext(_)),
    ));
    cases.extend(at_each(
        &BELOW_ROOT,
        "a signature by ecdsa-with-SHA512",
        |c| c.signing.claim(&[der::oid(key::ECDSA_SHA512)]),
        &no_path!(PathError::UnsupportedSignatureAlgorithmContext(_)),
    ));
    cases.extend(at_each(
        &[3],
        "Ed25519 with NULL parameters",
        |c| c.signing.claim(&[der::oid(&[1, 3, 101, 112]), der::tlv(der::NULL, &[])]),
        &no_path!(PathError::UnsupportedSignatureAlgorithmContext(_)),
    ));
    cases.extend(at_each(
        &BELOW_ROOT,
        "a signature with one bit changed",
        |c| c.signing.edit_signature = Some(|signature| signature[7] ^= 1),
        &bad,
    ));
    cases.extend(at_each(
        &BELOW_ROOT,
        "a signature by another key",
        |c| c.signing.signer = Some(Key::named("nobody")),
        &bad,
    ));
    cases.extend(at_each(
        &BELOW_ROOT,
        "a signature of zeros",
        |c| c.signing.edit_signature = Some(|signature| signature.fill(0)),
        &bad,
    ));
    cases.extend(at_each(
        &[3],
        "a signature cut short",
        |c| c.signing.edit_signature = Some(|signature| signature.truncate(63)),
        &bad,
    ));
    cases.extend(at_each(
        &[3],
        "an empty signature",
        |c| c.signing.edit_signature = Some(Vec::clear),
        &bad,
    ));
    cases.extend(at_each(
        &[3],
        "a signature with a byte behind it",
        |c| c.signing.edit_signature = Some(|signature| signature.push(0)),
        &bad,
    ));
    cases.extend(at_each(
        &[3],
        "a field behind the extensions",
        |c| c.signing.edit_signed = Some(|signed| signed.extend([5, 0])),
        &no_path!(PathError::BadDer | PathError::TrailingData(_) | PathError::MalformedExtensions),
    ));
    cases.extend(at_each(
        &[3],
        "a leaf's key that is no Ed25519, ECDSA or RSA key",
        |c| {
            let algorithm = der::sequence(&[der::oid(&[1, 3, 101, 110])]);
            let point = der::tlv(der::BIT_STRING, &[0; 33]);
            c.spki = Some(der::sequence(&[algorithm, point]));
        },
        &fault!(3, Fault::KeyAlgorithm),
    ));
    cases.extend(at_each(
        &[3],
        "an ECDSA key on secp256k1",
        |c| {
            let algorithm = der::sequence(&[
                der::oid(&[1, 2, 840, 10045, 2, 1]),
                der::oid(&[1, 3, 132, 0, 10]),
            ]);
            let point = der::tlv(der::BIT_STRING, &[&[0, 4][..], &[1; 64]].concat());
            c.spki = Some(der::sequence(&[algorithm, point]));
        },
        &fault!(3, Fault::KeyAlgorithm),
    ));
    cases
}
