//! What lists take back, and from whom.

use std::sync::Arc;

use vmm_proto::authority::Authorization;
use vmm_proto::revocation::{NotTaken, Revocations, Taken};
use vmm_tests::forge::Forge;
use vmm_tests::forge::crl::List;

use super::scene::judge;
use crate::scene::{self, NOW};

/// A root with a delegation of that path, and all that it knows of revocations.
struct House {
    revocations: Revocations,
}

impl House {
    const fn new(revocations: Revocations) -> Self {
        Self { revocations }
    }

    /// Hands in a list of the last certificate of `issuer`.
    fn hand_in(&mut self, issuer: &Forge, list: &List) -> Result<Taken, NotTaken> {
        let forged = issuer.sign();
        let der = list.sign(issuer.drafts.last().unwrap());
        let authority = judge(&der, &forged.chain_der(), forged.root_der(), NOW).unwrap();
        self.revocations.take(Arc::new(authority.list))
    }

    /// The label of the certificate for which a chain is refused.
    fn refused(&self, chain: &Forge) -> Option<String> {
        self.revocations.of(&authorized(chain)).map(|revoked| revoked.label.to_string())
    }
}

fn authorized(chain: &Forge) -> Authorization {
    let forged = chain.sign();
    scene::judge(&forged.chain_der(), forged.root_der(), NOW).unwrap()
}

/// A delegation of that path.
fn ca(path: &str) -> Forge {
    path.split('/').fold(Forge::root("ca root"), |forge, label| forge.delegation(label, |_| {}))
}

fn admin(path: &str) -> Forge {
    ca(path).permissions("admin", &[0], |_| {})
}

/// A list of the given number that takes back the last certificate of `chain`.
fn taking_back(number: u64, chain: &Forge) -> List {
    List::of(number, &[&chain.drafts.last().unwrap().serial])
}

#[test]
fn each_certificate_of_a_path_can_be_taken_back_by_its_issuer() {
    let admin = admin("dev/alice");
    for (issuer, taken_back, label) in [
        (ca("dev/alice"), admin.clone(), "admin"),
        (ca("dev"), ca("dev/alice"), "alice"),
        (Forge::root("ca root"), ca("dev"), "dev"),
    ] {
        let mut house = House::new(Revocations::default());
        let _ = house.hand_in(&issuer, &taking_back(1, &taken_back)).unwrap();
        assert_eq!(house.refused(&admin).as_deref(), Some(label));
    }
}

#[test]
fn an_issuer_cannot_take_back_what_others_issued() {
    let admin = admin("dev/alice");
    let mut house = House::new(Revocations::default());
    // alice, bob beside her and the root name the serial of dev's alice, alice that of dev.
    for issuer in [ca("dev/alice"), ca("dev/bob"), Forge::root("ca root")] {
        let _ = house.hand_in(&issuer, &taking_back(1, &ca("dev/alice"))).unwrap();
    }
    let _ = house.hand_in(&ca("dev/alice"), &taking_back(2, &ca("dev"))).unwrap();
    assert_eq!(house.refused(&admin), None);
}

#[test]
fn a_ca_with_anothers_name_takes_back_its_own_certificates_only() {
    let (victim, namesake) = (admin("dev/alice"), admin("eve/alice"));
    let serial = |forge: &mut Forge| forge.last().serial = vec![7; 16];
    let (mut of_victim, mut of_namesake) = (victim, namesake);
    serial(&mut of_victim);
    serial(&mut of_namesake);
    let mut house = House::new(Revocations::default());
    // The two CAs have one name, and the two leaves one name and one serial number.
    let _ = house.hand_in(&ca("eve/alice"), &List::of(1, &[&[7; 16]])).unwrap();
    assert_eq!(house.refused(&of_victim), None);
    assert_eq!(house.refused(&of_namesake).as_deref(), Some("admin"));
    // Nor does its number keep the other one's list away.
    let _ = house.hand_in(&ca("eve/alice"), &List::of(u64::MAX, &[])).unwrap();
    let _ = house.hand_in(&ca("dev/alice"), &List::of(1, &[&[7; 16]])).unwrap();
    assert_eq!(house.refused(&of_victim).as_deref(), Some("admin"));
}

#[test]
fn an_older_list_and_one_of_the_same_number_change_nothing() {
    let admin = admin("dev/alice");
    let mut house = House::new(Revocations::default());
    let _ = house.hand_in(&ca("dev/alice"), &taking_back(5, &admin)).unwrap();
    for (number, serials) in [(4, [1]), (5, [1])] {
        let refused = house.hand_in(&ca("dev/alice"), &List::of(number, &[&serials]));
        assert!(matches!(refused, Err(NotTaken::NotNewer { .. })), "{refused:?}");
        assert_eq!(house.refused(&admin).as_deref(), Some("admin"));
    }
    let again = house.hand_in(&ca("dev/alice"), &taking_back(5, &admin));
    assert!(matches!(again, Err(NotTaken::Known { .. })), "{again:?}");
    let newer = house.hand_in(&ca("dev/alice"), &List::of(6, &[])).unwrap();
    assert_eq!((newer.replaced, newer.serials), (Some(5.into()), 0));
    assert_eq!(house.refused(&admin), None);
}

#[test]
fn a_renewed_ca_with_its_old_key_is_still_the_same_issuer() {
    let admin = admin("dev/alice");
    let mut renewed = ca("dev/alice");
    renewed.last().serial = vec![9; 16];
    let mut house = House::new(Revocations::default());
    let _ = house.hand_in(&renewed, &taking_back(1, &admin)).unwrap();
    assert_eq!(house.refused(&admin).as_deref(), Some("admin"));
}
