//! What outlives the process: what one engine keeps, the next one knows.

use vmm_engine::{Effect, Engine, HostLimits, Keep};

use crate::stage::*;

/// What these effects say is to be kept; all of it before anything else.
fn kept(effects: &[Effect]) -> Vec<Keep> {
    let is_keep = |effect: &&Effect| matches!(effect, Effect::Keep(_));
    let first = effects.iter().take_while(is_keep).count();
    assert_eq!(first, effects.iter().filter(is_keep).count(), "{effects:?}");
    let keep = |effect: &Effect| match effect {
        Effect::Keep(keep) => Some(keep.clone()),
        _ => None,
    };
    effects.iter().filter_map(keep).collect()
}

fn next_engine(stage: &mut Stage, kept: Vec<Keep>) {
    let host = HostLimits { machines: 3, memory_mib: 100, storage_mib: 50, cpus: cpus(&[0, 1]) };
    stage.engine = Engine::new(host, ROOT);
    for keep in kept {
        stage.engine.restore(keep);
    }
}

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
    let mut all = kept(&stage.present(&alice()).effects);
    let newer = [dev()[0].clone(), renewed(&alice()[1], 1, 1)];
    all.extend(kept(&stage.present(&newer).effects));
    let refusal = stage.present(&alice()).refusal();
    next_engine(&mut stage, all);
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
