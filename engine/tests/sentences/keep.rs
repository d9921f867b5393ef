//! What outlives the process: what one engine keeps, the next one knows.

use vmm_engine::Keep;

use crate::stage::*;

#[test]
fn a_delegation_is_kept_when_it_is_seen_first_and_when_it_changes() {
    let mut stage = Stage::new();
    assert_eq!(kept(&stage.present(&alice()).effects).len(), 2);
    assert_eq!(kept(&stage.present(&alice()).effects), []);
    let newer = [dev()[0].clone(), renewed(&alice()[1], 1, 1)];
    assert_eq!(kept(&stage.present(&newer).effects).len(), 1);
    assert_eq!(kept(&stage.present(&alice()).effects), [], "a refused one changes nothing");
}

#[test]
fn the_next_engine_refuses_what_the_former_one_knew_to_be_outdated() {
    let mut stage = Stage::new();
    stage.present(&alice());
    let newer = [dev()[0].clone(), renewed(&alice()[1], 1, 1)];
    stage.present(&newer);
    let refusal = stage.present(&alice()).refusal();
    stage.next_life();
    assert_eq!(stage.present(&alice()).refusal(), refusal);
    assert_eq!(stage.deploy("dev/alice/big", with_memory(2), &[]).refusal().code(), "quota");
}

#[test]
fn what_expired_and_is_forgotten_is_kept_no_longer() {
    let mut stage = Stage::new();
    let mut known = 0_i64;
    let mut forgotten = 0;
    for number in 0..=vmm_engine::MAX_CHILDREN {
        let mut links = alice();
        links[1].label = format!("c{number}").parse().unwrap();
        links[1].validity.not_after = BEGIN_S + 5;
        if number == vmm_engine::MAX_CHILDREN {
            stage.pass(10_000);
            links[1].validity.not_after = BEGIN_S + 50;
        }
        for keep in kept(&stage.present(&links).effects) {
            match keep {
                Keep::Delegation(_) => known += 1,
                Keep::ForgetDelegation { .. } => forgotten += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(forgotten, 1024);
    assert_eq!(known - forgotten, 2, "dev, and the one that is valid");
}
