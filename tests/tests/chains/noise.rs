//! Bytes that change on the way, and grants that a hostile issuer makes up.

use std::sync::LazyLock;

use proptest::prelude::*;
use vmm_proto::authority::{Authorization, Holder};
use vmm_proto::grant::Grant;
use vmm_tests::forge::key::Key;
use vmm_tests::forge::signing::Signing;
use vmm_tests::forge::{Forged, der};

use crate::case::Judged;
use crate::scene::{NOW, Scene, judge, machine, six, two};

struct Original {
    forged: Forged,
    authorization: Authorization,
}

impl Original {
    fn of(scene: &Scene) -> Self {
        Self { forged: scene.forge.sign(), authorization: scene.judge().unwrap() }
    }

    fn judge(&self, list: &[Vec<u8>]) -> Option<Authorization> {
        judge(list, self.forged.root_der(), NOW).ok()
    }
}

static ORIGINALS: LazyLock<Vec<Original>> =
    LazyLock::new(|| [two(), machine(), six()].iter().map(Original::of).collect());

#[test]
fn no_single_bit_of_a_chain_can_be_changed() {
    for original in ORIGINALS.iter().take(2) {
        let presented = original.forged.chain_der();
        for certificate in 0..presented.len() {
            for byte in 0..presented[certificate].len() {
                for bit in 0..8 {
                    let mut changed = presented.clone();
                    changed[certificate][byte] ^= 1 << bit;
                    let found = original.judge(&changed);
                    assert_eq!(found, None, "certificate {certificate}, byte {byte}, bit {bit}");
                }
            }
        }
    }
}

/// What happens to one certificate of the list, or to the list. Places are taken modulo what
/// there is.
#[derive(Debug, Clone)]
enum Noise {
    Set { certificate: usize, byte: usize, value: u8 },
    Remove { certificate: usize, from: usize, count: usize },
    Insert { certificate: usize, at: usize, bytes: Vec<u8> },
    Copy { certificate: usize, from: usize, count: usize, to: usize },
    Truncate { certificate: usize, to: usize },
    DropCertificate(usize),
    Repeat { certificate: usize, to: usize },
    Swap(usize, usize),
}

fn noise() -> impl Strategy<Value = Noise> {
    let n = || 0_usize..4096;
    prop_oneof![
        (n(), n(), any::<u8>()).prop_map(|(certificate, byte, value)| Noise::Set {
            certificate,
            byte,
            value
        }),
        (n(), n(), 1_usize..64).prop_map(|(certificate, from, count)| Noise::Remove {
            certificate,
            from,
            count
        }),
        (n(), n(), prop::collection::vec(any::<u8>(), 1..32))
            .prop_map(|(certificate, at, bytes)| Noise::Insert { certificate, at, bytes }),
        (n(), n(), 1_usize..64, n()).prop_map(|(certificate, from, count, to)| Noise::Copy {
            certificate,
            from,
            count,
            to
        }),
        (n(), n()).prop_map(|(certificate, to)| Noise::Truncate { certificate, to }),
        n().prop_map(Noise::DropCertificate),
        (n(), n()).prop_map(|(certificate, to)| Noise::Repeat { certificate, to }),
        (n(), n()).prop_map(|(one, other)| Noise::Swap(one, other)),
    ]
}

impl Noise {
    fn apply(&self, list: &mut Vec<Vec<u8>>) {
        let count = list.len();
        if count == 0 {
            return;
        }
        match self {
            Self::DropCertificate(place) => drop(list.remove(place % count)),
            Self::Repeat { certificate, to } => {
                list.insert(to % (count + 1), list[certificate % count].clone());
            }
            Self::Swap(one, other) => list.swap(one % count, other % count),
            Self::Set { certificate, .. }
            | Self::Remove { certificate, .. }
            | Self::Insert { certificate, .. }
            | Self::Copy { certificate, .. }
            | Self::Truncate { certificate, .. } => self.apply_to(&mut list[certificate % count]),
        }
    }

    fn apply_to(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        if length == 0 {
            return;
        }
        let span = |from: usize, count: usize| {
            let from = from % length;
            from..(from + count).min(length)
        };
        match self {
            Self::Set { byte, value, .. } => bytes[byte % length] = *value,
            Self::Remove { from, count, .. } => drop(bytes.drain(span(*from, *count))),
            Self::Insert { at, bytes: new, .. } => {
                drop(bytes.splice(at % length..at % length, new.iter().copied()));
            }
            Self::Copy { from, count, to, .. } => {
                let copied = bytes[span(*from, *count)].to_vec();
                drop(bytes.splice(to % length..to % length, copied));
            }
            Self::Truncate { to, .. } => bytes.truncate(to % length),
            Self::DropCertificate(_) | Self::Repeat { .. } | Self::Swap(..) => {}
        }
    }
}

/// What holds of everything that is ever authorized.
fn invariant_each_delegation_fits(authorization: &Authorization) {
    for pair in authorization.links().windows(2) {
        assert_eq!(pair[1].grant.fits_in(&pair[0].grant), Ok(()));
        assert_eq!(pair[1].issuer, pair[0].key);
    }
    let labels: Vec<_> = authorization.links().iter().map(|link| link.label.clone()).collect();
    assert_eq!(authorization.path().labels(), labels);
    assert!(authorization.validity().contains(NOW));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    /// Who has no key of the chain can only present it as it is.
    #[test]
    fn a_noisy_chain_is_refused_or_the_same(
        which in 0_usize..3,
        noise in prop::collection::vec(noise(), 1..4),
    ) {
        let original = &ORIGINALS[which];
        let presented = original.forged.chain_der();
        let mut changed = presented.clone();
        for noise in &noise {
            noise.apply(&mut changed);
        }
        let found = original.judge(&changed);
        if changed == presented {
            prop_assert_eq!(found.as_ref(), Some(&original.authorization));
        } else {
            prop_assert_eq!(found, None);
        }
    }

    /// Who has the keys can sign any grant; it counts only in its one encoding, and only within
    /// what is above it.
    #[test]
    fn a_signed_grant_of_noise_is_refused_or_means_its_bytes(
        which in 0_usize..3,
        place in 1_usize..8,
        noise in prop::collection::vec(noise(), 1..3),
    ) {
        let mut scene = [two, machine, six][which]();
        let place = 1 + place % (scene.forge.drafts.len() - 1);
        let mut der = scene.at(place).grant.as_ref().unwrap().to_der();
        for noise in &noise {
            noise.apply_to(&mut der);
        }
        scene.at(place).set_grant(der.clone());
        if let Ok(authorization) = scene.judge() {
            invariant_each_delegation_fits(&authorization);
            let meant = match authorization.links().get(place - 1) {
                Some(link) => Grant::Delegation(link.grant.clone()),
                None => match authorization.holder() {
                    Holder::Permissions(permissions) => Grant::Permissions(*permissions),
                    Holder::Machine(machine) => Grant::Machine(machine.as_ref().clone()),
                    Holder::Admin => panic!("a certificate made an admin of the local socket"),
                },
            };
            prop_assert_eq!(meant.to_der(), der);
        }
    }

    /// Who has the keys can sign any certificate: nothing panics, and what is accepted keeps the
    /// rules.
    #[test]
    fn a_signed_certificate_of_noise_keeps_the_rules_or_is_refused(
        which in 0_usize..3,
        place in 1_usize..8,
        noise in prop::collection::vec(noise(), 1..3),
    ) {
        let scene = [two, machine, six][which]();
        let drafts = &scene.forge.drafts;
        let place = 1 + place % (drafts.len() - 1);
        let forged = scene.forge.sign();
        let mut list = forged.chain_der();
        let at = drafts.len() - 1 - place;
        list[at] = resigned(&list[at], &drafts[place - 1].key, &noise);
        if let Ok(authorization) = judge(&list, forged.root_der(), NOW) {
            invariant_each_delegation_fits(&authorization);
        }
    }
}

/// A certificate whose signed part has gone through noise before it was signed.
fn resigned(certificate: &[u8], key: &Key, noise: &[Noise]) -> Vec<u8> {
    // The signed part is the first element inside of the outermost SEQUENCE.
    let mut content = der::content(der::content(certificate)).to_vec();
    for noise in noise {
        noise.apply_to(&mut content);
    }
    Signing::default().sign(content, key)
}
