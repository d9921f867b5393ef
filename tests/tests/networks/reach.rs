//! Who reaches whom.

use std::net::IpAddr;

use serde_json::json;
use vmm_tests::network::{
    BOTH_ON_EXT, Besides, Direction, Holdings, Site, Tenants, Wire, address, of_bridge, of_bridge6,
    traffic,
};
use vmm_tests::setup::kinds;
use xtask::house::wait_until;

/// What a machine that sends to `to` says at its end.
fn sent(tenants: &Tenants, who: &str, to: IpAddr) -> String {
    let to = format!("--to={to}");
    let more = ["--attach", "--replace", "--", &to, "--count=20", "--window=4"];
    tenants.run(who, "sender", "sender.spt", &["service=ext"], &more).expect(0).out.clone()
}

fn two_tenants(vmmd: &[&str]) -> Tenants {
    let bob = [of_bridge("ext", 20, 29), of_bridge6("ext", 0x20, 0x2f)];
    let bob = bob.each_ref().map(String::as_str);
    let besides = Besides { vmmd, ..Besides::default() };
    Tenants::with(&["ext"], &[("alice", &BOTH_ON_EXT), ("bob", &bob)], besides)
}

#[test]
fn a_machine_is_reached_by_the_host_the_world_and_its_own_delegation_and_by_no_other() {
    let Some(site) = Site::with(&["ext"]) else { return };
    let heard = site.in_world(Wire::listen);
    site.on_host(|| {
        let tenants = two_tenants(&[]);
        let (before, census) = tenants.holding("alice");
        let (one, one6) = tenants.echo("alice", "one");
        let (two, two6) = tenants.echo("alice", "two");
        let (other, other6) = tenants.echo("bob", "one");
        let all = [one, one6.unwrap(), two, two6.unwrap(), other, other6.unwrap()];
        for address in all {
            traffic::reaches(address);
            site.in_world(|| traffic::reaches(address));
        }
        for address in [one, one6.unwrap()] {
            let done = format!("20 sent to {address}, 20 answered");
            assert!(sent(&tenants, "alice", address).contains(&done), "{address}");
            let nobody = format!("nobody answers for {address}");
            assert!(sent(&tenants, "bob", address).contains(&nobody), "{address}");
        }
        // Not even what is for everybody: the world hears it, and so does who belongs to it.
        let [near, far] = [("bob", "one"), ("alice", "one")].map(|(who, name)| {
            tenants.info(who, name)["networks"][0]["tap"].as_str().unwrap().to_owned()
        });
        let told = Wire::listen();
        tenants
            .run("bob", "talker", "liar.spt", &["service=ext"], &["--attach", "--", "--rounds=3"])
            .expect(0);
        let arrived = |mark: &str| {
            let in_world = site.in_world(|| heard.marks("ext", Direction::Heard));
            let near = told.marks(&near, Direction::Told);
            in_world.get(mark) == Some(&3) && near.get(mark) == Some(&3)
        };
        wait_until("frames for everybody", || arrived("honest-ipv4")).unwrap();
        wait_until("frames for everybody", || arrived("honest-ipv6")).unwrap();
        assert!(told.marks(&far, Direction::Told).is_empty());
        drop(told);

        for (who, name) in [("alice", "one"), ("alice", "two"), ("bob", "one"), ("alice", "sender")]
        {
            tenants.setup.client(who, &["destroy", name]).expect(0);
        }
        for name in ["sender", "talker"] {
            tenants.setup.client("bob", &["destroy", name]).expect(0);
        }
        before.wait_for_again();
        census.wait_for_again(&tenants.setup);
    });
}

#[test]
fn on_a_bridge_of_peers_tenants_reach_each_other() {
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let tenants = two_tenants(&["--bridge-peers", "ext"]);
        let (one, one6) = tenants.echo("alice", "one");
        for address in [one, one6.unwrap()] {
            let done = format!("20 sent to {address}, 20 answered");
            assert!(sent(&tenants, "bob", address).contains(&done), "{address}");
        }
    });
}

#[test]
fn machines_of_sub_delegations_reach_those_of_the_same_top_level_delegation() {
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let tenants = two_tenants(&[]);
        let (range, range6) = (of_bridge("ext", 15, 16), of_bridge6("ext", 0x15, 0x16));
        let share = ["2", "64", "--cpu", "0", "--bridge", &range, "--bridge", &range6];
        tenants.setup.subdelegate("alice", "below", &share);
        tenants.run("below", "deep", "echo.spt", &["service=ext"], &[]).expect(0);
        let deep = &tenants.info("alice/below", "deep")["networks"][0];
        assert!(["10.0.0.15/24", "10.0.0.16/24"].contains(&deep["address"].as_str().unwrap()));
        assert!(["fd00::15/64", "fd00::16/64"].contains(&deep["address6"].as_str().unwrap()));
        let deep = address(&deep["address"]).unwrap();
        let said = sent(&tenants, "alice", deep);
        assert!(said.contains(&format!("20 sent to {deep}, 20 answered")), "{said}");
        assert!(sent(&tenants, "bob", deep).contains("nobody answers"));
    });
}

#[test]
fn a_machine_may_have_several_networks_of_every_kind_also_one_without_addresses() {
    let name = "a-bridge-of-15c";
    assert_eq!(name.len(), 15);
    let Some(site) = Site::with(&["ext", name]) else { return };
    site.on_host(|| {
        let range = of_bridge("ext", 10, 19);
        let tenants = Tenants::new(&["ext", name], &[("alice", &[&range, name])]);
        let before = Holdings::now();
        for (index, kind) in kinds().into_iter().enumerate() {
            let own = format!("10.0.1.{}", 10 + index);
            let machine = format!("echoes{index}");
            let image = format!("echoes.{kind}");
            let networks = ["front=ext", &format!("back={name}")];
            let argument = format!("--back-ipv4={own}/24");
            tenants.run("alice", &machine, &image, &networks, &["--", &argument]).expect(0);
            let info = tenants.info("alice", &machine)["networks"].clone();
            assert_eq!(info[1]["bridge"], name);
            assert_eq!((&info[1]["address"], &info[1]["address6"]), (&json!(null), &json!(null)));
            for at in [address(&info[0]["address"]).unwrap(), own.parse().unwrap()] {
                traffic::reaches(at);
                site.in_world(|| traffic::reaches(at));
            }
            assert_ne!(info[0]["mac"], info[1]["mac"]);
            assert_eq!(Holdings::taps(), 2);
            tenants.setup.client("alice", &["destroy", &machine]).expect(0);
            before.wait_for_again();
        }
    });
}
