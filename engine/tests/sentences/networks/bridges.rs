//! The bridges that the host offers.

use vmm_engine::{Event, Exit};
use vmm_proto::name::Path;
use vmm_proto::resource::BridgeName;

use super::{FOUR, dev, netted, networks};
use crate::stage::{Stage, name, path};

fn offer(stage: &mut Stage, bridges: &[&str]) {
    let bridges = bridges.iter().map(|name| BridgeName::parse(name).unwrap()).collect();
    stage.happen(Event::BridgesOffered { bridges });
}

#[test]
fn a_bridge_that_the_host_does_not_offer_is_refused_once_that_is_known() {
    let mut stage = Stage::with_machines(9);
    let dev = dev(&[FOUR]);
    let one = stage.run("dev/one", netted(), &dev);
    offer(&mut stage, &["int"]);
    let foreseen = stage.explain("dev/two", &netted(), &dev, false);
    let asked = stage.deploy("dev/two", netted(), &dev);
    assert_eq!(foreseen.obstacles, [asked.refusal()]);
    assert_eq!(
        asked.refusal().to_string(),
        "bridge \"ext\" may not be used: this host has no such bridge for machines now; name another \
         one, or ask the host's admin, whom `vmm-client host network list` tells why a network of the \
         host is down; another bridge is offered with vmm-spawn --bridge"
    );
    let host = &foreseen.levels[0];
    assert_eq!(host.bridges.as_deref(), Some(&[BridgeName::parse("int").unwrap()][..]));
    assert_eq!(host.bridges_missing, [BridgeName::parse("ext").unwrap()]);
    assert!(stage.view("dev/one").over_quota);
    stage.run("dev/two", networks(&[("net", "int")]), &dev);

    stage.exited(one, Exit::Code(0));
    let foreseen = stage.engine.explain_start(stage.now, &name("dev/one"), &path("dev"));
    let asked = stage.start("dev/one", "dev");
    assert_eq!(foreseen.obstacles, [asked.refusal()]);
    assert_eq!(asked.refusal().code(), "bridge");
    offer(&mut stage, &["int", "ext"]);
    assert_eq!(stage.start("dev/one", "dev").answer(), None);
}

#[test]
fn quotas_and_explanations_show_the_hosts_bridges_when_they_are_known() {
    let mut stage = Stage::with_machines(9);
    assert!(stage.engine.quota(&[], &Path::host())[0].bridges.is_empty());
    let unknown = stage.explain("one", &netted(), &[], false);
    assert_eq!(unknown.levels[0].bridges, None);
    offer(&mut stage, &["b", "a"]);
    let shown: Vec<_> = stage.engine.quota(&[], &Path::host())[0].bridges.clone();
    assert_eq!(shown, ["a", "b"].map(|name| BridgeName::parse(name).unwrap()));
}
