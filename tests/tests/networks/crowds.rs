//! Many machines on one bridge.

use std::time::Instant;

use vmm_tests::network::{Holdings, Site, Tenants, traffic};
use xtask::house::wait_until;

/// A range with room for many.
const RANGE: &str = "ext/10.0.8.0/10.0.11.250/10.0.0.1/16";

fn tenants() -> Tenants {
    traffic::shell("ip addr add 10.0.0.1/16 dev ext");
    Tenants::new(&["ext"], &[("alice", &[RANGE])])
}

/// `count` machines, named by number.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("m{number}")).collect()
}

/// Does something for each name, a few at a time.
fn each(names: &[String], work: impl Fn(&str) + Sync) {
    std::thread::scope(|scope| {
        for share in names.chunks(names.len().div_ceil(4)) {
            scope.spawn(|| share.iter().for_each(|name| work(name)));
        }
    });
}

#[test]
fn after_a_storm_of_restarts_of_fifty_machines_nothing_is_left() {
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let tenants = tenants();
        let (before, census) = tenants.holding("alice");
        let names = names(50);
        each(&names, |name| {
            // It ends as soon as it has sent, and is started again.
            let more = ["--restart", "always", "--", "--to=10.0.0.1", "--count=1", "--window=0"];
            tenants.run("alice", name, "sender.spt", &["service=ext"], &more).expect(0);
        });
        let restarts = || {
            let all = tenants.setup.admin(&["--format", "json", "info"]).expect(0).json();
            let count = |machine: &serde_json::Value| machine["restarts"].as_u64().unwrap();
            all.as_array().unwrap().iter().map(count).min() >= Some(2)
        };
        wait_until("restarts of all", restarts).unwrap();
        each(&names, |name| {
            tenants.setup.client("alice", &["destroy", name]).expect(0);
        });
        before.wait_for_again();
        census.wait_for_again(&tenants.setup);
    });
}

#[test]
fn five_hundred_machines_have_five_hundred_interfaces_on_one_bridge() {
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let tenants = tenants();
        let before = Holdings::now();
        let names = names(500);
        let begun = Instant::now();
        each(&names, |name| {
            tenants.run("alice", name, "echo.spt", &["service=ext"], &[]).expect(0);
        });
        eprintln!("500 machines were started within {:?}", begun.elapsed());
        assert_eq!(Holdings::taps(), 500);
        for index in [0, 250, 499] {
            let network = &tenants.info("alice", &names[index])["networks"][0];
            traffic::reaches(vmm_tests::network::address(&network["address"]).unwrap());
        }
        let begun = Instant::now();
        each(&names, |name| {
            tenants.setup.client("alice", &["destroy", name]).expect(0);
        });
        before.wait_for_again();
        eprintln!("500 machines were destroyed within {:?}", begun.elapsed());
    });
}
