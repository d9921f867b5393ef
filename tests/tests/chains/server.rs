//! The client's half: which servers it believes.

use rustls_pki_types::{CertificateDer, ServerName};
use vmm_proto::chain::{self, ChainError, Fault, PathError, Root};
use vmm_tests::forge::extensions::{
    AUTHORITY_KEY_ID, BASIC_CONSTRAINTS, CERT_SIGN, CLIENT_AUTH, Content, DIGITAL_SIGNATURE,
    EXT_KEY_USAGE, Extended, GRANT, KEY_USAGE, SERVER_AUTH, SUBJECT_ALT_NAME, UNKNOWN,
    alternative_names, basic_constraints, ext_key_usage, key_usage,
};
use vmm_tests::forge::grant::{self, Grant};
use vmm_tests::forge::key::{Key, Kind};
use vmm_tests::forge::names::Name;
use vmm_tests::forge::times::Time;
use vmm_tests::forge::{Forge, der};

use crate::case::{
    Accepted, Case, Judged, Reason, accept, all_are_accepted, all_are_refused, refuse,
};
use crate::scene::NOW;

/// What a client sees, and what it knows.
struct Scene {
    forge: Forge,
    dialled: &'static str,
    /// More to present behind the server's certificate.
    more: Vec<Vec<u8>>,
    root: Option<Vec<u8>>,
}

fn plain() -> Scene {
    let forge = Forge::root("ca root").server("host", &["vmm.example"], &[&[192, 0, 2, 7]], |_| {});
    Scene { forge, dialled: "vmm.example", more: Vec::new(), root: None }
}

impl Judged for Scene {
    type Verdict = ();
    type Refusal = ChainError;

    fn judge(&self) -> Result<(), ChainError> {
        let forged = self.forge.sign();
        let mut list = vec![CertificateDer::from(forged.certificates.last().unwrap().clone())];
        list.extend(self.more.iter().cloned().map(CertificateDer::from));
        let root = Root::from_der(self.root.as_deref().unwrap_or(forged.root_der())).unwrap();
        let name = ServerName::try_from(self.dialled).unwrap();
        chain::verify_server(&list, &root, &name, NOW)
    }
}

macro_rules! is {
    ($fault:pat) => {
        Reason::new(stringify!($fault), |error: &ChainError| matches!(&error.fault, $fault))
    };
}

type Refused = (&'static str, fn(&mut Scene), Reason<ChainError>);

type Believed = (&'static str, fn(&mut Scene));

const REFUSED: &[Refused] = &[
    (
        "another name",
        |s| s.dialled = "other.example",
        is!(Fault::Path(PathError::CertNotValidForName(_))),
    ),
    (
        "a name below",
        |s| s.dialled = "a.vmm.example",
        is!(Fault::Path(PathError::CertNotValidForName(_))),
    ),
    (
        "a name above",
        |s| s.dialled = "example",
        is!(Fault::Path(PathError::CertNotValidForName(_))),
    ),
    (
        "another IPv4 address",
        |s| s.dialled = "192.0.2.8",
        is!(Fault::Path(PathError::CertNotValidForName(_))),
    ),
    (
        "an IPv6 address",
        |s| s.dialled = "2001:db8::7",
        is!(Fault::Path(PathError::CertNotValidForName(_))),
    ),
    (
        "the address as a DNS name",
        |s| {
            s.forge.last().set(SUBJECT_ALT_NAME, alternative_names(&["192.0.2.7"], &[]));
            s.dialled = "192.0.2.7";
        },
        is!(Fault::Path(PathError::CertNotValidForName(_))),
    ),
    (
        "the name in the subject only",
        |s| {
            s.forge.last().set(SUBJECT_ALT_NAME, alternative_names(&["other.example"], &[]));
            s.forge.last().subject = Name::common("vmm.example");
        },
        is!(Fault::Path(PathError::CertNotValidForName(_))),
    ),
    (
        "the name with a NUL and something behind it",
        |s| {
            let names = alternative_names(&["vmm.example\0.eve.example"], &[]);
            s.forge.last().set(SUBJECT_ALT_NAME, names);
        },
        is!(Fault::Path(PathError::MalformedDnsIdentifier | PathError::CertNotValidForName(_))),
    ),
    (
        "the name as an e-mail address and as a URI",
        |s| {
            let names = der::sequence(&[
                der::tlv(der::context(1), b"vmm.example"),
                der::tlv(der::context(6), b"vmm.example"),
            ]);
            s.forge.last().set(SUBJECT_ALT_NAME, names);
        },
        is!(Fault::Path(PathError::CertNotValidForName(_))),
    ),
    (
        "the address in five octets",
        |s| {
            let names = alternative_names(&[], &[&[192, 0, 2, 7, 0]]);
            s.forge.last().set(SUBJECT_ALT_NAME, names);
            s.dialled = "192.0.2.7";
        },
        is!(Fault::Path(PathError::CertNotValidForName(_))),
    ),
    (
        "no subjectAltName",
        |s| s.forge.last().drop(SUBJECT_ALT_NAME),
        is!(Fault::Path(PathError::CertNotValidForName(_))),
    ),
    (
        "expired",
        |s| s.forge.last().not_after = Time::unix(NOW - 1),
        is!(Fault::Path(PathError::CertExpired { .. })),
    ),
    (
        "not yet valid",
        |s| s.forge.last().not_before = Time::unix(NOW + 1),
        is!(Fault::Path(PathError::CertNotValidYet { .. })),
    ),
    (
        "a root that has expired",
        |s| s.forge.drafts[0].not_after = Time::unix(NOW - 1),
        is!(Fault::RootNotValid { .. }),
    ),
    (
        "a root that is not yet valid",
        |s| s.forge.drafts[0].not_before = Time::unix(NOW + 1),
        is!(Fault::RootNotValid { .. }),
    ),
    (
        "another root",
        |s| s.root = Some(Forge::root("b root").sign().root_der().to_vec()),
        is!(Fault::Path(PathError::UnknownIssuer)),
    ),
    (
        "another root of the same name",
        |s| {
            let mut other = Forge::root("ca root");
            other.last().key = Key::named("elsewhere");
            s.root = Some(other.sign().root_der().to_vec());
        },
        is!(Fault::Path(PathError::InvalidSignatureForPublicKey)),
    ),
    (
        "issued by a delegation, alone",
        |s| s.forge = below_dev(),
        is!(Fault::Path(PathError::UnknownIssuer)),
    ),
    (
        "issued by a delegation, with it",
        |s| {
            s.forge = below_dev();
            s.more = vec![below_dev().sign().certificates[1].clone()];
        },
        is!(Fault::ServerChain),
    ),
    (
        "issued by a delegation, with it and the root",
        |s| {
            s.forge = below_dev();
            let forged = below_dev().sign();
            s.more = vec![forged.certificates[1].clone(), forged.root_der().to_vec()];
        },
        is!(Fault::ServerChain),
    ),
    (
        "a delegation itself",
        |s| {
            s.forge = Forge::root("ca root").delegation("dev", |c| {
                c.add(SUBJECT_ALT_NAME, false, alternative_names(&["vmm.example"], &[]));
                c.set(EXT_KEY_USAGE, ext_key_usage(&[SERVER_AUTH]));
            });
        },
        is!(Fault::Path(PathError::CaUsedAsEndEntity)),
    ),
    (
        "a permission leaf that has the name",
        |s| {
            s.forge = Forge::root("ca root").permissions("admin", &[0], |c| {
                c.add(SUBJECT_ALT_NAME, false, alternative_names(&["vmm.example"], &[]));
            });
        },
        is!(Fault::Path(PathError::RequiredEkuNotFoundContext(_))),
    ),
    (
        "a permission leaf with serverAuth too",
        |s| {
            s.forge = Forge::root("ca root").permissions("admin", &[0], |c| {
                c.add(SUBJECT_ALT_NAME, false, alternative_names(&["vmm.example"], &[]));
                c.set(EXT_KEY_USAGE, ext_key_usage(&[CLIENT_AUTH, SERVER_AUTH]));
            });
        },
        is!(Fault::ExtendedKeyUsage(_)),
    ),
    (
        "clientAuth only",
        |s| s.forge.last().set(EXT_KEY_USAGE, ext_key_usage(&[CLIENT_AUTH])),
        is!(Fault::Path(PathError::RequiredEkuNotFoundContext(_))),
    ),
    (
        "clientAuth too",
        |s| s.forge.last().set(EXT_KEY_USAGE, ext_key_usage(&[SERVER_AUTH, CLIENT_AUTH])),
        is!(Fault::ExtendedKeyUsage(_)),
    ),
    (
        "no extKeyUsage",
        |s| s.forge.last().drop(EXT_KEY_USAGE),
        is!(Fault::Path(PathError::RequiredEkuNotFoundContext(_))),
    ),
    ("no keyUsage", |s| s.forge.last().drop(KEY_USAGE), is!(Fault::KeyUsage("digitalSignature"))),
    (
        "keyCertSign too",
        |s| s.forge.last().set(KEY_USAGE, key_usage(&[DIGITAL_SIGNATURE, CERT_SIGN])),
        is!(Fault::KeyUsage("digitalSignature")),
    ),
    (
        "a server that is a CA",
        |s| s.forge.last().set(BASIC_CONSTRAINTS, basic_constraints(true, None)),
        is!(Fault::Path(PathError::CaUsedAsEndEntity)),
    ),
    (
        "no basicConstraints",
        |s| s.forge.last().drop(BASIC_CONSTRAINTS),
        is!(Fault::BasicConstraints),
    ),
    (
        "no authorityKeyIdentifier",
        |s| s.forge.last().drop(AUTHORITY_KEY_ID),
        is!(Fault::AuthorityKeyId),
    ),
    (
        "an authorityKeyIdentifier of another key",
        |s| s.forge.last().extension(AUTHORITY_KEY_ID).content = Content::OwnKeyId,
        is!(Fault::Extension(_) | Fault::AuthorityKeyId),
    ),
    (
        "a subject that is no label",
        |s| s.forge.last().subject = Name::common("vmm.example"),
        is!(Fault::Label(_)),
    ),
    ("an empty subject", |s| s.forge.last().subject = Name::of(&[]), is!(Fault::Subject)),
    ("serial 0", |s| s.forge.last().serial = vec![0], is!(Fault::Serial)),
    (
        "version 1",
        |s| s.forge.last().version = None,
        is!(Fault::Path(PathError::UnsupportedCertVersion)),
    ),
    (
        "a server with permissions",
        |s| s.forge.last().add(GRANT, false, Grant::Permissions(der::bits(&[0])).to_der()),
        is!(Fault::ServerGrant),
    ),
    (
        "a server with a delegation",
        |s| s.forge.last().add(GRANT, false, Grant::Delegation(grant::delegation()).to_der()),
        is!(Fault::ServerGrant),
    ),
    (
        "an unknown critical extension",
        |s| s.forge.last().add(UNKNOWN, true, vec![5, 0]),
        is!(Fault::Path(PathError::UnsupportedCriticalExtension)),
    ),
    ("an RSA key", |s| s.forge.last().key = Key::generate(Kind::Rsa), is!(Fault::KeyAlgorithm)),
    (
        "a broken signature",
        |s| s.forge.last().signing.edit_signature = Some(|signature| signature[3] ^= 4),
        is!(Fault::Path(PathError::InvalidSignatureForPublicKey)),
    ),
    (
        "itself twice",
        |s| s.more = vec![s.forge.sign().certificates[1].clone()],
        is!(Fault::ServerChain),
    ),
    (
        "the root twice",
        |s| s.more = vec![s.forge.sign().root_der().to_vec(); 2],
        is!(Fault::ServerChain),
    ),
    (
        "another root behind it",
        |s| s.more = vec![Forge::root("b root").sign().root_der().to_vec()],
        is!(Fault::ServerChain),
    ),
];

fn below_dev() -> Forge {
    Forge::root("ca root").delegation("dev", |_| {}).server("host", &["vmm.example"], &[], |_| {})
}

const ACCEPTED: &[Believed] = &[
    ("alone", |_| {}),
    ("with the root", |s| s.more = vec![s.forge.sign().root_der().to_vec()]),
    ("by its IPv4 address", |s| s.dialled = "192.0.2.7"),
    ("by its name in capital letters", |s| s.dialled = "VMM.Example"),
    ("by its IPv6 address", |s| {
        let address: [u8; 16] = grant::documentation6(7);
        s.forge.last().set(SUBJECT_ALT_NAME, alternative_names(&[], &[&address]));
        s.dialled = "2001:db8::7";
    }),
    ("by the last of many names", |s| {
        let names = ["a.example", "b.example", "c.example"];
        s.forge.last().set(SUBJECT_ALT_NAME, alternative_names(&names, &[]));
        s.dialled = "c.example";
    }),
    ("with P-384 below Ed25519", |s| s.forge.last().key = Key::generate(Kind::P384)),
    ("with a critical subjectAltName", |s| {
        s.forge.last().extension(SUBJECT_ALT_NAME).critical = true;
    }),
    ("with an end after 2050", |s| s.forge.last().not_after = Time::generalized("20991231235959Z")),
    ("with an unknown extension", |s| s.forge.last().add(UNKNOWN, false, vec![0xff])),
];

#[test]
fn a_server_that_is_not_what_it_says_is_refused_for_its_own_reason() {
    let refused = REFUSED.iter();
    let cases: Vec<Case<Scene>> =
        refused.map(|&(name, change, reason)| refuse(name, plain, change, reason)).collect();
    all_are_refused(&cases);
    crate::named_apart(cases.iter().map(|case| case.name.as_str()), 30);
}

#[test]
fn unusual_servers_that_keep_every_rule_are_believed() {
    let accepted = ACCEPTED.iter();
    let cases: Vec<Accepted<Scene>> =
        accepted.map(|&(name, change)| accept(name, plain, change, |()| true)).collect();
    all_are_accepted(&cases);
}
