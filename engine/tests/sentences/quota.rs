//! Rule 7, and what is told about it.

use vmm_engine::{Context, Quantity, QuotaRow, Refusal, Share, Spec, State, Used};
use vmm_proto::name::Path;

use crate::stage::*;

#[test]
fn of_two_deploys_for_the_last_place_exactly_one_wins() {
    let mut stage = Stage::new();
    stage.run("dev/one", spec(), &dev());
    let second = stage.deploy("dev/two", spec(), &dev());
    let third = stage.deploy("dev/three", spec(), &dev());
    assert_eq!(second.answer(), None);
    assert_eq!(third.refusal().code(), "quota");
    assert_eq!(stage.used("dev"), (2, 20));
}

#[test]
fn a_failed_start_gives_everything_back() {
    let mut stage = Stage::new();
    let deploy = stage.deploy("dev/one", spec(), &dev());
    assert_eq!((stage.used("dev"), stage.used("")), ((1, 10), (1, 10)));
    let effects = stage.start_failed(deploy.id);
    let refusal = answer(&effects, deploy.token).unwrap().unwrap_err();
    assert_eq!(refusal.to_string(), "\"dev/one\" could not be started: no luck");
    assert_eq!((stage.used("dev"), stage.used("")), ((0, 0), (0, 0)));
    let view = stage.view("dev/one");
    assert_eq!((view.state, view.reason), (State::Failed, Some("no luck")));
}

#[test]
fn a_refused_deploy_changes_nothing() {
    let mut stage = Stage::new();
    let deploy = stage.deploy("dev/one", with_memory(31), &dev());
    assert_eq!(deploy.refusal().code(), "quota");
    assert!(starts(&deploy.effects).is_empty());
    assert_eq!(stage.used(""), (0, 0));
    assert_eq!(stage.state("dev/one"), None);
}

#[test]
fn a_machine_must_fit_in_the_host_also() {
    let mut stage = Stage::new();
    let big = vec![link(ROOT, "big", 1000, 4000)];
    let too_much = stage.deploy("big/one", with_memory(101), &big).refusal();
    let share = Share { path: path("big"), machines: 1000, memory_mib: 4000 };
    let expected = Refusal::Quota {
        path: Path::host(),
        quantity: Quantity::Memory,
        limit: 100,
        asked: 101,
        held: 0,
        used: None,
        context: Box::new(Context { shares: vec![share], users: vec![] }),
    };
    assert_eq!(too_much, expected);
    for label in ["big/one", "big/two", "big/three"] {
        stage.run(label, spec(), &big);
    }
    let refusal = stage.deploy("big/four", spec(), &big).refusal();
    assert_eq!(
        refusal.summary(),
        "the limit of this host is 3 machines, and 1 more does not fit now; ask whoever manages it"
    );
    let other = Spec { cpus: cpus(&[2]), ..spec() };
    let refusal = stage.deploy("admin", Spec { cpus: cpus(&[9]), ..spec() }, &[]).refusal();
    assert_eq!(refusal.to_string(), "CPU 9 may not be used: this host has 0,1,2,3");
    let refusal = stage.deploy("big/cpu", other, &big).refusal();
    assert_eq!(refusal.to_string(), "CPU 2 may not be used: delegation \"big\" has 0,1");
}

#[test]
fn a_refusal_by_an_ancestor_tells_its_limit_and_not_what_others_use() {
    let mut stage = Stage::new();
    stage.run("dev/bob/one", with_memory(25), &bob());
    let refusal = stage.deploy("dev/alice/one", spec(), &alice()).refusal();
    let Refusal::Quota { path: at, limit: 30, asked: 10, used: None, .. } = &refusal else {
        panic!("{refusal:?}");
    };
    assert_eq!(*at, path("dev"));
    assert!(!refusal.to_string().contains("25"), "{refusal}");
    // Whoever speaks for dev may know.
    stage.present(&alice());
    let refusal = stage.deploy("dev/alice/one", spec(), &dev()).refusal();
    assert_eq!(
        refusal.to_string(),
        "the limit of delegation \"dev\" is 30 MiB of memory: 25 in use, 5 left, 10 asked for; \
         ask for 5 or less, or stop a machine first\n  \
         chain: dev (2 machines, 30 MiB) / dev/alice (2 machines, 20 MiB)\n  \
         in use by: /dev/bob/one (25 MiB)\n  \
         all limits: `vmm-client why …`, with the same command behind it"
    );
    assert!(!refusal.without_names().to_string().contains("bob"));
}

#[test]
fn what_may_be_told_at_a_start_depends_on_who_asks() {
    let mut stage = Stage::new();
    let id = stage.run("dev/alice/one", spec(), &alice());
    stage.exited(id, vmm_engine::Exit::Code(0));
    stage.run("dev/bob/one", with_memory(25), &bob());
    let of_alice = stage.start("dev/alice/one", "dev/alice").refusal();
    assert!(matches!(of_alice, Refusal::Quota { used: None, .. }));
    let of_dev = stage.start("dev/alice/one", "dev").refusal();
    assert!(matches!(of_dev, Refusal::Quota { used: Some(25), .. }));
}

#[test]
fn a_bridge_must_be_in_every_delegation() {
    let mut stage = Stage::new();
    let on = |bridge: &str| Spec { devices: on_bridge(bridge), ..spec() };
    let int = stage.deploy("dev/one", on("int"), &dev()).refusal();
    assert_eq!(
        int.to_string(),
        "bridge \"int\" may not be used: delegation \"dev\" has no bridge of that name"
    );
    stage.run("dev/one", on("ext"), &dev());
}

#[test]
fn a_machine_further_down_needs_every_delegation_in_between() {
    let mut stage = Stage::new();
    let refusal = stage.deploy("dev/alice/one", spec(), &dev()).refusal();
    assert_eq!(refusal, Refusal::UnknownDelegation { path: path("dev/alice") });
    let refusal = stage.deploy("dev/alice/one", spec(), &[]).refusal();
    // The refused request has shown dev.
    assert_eq!(refusal, Refusal::UnknownDelegation { path: path("dev/alice") });

    stage.present(&alice());
    let refusal = stage.deploy("dev/alice/one", with_memory(21), &[]).refusal();
    assert!(matches!(refusal, Refusal::Quota { limit: 20, used: Some(0), .. }), "{refusal:?}");
    stage.run("dev/alice/one", spec(), &[]);
    assert_eq!(stage.used("dev/alice"), (1, 10));
}

#[test]
fn a_delegation_in_between_must_be_valid_now() {
    let mut stage = Stage::new();
    let mut links = alice();
    links[1].validity.not_after = BEGIN_S + 10;
    stage.present(&links);
    stage.pass(11_000);
    let refusal = stage.deploy("dev/alice/one", spec(), &dev()).refusal();
    assert_eq!(
        refusal.to_string(),
        "delegation \"dev/alice\" expired 1 s ago; ask its issuer for a new certificate"
    );
}

#[test]
fn a_chain_speaks_only_for_what_is_below_it() {
    let mut stage = Stage::new();
    stage.present(&bob());
    for outside in ["one", "dev/one", "dev/bob/one", "other/alice/one"] {
        assert_eq!(stage.deploy(outside, spec(), &alice()).refusal().code(), "outside");
    }
}

#[test]
fn a_shrunken_delegation_lets_run_what_runs_and_starts_nothing_new() {
    let mut stage = Stage::new();
    let one = stage.run("dev/one", with_restart(vmm_proto::resource::Restart::Always), &dev());
    let two = stage.run("dev/two", spec(), &dev());
    let smaller = vec![renewed(&dev()[0], 1, 30)];
    let shown = stage.present(&smaller);
    assert!(shown.answer().unwrap().is_ok());
    assert!(stops(&shown.effects).is_empty());
    assert!(stage.view("dev/one").over_quota && stage.view("dev/two").over_quota);

    // What restarts by itself keeps its place.
    stage.exited(one, vmm_engine::Exit::Code(1));
    assert_eq!(starts(&stage.pass(100)), [one]);
    stage.started(one);
    // What has ended does not come back before it fits.
    stage.exited(two, vmm_engine::Exit::Code(0));
    assert!(!stage.view("dev/one").over_quota);
    assert_eq!(stage.start("dev/two", "dev").refusal().code(), "quota");
    stage.present(&[renewed(&smaller[0], 2, 30)]);
    assert_eq!(stage.start("dev/two", "dev").answer(), None);
}

#[test]
fn quotas_are_shown_from_a_path_down() {
    let mut stage = Stage::new();
    stage.present(&bob());
    stage.run("dev/alice/one", spec(), &alice());
    let rows = stage.engine.quota(&dev(), &path("dev"));
    let paths: Vec<String> = rows.iter().map(|row| row.path.to_string()).collect();
    assert_eq!(paths, ["dev", "dev/alice", "dev/bob"]);
    let expected = QuotaRow {
        path: path("dev"),
        machines: Used { limit: 2, used: 1 },
        memory_mib: Used { limit: 30, used: 10 },
        storage_mib: Used { limit: 5, used: 0 },
        cpus: cpus(&[0, 1]),
        bridges: vec!["ext"]
            .into_iter()
            .map(|b| vmm_proto::resource::BridgeName::parse(b).unwrap())
            .collect(),
    };
    assert_eq!(rows[0], expected);
    assert_eq!(stage.engine.quota(&alice(), &path("dev/alice")).len(), 1);
    let host = stage.engine.quota(&[], &Path::host());
    assert_eq!(host.len(), 4);
    assert_eq!(host[0].machines, Used { limit: 3, used: 1 });
    assert_eq!(host[0].cpus, cpus(&[0, 1, 2, 3]));
    assert!(stage.engine.quota(&dev(), &path("dev/nobody")).is_empty());
}

#[test]
fn expired_delegations_are_shown_only_while_something_runs_there() {
    let mut stage = Stage::new();
    let id = stage.run("dev/alice/one", spec(), &alice());
    stage.pass(2 * 3_600_000);
    assert_eq!(stage.engine.quota(&[], &Path::host()).len(), 3);
    stage.exited(id, vmm_engine::Exit::Code(0));
    assert_eq!(stage.engine.quota(&[], &Path::host()).len(), 1);
}
