//! Lists that are unusual and right.

use vmm_proto::chain::crl::CrlAuthority;
use vmm_proto::revocation::{CrlNumber, MAX_SERIALS};
use vmm_tests::forge::Forge;
use vmm_tests::forge::crl::{CRL_NUMBER, Entries, Entry, FRESHEST, INVALIDITY_DATE};
use vmm_tests::forge::der;
use vmm_tests::forge::extensions::{AUTHORITY_KEY_ID, Extended, UNKNOWN};
use vmm_tests::forge::key::Kind;
use vmm_tests::forge::times::Time;

use super::entries::many;
use super::scene::{Scene, alice, root, sixth};
use crate::case::{Accepted, accept, all_are_accepted};
use crate::scene::NOW;

type Case = Accepted<Scene>;

/// The list of [`alice`] says the same as without the change.
fn same(name: &str, change: impl FnOnce(&mut Scene)) -> Case {
    accept(name, alice, change, is_seven)
}

fn is_seven(authority: &CrlAuthority) -> bool {
    authority.list.serials.iter().eq([&[7][..]])
}

fn issuers() -> Vec<Case> {
    let mut cases = vec![
        accept(
            "a plain list",
            alice,
            |_| {},
            |a| {
                is_seven(a)
                    && a.list.path.to_string() == "dev/alice"
                    && a.list.number == CrlNumber::from(5)
                    && a.list.issuer == a.links[1].key
            },
        ),
        accept(
            "a list of the root",
            root,
            |_| {},
            |a| is_seven(a) && a.links.is_empty() && a.list.path.is_host(),
        ),
        accept(
            "a list of the root that brings it",
            root,
            |s| s.chain.present(|list, forged| list.push(forged.root_der().to_vec())),
            is_seven,
        ),
        same("a chain with the root", |s| {
            s.chain.present(|list, forged| list.push(forged.root_der().to_vec()));
        }),
        accept(
            "a list of the sixth delegation",
            sixth,
            |_| {},
            |a| is_seven(a) && a.list.path.to_string() == "d1/d2/d3/d4/d5/d6",
        ),
        accept("path lengths that are just enough", sixth, |s| s.chain.path_lengths(), is_seven),
        accept(
            "an issuer with the label of its issuer",
            alice,
            |s| {
                s.chain.forge =
                    Forge::root("ca root").delegation("dev", |_| {}).delegation("dev", |_| {});
            },
            |a| a.list.path.to_string() == "dev/dev",
        ),
    ];
    for (name, kinds) in [
        ("P-256 all over", [Kind::P256; 3]),
        ("P-384 all over", [Kind::P384; 3]),
        ("P-256 below Ed25519", [Kind::Ed25519, Kind::Ed25519, Kind::P256]),
        ("a different kind of key at each step", [Kind::P384, Kind::P256, Kind::Ed25519]),
    ] {
        cases.push(same(name, |s| s.chain.keys(&kinds)));
    }
    cases
}

fn contents() -> Vec<Case> {
    vec![
        accept(
            "no entries",
            alice,
            |s| s.list.entries = Entries::Absent,
            |a| a.list.serials.is_empty(),
        ),
        accept(
            "an empty list of entries",
            alice,
            |s| s.list.revoke([]),
            |a| a.list.serials.is_empty(),
        ),
        accept(
            "every reason",
            alice,
            |s| {
                let reasons = [0, 1, 2, 3, 4, 5, 6, 9, 10];
                s.list.revoke(reasons.map(|reason| Entry::of(&[reason + 1]).because(reason)));
            },
            |a| a.list.serials.len() == 9 && a.list.serials.contains(&[7]),
        ),
        same("an invalidityDate and an unknown extension", |s| {
            let date = der::tlv(der::GENERALIZED_TIME, b"20250101000000Z");
            s.list.revoke([Entry::of(&[7]).with(INVALIDITY_DATE, false, date).because(1).with(
                UNKNOWN,
                false,
                vec![0xff],
            )]);
        }),
        same("sixteen extensions", |s| {
            (1..=14).for_each(|arc| s.list.add(&[2, 999, arc], false, vec![5, 0]));
        }),
        accept(
            "serials of one octet, of 20, and with a sign",
            alice,
            |s| {
                let signed = [&[0][..], &[0xff; 19]].concat();
                s.list.revoke([Entry::of(&[0x7f; 20]), Entry::of(&[1]), Entry::of(&signed)]);
            },
            |a| {
                let signed = [&[0][..], &[0xff; 19]].concat();
                let has = |serial: &[u8]| a.list.serials.contains(serial);
                has(&[0x7f; 20]) && has(&[1]) && has(&signed) && !has(&[0xff; 19])
            },
        ),
        same("one serial twice", |s| s.list.revoke([Entry::of(&[7]), Entry::of(&[7]).because(1)])),
        accept(
            "2^20 entries",
            alice,
            |s| s.list.entries = Entries::Raw(many(MAX_SERIALS)),
            |a| {
                a.list.serials.len() == MAX_SERIALS
                    && a.list.serials.contains(&(1_u64 << 62 | 0xf_ffff).to_be_bytes())
                    && !a.list.serials.contains(&(1_u64 << 62 | 0x10_0000).to_be_bytes())
            },
        ),
        same("a revocation date after 2050", |s| {
            let time = Time::generalized("20500101000000Z");
            s.list.revoke([Entry { time, ..Entry::of(&[7]) }]);
        }),
    ]
}

fn fields() -> Vec<Case> {
    vec![
        accept(
            "number 0",
            alice,
            |s| s.list.set(CRL_NUMBER, der::integer(0)),
            |a| a.list.number == CrlNumber::from(0),
        ),
        accept(
            "a number of 20 octets",
            alice,
            |s| s.list.set(CRL_NUMBER, der::tlv(der::INTEGER, &[0x7f; 20])),
            |a| a.list.number.to_der() == [0x7f; 20],
        ),
        same("no authorityKeyIdentifier", |s| s.list.drop(AUTHORITY_KEY_ID)),
        same("an authorityKeyIdentifier with issuer and serial too", |s| {
            let id = der::tlv(der::context(0), &s.chain.at(2).identifier());
            let name = s.chain.at(1).subject.0.clone();
            let issuer = der::tlv(der::constructed(1), &der::tlv(der::constructed(4), &name));
            let serial = der::tlv(der::context(2), &[7]);
            s.list.set(AUTHORITY_KEY_ID, der::sequence(&[id, issuer, serial]));
        }),
        same("extensions in the opposite order", |s| s.list.extensions.reverse()),
        same("unknown extensions that are not critical", |s| {
            s.list.add(UNKNOWN, false, vec![0xff]);
            s.list.add(FRESHEST, false, der::sequence(&[]));
        }),
        accept(
            "a list that has expired",
            alice,
            |s| s.list.next_update = Some(Time::unix(NOW - 1)),
            |a| is_seven(a) && a.list.next_update == NOW - 1,
        ),
        accept(
            "made 300 seconds from now",
            alice,
            |s| s.list.this_update = Time::unix(NOW + 300),
            |a| a.list.this_update == NOW + 300,
        ),
        same("a nextUpdate after 2050", |s| {
            s.list.next_update = Some(Time::generalized("99991231235959Z"));
        }),
    ]
}

#[test]
fn unusual_lists_that_keep_every_rule_are_taken() {
    let cases: Vec<_> = [issuers(), contents(), fields()].into_iter().flatten().collect();
    all_are_accepted(&cases);
    crate::named_apart(cases.iter().map(|case| case.name.as_str()), 25);
}
