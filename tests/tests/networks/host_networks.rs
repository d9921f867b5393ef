//! Private networks that the host makes, behind its own address.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::Value;
use vmm_tests::network::{Holdings, Site, Tenants, traffic};
use xtask::house::wait_until;

const WORLD: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 250);

/// What `vmmd` says of the only host network.
fn state(tenants: &Tenants) -> Value {
    let list = tenants.setup.admin(&["--format", "json", "host", "network", "list"]);
    list.expect(0).json()[0].clone()
}

/// As often it is looked whether all is right, without a reason.
const LOOK: Duration = Duration::from_mins(1);

#[test]
fn rules_that_somebody_flushed_are_there_again_soon_while_machines_run() {
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let range = "inner/10.7.0.2/10.7.0.9/10.7.0.1/24";
        let tenants = Tenants::new(&["ext"], &[("alice", &[range])]);
        let add = ["host", "network", "add", "inner", "--nat", "10.7.0.1/24", "--uplink", "ext"];
        tenants.setup.admin(&add).expect(0);
        tenants.run("alice", "echo", "echo.spt", &["service=inner"], &[]).expect(0);
        let rules = || traffic::shell("nft list tables").contains("vmm_networks_");
        assert!(rules());
        traffic::shell("nft flush ruleset");
        let begun = Instant::now();
        wait_until("the rules", rules).unwrap();
        assert!(begun.elapsed() < LOOK / 2, "somebody has seen it after {:?}", begun.elapsed());
        traffic::reaches(Ipv4Addr::new(10, 7, 0, 2));
    });
}

#[test]
fn machines_of_a_private_network_reach_the_world_also_after_a_boot_until_it_is_removed() {
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
        // All at once, as when the host is booted: what the kernel has of it is gone, too.
        for daemon in ["vmm-spawn", "vmmd"] {
            tenants.setup.house.take(daemon).unwrap().kill().unwrap();
        }
        traffic::shell(
            "ip link del inner
             table=$(nft list tables ip | grep vmm_networks_) && nft delete $table
             echo 0 >/proc/sys/net/ipv4/conf/ext/forwarding",
        );
        for daemon in ["vmm-spawn", "vmmd"] {
            tenants.start_again(daemon);
        }
        tenants.all_know_each_other();
        wait_until("the network is up again", || state(&tenants)["up"] == true).unwrap();
        sends(&tenants);
        tenants.setup.client("alice", &["destroy", "sender"]).expect(0);

        // It is not removed under a machine, which goes on.
        tenants.run("alice", "server", "echo.spt", &["service=inner"], &[]).expect(0);
        let refused = tenants.setup.admin(&["host", "network", "remove", "inner"]);
        assert!(refused.expect(1).err.contains("1 live machines have"), "{}", refused.err);
        assert_eq!(
            (&state(&tenants)["up"], &state(&tenants)["machines"]),
            (&true.into(), &1.into())
        );
        traffic::echoes(Ipv4Addr::new(10, 7, 0, 2).into(), 20, 100);
        tenants.setup.client("alice", &["destroy", "server"]).expect(0);

        // Nor under what somebody else has put on it.
        traffic::shell("ip link add stray type veth peer name far; ip link set stray master inner");
        let refused = tenants.setup.admin(&["host", "network", "remove", "inner"]);
        assert!(refused.expect(3).err.contains("such as \"stray\""), "{}", refused.err);
        wait_until("the network is up again", || state(&tenants)["up"] == true).unwrap();
        sends(&tenants);
        tenants.setup.client("alice", &["destroy", "sender"]).expect(0);
        traffic::shell("ip link del stray");

        tenants.setup.admin(&["host", "network", "remove", "inner"]).expect(0);
        let none = tenants.setup.admin(&["--format", "json", "host", "network", "list"]);
        assert_eq!(none.expect(0).json(), serde_json::json!([]));
        let late = tenants.run("alice", "late", "echo.spt", &["service=inner"], &[]);
        assert!(late.expect(3).err.contains("\"inner\""), "{}", late.err);
        before.wait_for_again();
    });
}
