//! Which address a machine has.

use std::net::IpAddr;

use serde_json::{Value, json};
use vmm_tests::network::{
    BOTH_ON_EXT, Besides, Site, Tenants, address, of_bridge, of_bridge6, traffic,
};
use vmm_tests::setup::kinds;

fn networks(tenants: &Tenants, name: &str) -> Value {
    tenants.info("alice", name)["networks"].clone()
}

#[test]
fn without_a_free_address_nothing_is_started_until_one_is_returned() {
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let tenants = Tenants::new(&["ext"], &[("alice", &[&of_bridge("ext", 10, 11)])]);
        let (one, none) = tenants.echo("alice", "one");
        let (two, _) = tenants.echo("alice", "two");
        assert_eq!(none, None);
        assert_ne!(one, two);
        let refused = tenants.run("alice", "three", "echo.spt", &["service=ext"], &[]);
        assert!(refused.expect(3).err.contains("address"), "{}", refused.err);
        tenants.setup.client("alice", &["info", "three"]).expect(4);
        // A machine that is stopped still has its own.
        tenants.setup.client("alice", &["stop", "one"]).expect(0);
        tenants.run("alice", "three", "echo.spt", &["service=ext"], &[]).expect(3);
        tenants.setup.client("alice", &["destroy", "one"]).expect(0);
        assert_eq!(tenants.echo("alice", "three").0, one);
        traffic::reaches(one);
        traffic::reaches(two);
    });
}

#[test]
fn an_address_is_reached_at_once_where_another_machine_had_it_a_moment_ago() {
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let ranges = [of_bridge("ext", 10, 10), of_bridge6("ext", 0x10, 0x10)];
        let ranges = ranges.each_ref().map(String::as_str);
        let tenants = Tenants::new(&["ext"], &[("alice", &ranges)]);
        let (before, before6) = tenants.echo("alice", "one");
        traffic::reaches(before);
        traffic::reaches(before6.unwrap());
        tenants.setup.client("alice", &["destroy", "one"]).expect(0);
        // The host remembers the hardware address of the first one.
        assert_eq!(tenants.echo("alice", "two"), (before, before6));
        // Otherwise it would notice only after longer than this that nobody has that one any more.
        let answers = |at: IpAddr| (0..5).any(|_| traffic::pings(at, 1) == 1);
        assert!(answers(before), "{before}");
        assert!(answers(before6.unwrap()), "{before6:?}");
    });
}

#[test]
fn a_name_keeps_its_address_when_it_is_restarted_replaced_and_when_daemons_are_killed() {
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let mut tenants = Tenants::new(&["ext"], &[("alice", &BOTH_ON_EXT)]);
        tenants.echo("alice", "other");
        let (at, at6) = tenants.echo("alice", "echo");
        let before = networks(&tenants, "echo");
        let same = |tenants: &Tenants| {
            traffic::reaches(at);
            traffic::reaches(at6.unwrap());
            let now = networks(tenants, "echo");
            for field in ["device", "bridge", "mac", "address", "address6"] {
                assert_eq!(now[0][field], before[0][field], "{field}");
            }
        };
        same(&tenants);
        tenants.setup.client("alice", &["restart", "echo"]).expect(0);
        same(&tenants);
        tenants.setup.client("alice", &["stop", "echo"]).expect(0);
        tenants.setup.client("alice", &["start", "echo"]).expect(0);
        same(&tenants);
        tenants.run("alice", "echo", "echo.spt", &["service=ext"], &["--replace"]).expect(0);
        same(&tenants);
        tenants.setup.house.take("vmmd").unwrap().kill().unwrap();
        tenants.start_again("vmmd");
        same(&tenants);
        tenants.setup.client("alice", &["restart", "echo"]).expect(0);
        same(&tenants);
    });
}

#[test]
fn a_name_keeps_its_address_when_the_host_boots_again() {
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let besides = Besides { reboots: true, ..Besides::default() };
        let mut tenants = Tenants::with(&["ext"], &[("alice", &BOTH_ON_EXT)], besides);
        let names = [kinds(), vec!["free", "stopped"]].concat();
        for name in &names {
            let kind = if kinds().contains(name) { name } else { "spt" };
            tenants.run("alice", name, &format!("echo.{kind}"), &["service=ext"], &[]).expect(0);
        }
        tenants.setup.client("alice", &["stop", "stopped"]).expect(0);
        // Its addresses are free again: what comes after the boot is not to move there.
        tenants.setup.client("alice", &["destroy", "free"]).expect(0);
        let of = |tenants: &Tenants, name: &str| {
            let it = networks(tenants, name)[0].clone();
            ["mac", "address", "address6"].map(|field| it[field].clone())
        };
        let names: Vec<&str> = names.into_iter().filter(|name| *name != "free").collect();
        let before: Vec<_> = names.iter().map(|name| of(&tenants, name)).collect();
        assert!(before.iter().flatten().all(Value::is_string), "{before:?}");
        for boot in [2, 3] {
            tenants.reboot(boot);
            for kind in kinds() {
                tenants.setup.wait_for(&format!("alice/{kind}"), "running");
            }
            for (name, before) in names.iter().zip(&before) {
                assert_eq!(of(&tenants, name), *before, "{name} in boot {boot}");
                for at in before[1..].iter().filter(|_| *name != "stopped") {
                    traffic::reaches(address(at).unwrap());
                }
            }
        }
        tenants.setup.client("alice", &["start", "stopped"]).expect(0);
        let place = names.len() - 1;
        assert_eq!(of(&tenants, "stopped"), before[place]);
        traffic::reaches(address(&before[place][1]).unwrap());
    });
}

#[test]
fn what_the_arguments_set_is_taken_if_it_may_be_given() {
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let tenants = Tenants::new(&["ext"], &[("alice", &BOTH_ON_EXT)]);
        let run = |name: &str, argument: &str| {
            tenants.run("alice", name, "echo.spt", &["service=ext"], &["--", argument])
        };
        run("chosen", "--ipv4=10.0.0.17/24").expect(0);
        let chosen = networks(&tenants, "chosen");
        assert_eq!(chosen[0]["address"], json!("10.0.0.17/24"));
        assert!(address(&chosen[0]["address6"]).is_some(), "{chosen}");
        traffic::reaches(address(&chosen[0]["address"]).unwrap());
        traffic::reaches(address(&chosen[0]["address6"]).unwrap());
        for (argument, rule) in [
            ("--ipv4=10.0.0.17/24", "sets 10.0.0.17, which another machine on bridge \"ext\" has"),
            (
                "--ipv4=10.0.0.20/24",
                "(it has 10.0.0.10/10.0.0.19/10.0.0.1/24): it is outside of that",
            ),
            ("--ipv6=fd00::20/64", "(it has fd00::10/fd00::1f/fd00::1/64): it is outside of that"),
        ] {
            let refused = run("refused", argument);
            assert!(refused.expect(3).err.contains(rule), "{argument}: {}", refused.err);
            tenants.setup.client("alice", &["info", "refused"]).expect(4);
        }
    });
}
