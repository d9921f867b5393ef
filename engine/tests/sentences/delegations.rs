//! Rule 9: the newest certificate of each delegation rules.

use vmm_engine::{MAX_BELOW_TOP, MAX_CHILDREN, Refusal};
use vmm_proto::authority::Link;
use vmm_proto::id::Digest;

use crate::stage::*;

#[test]
fn a_lower_generation_is_refused_and_told_what_was_seen() {
    let mut stage = Stage::new();
    let newer = vec![renewed(&dev()[0], 1, 10)];
    assert!(stage.present(&newer).answer().unwrap().is_ok());
    let refusal = stage.present(&dev()).refusal();
    let expected = Refusal::Stale {
        path: path("dev"),
        presented: 1,
        newest: 2,
        seen_unix_ms: stage.now.unix_ms,
    };
    assert_eq!(refusal, expected);
    assert_eq!(
        refusal.to_string(),
        "the certificate of delegation \"dev\" is outdated: it has generation 1, and generation 2 \
         was seen here at 1970-01-01T00:16:40Z; ask the issuer for the newest certificate"
    );
    // Also everything below it, which was not signed again.
    assert_eq!(stage.present(&alice()).refusal(), expected);
}

#[test]
fn an_equal_generation_is_accepted_only_with_the_same_grant() {
    let mut stage = Stage::new();
    stage.present(&dev());
    assert!(stage.present(&dev()).answer().unwrap().is_ok());
    let mut other = dev();
    other[0].grant.memory_mib += 1;
    assert_eq!(
        stage.present(&other).refusal(),
        Refusal::OtherShare { path: path("dev"), generation: 1 }
    );
}

#[test]
fn a_newer_one_rules_the_first_time_it_is_shown() {
    let mut stage = Stage::new();
    stage.present(&dev());
    let shown = stage.present(&[renewed(&dev()[0], 0, 0)]);
    assert_eq!(records(&shown.effects), ["renewed"]);
    assert_eq!(stage.deploy("dev/one", spec(), &[]).refusal().code(), "quota");
}

#[test]
fn a_delegation_is_known_by_its_issuers_key_wherever_that_key_is_used() {
    let mut stage = Stage::new();
    let newer = vec![dev()[0].clone(), renewed(&alice()[1], 1, 1)];
    stage.present(&newer);
    let mut elsewhere = link(ROOT, "ops", 2, 30);
    elsewhere.key = dev()[0].key;
    assert_eq!(stage.present(&[elsewhere, alice()[1].clone()]).refusal().code(), "stale");
}

#[test]
fn a_key_certified_again_elsewhere_does_not_show_what_is_below_it() {
    let mut stage = Stage::new();
    stage.present(&alice());
    // Mallory certifies dev's public key under a name of their own.
    let mut forged = link(ROOT, "mallory", 2, 30);
    forged.key = dev()[0].key;
    stage.present(std::slice::from_ref(&forged));
    let rows = stage.engine.quota(&[forged], &path("mallory"));
    assert_eq!(rows.len(), 1);
}

#[test]
fn a_delegation_is_good_only_in_its_time() {
    let mut stage = Stage::new();
    let mut early = dev();
    early[0].validity.not_before = BEGIN_S + 5;
    assert_eq!(
        stage.present(&early).refusal().to_string(),
        "delegation \"dev\" is not valid for another 5 s; wait, or compare the clocks"
    );
    stage.pass(3_601_000);
    assert_eq!(stage.present(&dev()).refusal().code(), "expired");
    assert_eq!(stage.deploy("dev/one", spec(), &dev()).refusal().code(), "expired");
}

#[test]
fn what_is_no_chain_is_refused() {
    let mut stage = Stage::new();
    let foreign = vec![link(Digest([9; 32]), "dev", 1, 1)];
    let unordered = vec![alice()[1].clone(), alice()[0].clone()];
    let deep = std::iter::successors(Some(link(ROOT, "a", 1, 1)), |above| {
        Some(link(above.key, &format!("{}a", above.label), 1, 1))
    });
    for links in [foreign, unordered, deep.take(7).collect()] {
        assert_eq!(stage.present(&links).refusal(), Refusal::BrokenChain);
    }
}

fn child(of: &Link, number: usize, lasts_s: i64) -> Link {
    let mut child = link(of.key, &format!("c{number}"), 1, 1);
    child.key = Digest(std::array::from_fn(|i| of.key.0[i] ^ u8::try_from(i + 1).unwrap()));
    child.key.0[..8].copy_from_slice(&number.to_be_bytes());
    child.validity.not_after = BEGIN_S + lasts_s;
    child
}

#[test]
fn a_delegation_has_so_many_live_children_and_expired_ones_make_room() {
    let mut stage = Stage::new();
    let dev = dev()[0].clone();
    for number in 0..MAX_CHILDREN {
        let lasts_s = if number == 5 { 1 } else { 3600 };
        assert!(
            stage.present(&[dev.clone(), child(&dev, number, lasts_s)]).answer().unwrap().is_ok()
        );
    }
    let one_more = [dev.clone(), child(&dev, MAX_CHILDREN, 3600)];
    let refusal = stage.present(&one_more).refusal();
    assert!(
        refusal.to_string().starts_with("delegation \"dev\" has 1024 valid delegations below it"),
        "{refusal}"
    );
    // Those that are known are still accepted, and others' are.
    assert!(stage.present(&[dev.clone(), child(&dev, 7, 3600)]).answer().unwrap().is_ok());
    let ops = link(ROOT, "ops", 1, 1);
    assert!(stage.present(&[ops.clone(), child(&ops, 0, 3600)]).answer().unwrap().is_ok());
    stage.pass(2_000);
    assert!(stage.present(&one_more).answer().unwrap().is_ok());
    let another = [dev.clone(), child(&dev, MAX_CHILDREN + 1, 3600)];
    assert_eq!(stage.present(&another).refusal().code(), "delegation");
}

#[test]
fn a_top_level_delegation_has_so_many_below_it_and_expired_ones_make_room() {
    let mut stage = Stage::new();
    let dev = dev()[0].clone();
    let middles: Vec<Link> = (0..=MAX_BELOW_TOP / 1000).map(|n| child(&dev, n, 3600)).collect();
    let mut count = 0;
    let mut refused = None;
    'all: for middle in &middles {
        assert!(stage.present(&[dev.clone(), middle.clone()]).answer().unwrap().is_ok());
        count += 1;
        for number in 0..1000 {
            let lasts_s = if count == 100 { 1 } else { 3600 };
            let chain = [dev.clone(), middle.clone(), child(middle, number, lasts_s)];
            if let Err(refusal) = stage.present(&chain).answer().unwrap() {
                refused = Some((chain, refusal));
                break 'all;
            }
            count += 1;
        }
    }
    let (chain, refusal) = refused.expect("a bound");
    assert_eq!(count, MAX_BELOW_TOP);
    let Refusal::TooManyDelegations { above, limit, .. } = refusal else { panic!("{refusal}") };
    assert_eq!((above, limit), (path("dev"), MAX_BELOW_TOP));
    stage.pass(2_000);
    assert!(stage.present(&chain).answer().unwrap().is_ok());
}

#[test]
fn a_newer_one_that_expires_sooner_is_remembered_as_long_as_the_older_one_lasts() {
    let mut stage = Stage::new();
    let dev = dev()[0].clone();
    let old = child(&dev, 0, 3600);
    let mut new = renewed(&old, 0, 0);
    new.validity.not_after = BEGIN_S + 1;
    stage.present(&[dev.clone(), old.clone()]);
    stage.present(&[dev.clone(), new]);
    stage.pass(2_000);
    for number in 1..=MAX_CHILDREN {
        stage.present(&[dev.clone(), child(&dev, number, 3600)]);
    }
    assert_eq!(stage.present(&[dev, old]).refusal().code(), "stale");
}
