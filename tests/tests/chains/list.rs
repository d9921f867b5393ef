//! Rules 1 and 2: what is presented is the path, leaf first, and nothing else.

use vmm_proto::chain::{Fault, PathError};
use vmm_tests::forge::Forge;
use vmm_tests::forge::der;
use vmm_tests::forge::key::Key;

use crate::case::refuse;
use crate::scene::{Case, Scene, deep, fault, no_path, none, presented, six, two};

/// A chain of the same root, apart from that of [`two`].
fn beside() -> Forge {
    Forge::root("ca root").delegation("other", |_| {}).permissions("eve", &[0], |_| {})
}

/// A chain of another root with other keys.
fn elsewhere(root: &str) -> Forge {
    let mut forge = Forge::root(root).delegation("dev", |_| {}).permissions("eve", &[0], |_| {});
    forge.drafts[0].key = Key::named("elsewhere");
    forge
}

pub(crate) fn order() -> Vec<Case> {
    vec![
        presented("nothing is presented", |list, _| list.clear(), fault!(1, Fault::NoCertificate)),
        presented(
            "root first, leaf last",
            |list, forged| list.clone_from(&forged.certificates),
            no_path!(PathError::CaUsedAsEndEntity),
        ),
        presented(
            "the root alone",
            |list, forged| *list = vec![forged.root_der().to_vec()],
            no_path!(PathError::CaUsedAsEndEntity),
        ),
        presented(
            "a delegation in the place of the leaf",
            |list, _| drop(list.remove(0)),
            no_path!(PathError::CaUsedAsEndEntity),
        ),
        presented(
            "delegations in the wrong order",
            |list, _| list.swap(1, 2),
            fault!(2, Fault::NotThePath),
        ),
        refuse(
            "six delegations in the wrong order",
            six,
            |s| s.present(|list, _| list[1..].reverse()),
            fault!(2, Fault::NotThePath),
        ),
        presented(
            "the leaf's issuer is missing",
            |list, _| drop(list.remove(1)),
            no_path!(PathError::UnknownIssuer),
        ),
        presented(
            "the outermost delegation is missing",
            |list, _| drop(list.pop()),
            no_path!(PathError::UnknownIssuer),
        ),
        presented(
            "the leaf alone, below two delegations",
            |list, _| list.truncate(1),
            no_path!(PathError::UnknownIssuer),
        ),
        presented(
            "the root in the place of the outermost delegation",
            |list, forged| list[2] = forged.root_der().to_vec(),
            no_path!(PathError::UnknownIssuer),
        ),
        refuse(
            "a direct leaf below itself",
            none,
            |s| s.present(|list, _| list.push(list[0].clone())),
            fault!(2, Fault::NotThePath),
        ),
    ]
}

pub(crate) fn extra() -> Vec<Case> {
    let mut cases = vec![
        presented(
            "a CA that nobody needs, last",
            |list, _| list.push(beside().sign().certificates[1].clone()),
            fault!(2, Fault::NotThePath),
        ),
        presented(
            "a CA that nobody needs, between",
            |list, _| list.insert(1, beside().sign().certificates[1].clone()),
            fault!(2, Fault::NotThePath),
        ),
        presented(
            "another leaf, last",
            |list, _| list.extend(beside().sign().chain_der()),
            fault!(2, Fault::NotThePath),
        ),
        presented(
            "another root behind the root",
            |list, forged| {
                list.push(forged.root_der().to_vec());
                list.push(elsewhere("b root").sign().root_der().to_vec());
            },
            fault!(2, Fault::NotThePath),
        ),
        presented(
            "another root in the place of the root",
            |list, _| list.push(elsewhere("b root").sign().root_der().to_vec()),
            fault!(2, Fault::NotThePath),
        ),
        presented(
            "the root twice",
            |list, forged| {
                list.push(forged.root_der().to_vec());
                list.push(forged.root_der().to_vec());
            },
            fault!(2, Fault::NotThePath),
        ),
        presented(
            "the root's key in a certificate with another serial",
            |list, _| {
                let mut renewed = Forge::root("ca root");
                renewed.last().serial = vec![9];
                list.push(renewed.sign().root_der().to_vec());
            },
            fault!(2, Fault::NotThePath),
        ),
        presented(
            "eight certificates that nobody needs",
            |list, _| list.extend(vec![beside().sign().certificates[1].clone(); 8]),
            fault!(2, Fault::TooLong(11)),
        ),
        presented(
            "a hundred certificates that nobody needs",
            |list, _| list.extend(vec![beside().sign().certificates[1].clone(); 97]),
            fault!(2, Fault::TooLong(100)),
        ),
    ];
    for place in 0..3 {
        cases.push(presented(
            format!("certificate {place} of the list twice"),
            move |list, _| list.insert(place, list[place].clone()),
            fault!(2, Fault::NotThePath),
        ));
    }
    for place in 1..3 {
        cases.push(presented(
            format!("the root in the middle, at {place}"),
            move |list, forged| list.insert(place, forged.root_der().to_vec()),
            fault!(2, Fault::NotThePath),
        ));
    }
    cases
}

pub(crate) fn detours() -> Vec<Case> {
    vec![
        refuse(
            "seven delegations",
            six,
            |s| s.forge = deep(7).permissions("admin", &[0], |_| {}),
            no_path!(PathError::MaximumPathDepthExceeded),
        ),
        refuse(
            "ten delegations",
            six,
            |s| s.forge = deep(10).permissions("admin", &[0], |_| {}),
            no_path!(PathError::MaximumPathDepthExceeded),
        ),
        presented(
            "a whole chain of another root",
            |list, _| *list = elsewhere("b root").sign().chain_der(),
            no_path!(PathError::UnknownIssuer),
        ),
        presented(
            "a whole chain of another root with this one's name",
            |list, _| *list = elsewhere("ca root").sign().chain_der(),
            no_path!(PathError::InvalidSignatureForPublicKey),
        ),
        refuse(
            "a server that knows another root",
            two,
            |s| s.root = Some(elsewhere("b root").sign().root_der().to_vec()),
            no_path!(PathError::UnknownIssuer),
        ),
        cross_signed("alice cross-signed by the root, the short way first", 1),
        cross_signed("alice cross-signed by the root, the long way first", 2),
        refuse(
            "dev signed by alice, who is signed by dev",
            two,
            |s| {
                let (dev, alice) = (s.at(1).clone(), s.at(2).clone());
                s.present(move |list, _| list.insert(2, dev.sign(&alice)));
            },
            fault!(2, Fault::NotThePath),
        ),
        refuse(
            "a leaf signed by a leaf",
            two,
            |s| s.forge = s.forge.clone().permissions("eve", &[0], |_| {}),
            no_path!(PathError::EndEntityUsedAsCa),
        ),
        refuse(
            "a leaf signed by a server's key",
            none,
            |s| {
                s.forge = Forge::root("ca root")
                    .server("host", &["localhost"], &[], |_| {})
                    .permissions("eve", &[0], |_| {});
            },
            no_path!(PathError::EndEntityUsedAsCa),
        ),
        refuse(
            "a leaf signed by itself",
            none,
            |s| {
                let leaf = s.at(1);
                leaf.signing.signer = Some(leaf.key.clone());
                leaf.issuer = Some(leaf.subject.clone());
            },
            no_path!(PathError::UnknownIssuer),
        ),
        refuse(
            "a leaf that names the root its issuer",
            two,
            |s| s.at(3).issuer = Some(s.at(0).subject.clone()),
            no_path!(PathError::InvalidSignatureForPublicKey),
        ),
        presented(
            "bytes behind the leaf",
            |list, _| list[0].push(0),
            no_path!(PathError::TrailingData(_)),
        ),
        presented(
            "bytes behind a delegation",
            |list, _| list[1].push(0),
            no_path!(PathError::TrailingData(_)),
        ),
        presented(
            "the leaf's last byte is missing",
            |list, _| list[0].truncate(300),
            no_path!(PathError::BadDer | PathError::TrailingData(_)),
        ),
        presented(
            "the leaf is not a certificate",
            |list, _| list[0] = b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            no_path!(PathError::BadDer | PathError::TrailingData(_)),
        ),
        presented(
            "a leaf of no bytes",
            |list, _| list[0].clear(),
            no_path!(PathError::BadDer | PathError::TrailingData(_)),
        ),
        presented(
            "rubbish behind the path",
            |list, _| list.push(vec![0xff; 64]),
            fault!(2, Fault::NotThePath),
        ),
        refuse(
            "the leaf's outermost length in the long form",
            two,
            |s| {
                s.at(3).signing.edit = Some(|certificate| {
                    *certificate = der::tlv_long(der::SEQUENCE, der::content(certificate));
                });
            },
            no_path!(PathError::BadDer | PathError::TrailingData(_)),
        ),
        refuse(
            "the leaf with BER's indefinite length",
            two,
            |s| {
                s.at(3).signing.edit = Some(|certificate| {
                    *certificate = der::tlv_indefinite(der::SEQUENCE, der::content(certificate));
                });
            },
            no_path!(PathError::BadDer | PathError::TrailingData(_)),
        ),
    ]
}

/// At that place of the list stands another certificate for alice's name and key, by the root
/// itself.
fn cross_signed(name: &str, place: usize) -> Case {
    let change = move |s: &mut Scene| {
        let mut forge = Forge::root("ca root").delegation("alice", |_| {});
        forge.last().key = s.at(2).key.clone();
        let alice = forge.sign().certificates[1].clone();
        s.present(move |list, _| list.insert(place, alice.clone()));
    };
    refuse(name, two, change, fault!(2, Fault::NotThePath))
}
