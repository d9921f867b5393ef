//! Rule 8: what an issuer has taken back.

use std::sync::Arc;

use vmm_engine::{Answer, Chain, Effect, Event, Exit, Keep, State};
use vmm_proto::authority::{LeafIdentity, Link, Serial};
use vmm_proto::id::Digest;
use vmm_proto::resource::Restart;
use vmm_proto::revocation::{BadSerial, RevocationList, Serials};

use crate::stage::*;

/// A list of the issuer of `link`, which is at `issuer`.
fn list(issuer: &str, key: Digest, number: u64, serials: &[&[u8]]) -> Arc<RevocationList> {
    let serials = serials.iter().map(|serial| Ok::<_, BadSerial>(*serial));
    Arc::new(RevocationList {
        issuer: key,
        path: path(issuer),
        number: number.into(),
        this_update: 0,
        next_update: 0,
        sha256: Digest([0; 32]),
        serials: Serials::collect(serials).expect("serial numbers"),
    })
}

fn of_dev(number: u64, serials: &[&[u8]]) -> Arc<RevocationList> {
    list("dev", dev()[0].key, number, serials)
}

/// `alice` and `bob` with serial numbers of their own.
fn siblings() -> (Vec<Link>, Vec<Link>) {
    let (mut alice, mut bob) = (alice(), bob());
    alice[1].serial = Serial([0xa].into());
    bob[1].serial = Serial([0xb].into());
    (alice, bob)
}

fn revoke(stage: &mut Stage, list: &Arc<RevocationList>) -> Asked {
    stage.ask(|token| Event::Revoke { token, list: Arc::clone(list) })
}

#[test]
fn everything_below_a_revoked_delegation_ends_at_once_and_nothing_beside_it() {
    let mut stage = Stage::new();
    let (alice, bob) = siblings();
    let hers = stage.run("dev/alice/one", spec(), &alice);
    let his = stage.run("dev/bob/one", spec(), &bob);
    let asked = revoke(&mut stage, &of_dev(1, &[&[0xa]]));
    assert_eq!(asked.answer(), Some(Ok(Answer::Revoked { serials: 1, machines: vec![hers] })));
    assert_eq!(stops(&asked.effects), [(hers, false), (hers, true)]);
    assert!(kept(&asked.effects).iter().any(|keep| matches!(keep, Keep::Revocations(_))));
    assert!(asked.effects.contains(&Effect::JudgeSessions));
    assert_eq!(records(&asked.effects), ["list", "revoked", "stopping", "killed"]);
    assert_eq!(stage.state("dev/alice/one"), Some(State::Stopping));

    stage.exited(hers, Exit::Signal(9));
    let view = stage.view("dev/alice/one");
    assert_eq!(view.state, State::Revoked);
    assert!(view.reason.unwrap().contains("\"alice\" (serial 0a) has been revoked"));
    assert_eq!(stage.view("dev/bob/one").id, his);
    assert_eq!(stage.state("dev/bob/one"), Some(State::Running));
    assert_eq!(stage.used("dev"), (1, 10));
}

#[test]
fn a_revoked_chain_is_refused_whatever_it_wants_and_its_machines_stay_down() {
    let mut stage = Stage::new();
    let (alice, bob) = siblings();
    let id = stage.run("dev/alice/one", spec(), &alice);
    revoke(&mut stage, &of_dev(1, &[&[0xa]]));
    stage.exited(id, Exit::Signal(9));
    assert_eq!(stage.present(&alice).refusal().code(), "revoked");
    assert_eq!(stage.deploy("dev/alice/two", spec(), &alice).refusal().code(), "revoked");
    assert_eq!(stage.start("dev/alice/one", "").refusal().code(), "revoked");
    // Also for somebody further up: the delegation in between is revoked (rule 11).
    assert_eq!(stage.deploy("dev/alice/two", spec(), &dev()).refusal().code(), "revoked");
    assert!(stage.present(&bob).answer().unwrap().is_ok());
}

#[test]
fn a_new_certificate_gives_the_authority_back_and_the_name_gives_way() {
    let mut stage = Stage::new();
    let (mut alice, _) = siblings();
    let id = stage.run("dev/alice/one", spec(), &alice);
    revoke(&mut stage, &of_dev(1, &[&[0xa]]));
    stage.exited(id, Exit::Signal(9));
    // The same grant, signed again: it does not even last longer.
    alice[1].serial = Serial([0xc].into());
    assert_eq!(stage.deploy("dev/alice/one", spec(), &alice).answer(), None);
    assert_eq!(stage.state("dev/alice/one"), Some(State::Starting));
}

#[test]
fn what_was_renewed_before_is_not_hit_by_the_end_of_the_former_certificate() {
    let mut stage = Stage::new();
    let (alice, _) = siblings();
    stage.run("dev/alice/one", spec(), &alice);
    let mut newer = vec![dev()[0].clone(), renewed(&alice[1], 2, 20)];
    newer[1].serial = Serial([0xc].into());
    stage.present(&newer);
    let asked = revoke(&mut stage, &of_dev(1, &[&[0xa]]));
    assert_eq!(asked.answer(), Some(Ok(Answer::Revoked { serials: 1, machines: vec![] })));
    assert_eq!(stage.state("dev/alice/one"), Some(State::Running));
}

#[test]
fn a_revoked_leaf_ends_the_machine_that_it_is_and_no_machine_that_it_made() {
    let mut stage = Stage::new();
    let made = stage.run("dev/made", spec(), &dev());
    let image = stage.store("dev/own", &spec(), &dev()).unwrap();
    let leaf = LeafIdentity {
        label: "own".parse().unwrap(),
        issuer: dev()[0].key,
        serial: Serial([7].into()),
    };
    let chain = Chain { links: dev(), leaf: Some(leaf), of_machine: true };
    let own = vmm_proto::id::MachineId([77; 16]);
    let spec = vmm_engine::Spec { image, ..spec() };
    let (name, replace) = (name("dev/own"), false);
    let shown = chain.clone();
    stage.ask(|token| Event::Deploy {
        token,
        id: own,
        name,
        spec,
        chain: shown,
        replace,
        probation_ms: 0,
    });
    stage.started(own);
    // 99 is the permission leaf's of this stage.
    let asked = revoke(&mut stage, &of_dev(1, &[&[7], &[99]]));
    assert_eq!(asked.answer(), Some(Ok(Answer::Revoked { serials: 2, machines: vec![own] })));
    assert_eq!(stage.view("dev/made").id, made);
    assert_eq!(stage.state("dev/made"), Some(State::Running));
    assert_eq!(stage.present(&dev()).refusal().code(), "revoked");
    stage.exited(own, Exit::Signal(9));
    assert_eq!(stage.start("dev/own", "").refusal().code(), "revoked");
    let asked = stage.ask(|token| Event::Presented { token, chain });
    assert_eq!(asked.refusal().code(), "revoked");
}

#[test]
fn a_ca_takes_back_its_own_certificates_only_whatever_it_is_called() {
    let mut stage = Stage::new();
    let (alice, _) = siblings();
    stage.run("dev/alice/one", spec(), &alice);
    // Another delegation called dev, whose serial numbers are alike.
    let other = list("dev", Digest([200; 32]), 1, &[&[0xa], &[1]]);
    let asked = revoke(&mut stage, &other);
    assert_eq!(asked.answer(), Some(Ok(Answer::Revoked { serials: 2, machines: vec![] })));
    assert!(stage.present(&alice).answer().unwrap().is_ok());
}

#[test]
fn only_a_larger_number_replaces_a_list() {
    let mut stage = Stage::new();
    let (alice, _) = siblings();
    revoke(&mut stage, &of_dev(5, &[&[0xa]]));
    for stale in [of_dev(5, &[]), of_dev(4, &[])] {
        let asked = revoke(&mut stage, &stale);
        assert_eq!(asked.refusal().code(), "list");
        assert_eq!(asked.effects.len(), 1, "nothing but the answer: {:?}", asked.effects);
    }
    assert_eq!(stage.present(&alice).refusal().code(), "revoked");
    revoke(&mut stage, &of_dev(6, &[]));
    assert!(stage.present(&alice).answer().unwrap().is_ok());
}

#[test]
fn it_ends_machines_in_every_state() {
    let mut stage = Stage::new();
    let (mut alice, _) = siblings();
    for link in &mut alice {
        (link.grant.machines, link.grant.memory_mib) = (9, 90);
    }
    let waits = stage.run("dev/alice/waits", with_restart(Restart::Always), &alice);
    stage.exited(waits, Exit::Code(1));
    let ended = stage.run("dev/alice/ended", spec(), &alice);
    stage.exited(ended, Exit::Code(3));
    let starts = stage.deploy("dev/alice/starts", spec(), &alice).id;
    let stops = stage.run("dev/alice/stops", spec(), &alice);
    let stop = stage.stop("dev/alice/stops", 60_000);
    let asked = revoke(&mut stage, &of_dev(1, &[&[0xa]]));
    assert_eq!(
        asked.answer().unwrap().map(
            |answer| matches!(answer, Answer::Revoked { machines, .. } if machines.len() == 4)
        ),
        Ok(true)
    );
    for name in ["dev/alice/waits", "dev/alice/ended"] {
        assert_eq!(stage.state(name), Some(State::Revoked), "{name}");
    }
    assert_eq!(stage.view("dev/alice/ended").exit, Some(Exit::Code(3)));
    // It is killed as soon as it runs.
    let effects = stage.started(starts);
    assert_eq!(crate::stage::stops(&effects), [(starts, false), (starts, true)]);
    let effects = stage.exited(stops, Exit::Signal(9));
    assert_eq!(answer(&effects, stop.token), Some(Ok(Answer::Stopped { id: stops })));
    stage.exited(starts, Exit::Signal(9));
    for name in ["dev/alice/starts", "dev/alice/stops"] {
        assert_eq!(stage.state(name), Some(State::Revoked), "{name}");
    }
    assert_eq!(stage.used("dev"), (0, 0));
}

#[test]
fn a_machine_about_to_take_anothers_place_is_called_off_when_it_loses_its_authority() {
    let mut stage = Stage::new();
    let (alice, _) = siblings();
    let old = stage.run("dev/alice/one", spec(), &alice);
    let new = stage.deploy_as("dev/alice/one", spec(), &alice, true);
    let asked = revoke(&mut stage, &of_dev(1, &[&[0xa]]));
    let refusal = answer(&asked.effects, new.token).unwrap().unwrap_err();
    assert_eq!(refusal.code(), "called-off");
    stage.exited(old, Exit::Signal(9));
    assert_eq!(stage.state("dev/alice/one"), Some(State::Revoked));
}

#[test]
fn while_it_is_being_killed_it_can_be_destroyed_and_nothing_else() {
    let mut stage = Stage::new();
    let (alice, _) = siblings();
    let id = stage.run("dev/alice/one", spec(), &alice);
    revoke(&mut stage, &of_dev(1, &[&[0xa]]));
    assert_eq!(stage.start("dev/alice/one", "").refusal().code(), "busy");
    let stop = stage.stop("dev/alice/one", 10);
    let destroy = stage.destroy("dev/alice/one");
    let effects = stage.exited(id, Exit::Signal(9));
    assert_eq!(answer(&effects, stop.token), Some(Ok(Answer::Stopped { id })));
    assert_eq!(answer(&effects, destroy.token), Some(Ok(Answer::Destroyed { id })));
    assert_eq!(stage.state("dev/alice/one"), None);
}

#[test]
fn the_next_engine_knows_what_was_revoked() {
    let mut stage = Stage::new();
    let (alice, bob) = siblings();
    revoke(&mut stage, &of_dev(3, &[&[0xa]]));
    stage.next_life();
    assert_eq!(stage.present(&alice).refusal().code(), "revoked");
    assert!(stage.present(&bob).answer().unwrap().is_ok());
    assert_eq!(revoke(&mut stage, &of_dev(2, &[])).refusal().code(), "list");
}
