//! Private networks that the host makes, behind its own address.

use std::net::Ipv4Addr;

use vmm_tests::network::{Holdings, Site, Tenants, traffic};

const WORLD: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 250);

#[test]
fn machines_of_a_private_network_reach_the_world_until_it_is_removed() {
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let range = "inner/10.7.0.2/10.7.0.9/10.7.0.1/24";
        let mut tenants = Tenants::new(&["ext"], &[("alice", &[range])]);
        let before = Holdings::now();
        let add = ["host", "network", "add", "inner", "--nat", "10.7.0.1/24", "--uplink", "ext"];
        tenants.setup.admin(&add).expect(0);
        let listed = || tenants.setup.admin(&["host", "network", "list"]).expect(0).out.clone();
        assert!(listed().contains("inner") && listed().contains("10.7.0.1/24"), "{}", listed());
        let to = format!("--to={WORLD}");
        // The world knows no way to the private network: what it answers, it answers the host.
        let sends = |tenants: &Tenants| {
            site.in_world(|| {
                traffic::echoing(WORLD, || {
                    site.on_host(|| {
                        let more = ["--attach", "--replace", "--", &to, "--count=20", "--window=4"];
                        let networks = ["service=inner"];
                        let done = tenants.run("alice", "sender", "sender.spt", &networks, &more);
                        let said = format!("20 sent to {WORLD}, 20 answered");
                        assert!(done.expect(0).out.contains(&said), "{}", done.out);
                    });
                });
            });
        };
        sends(&tenants);
        for daemon in ["vmm-spawn", "vmmd"] {
            tenants.setup.house.take(daemon).unwrap().kill().unwrap();
            tenants.start_again(daemon);
        }
        tenants.all_know_each_other();
        sends(&tenants);
        tenants.setup.client("alice", &["destroy", "sender"]).expect(0);
        tenants.setup.admin(&["host", "network", "remove", "inner"]).expect(0);
        before.wait_for_again();
    });
}
