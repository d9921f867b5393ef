//! Daemons that are killed while machines have networks.

use vmm_tests::network::{BOTH_ON_EXT, Holdings, Site, Tenants, traffic};
use xtask::house::{Signal, signal, wait_until};

fn tenants() -> Tenants {
    Tenants::new(&["ext"], &[("alice", &BOTH_ON_EXT)])
}

#[test]
fn machines_answer_while_daemons_are_dead_and_when_they_are_back() {
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let mut tenants = tenants();
        let (before, census) = tenants.holding("alice");
        let (at, at6) = tenants.echo("alice", "echo");
        let answers = || {
            traffic::reaches(at);
            site.in_world(|| traffic::reaches(at6.unwrap()));
        };
        answers();
        let running = Holdings::now();
        for dead in [&["vmm-spawn"][..], &["vmmd"], &["vmmd", "vmm-spawn"]] {
            for name in dead {
                tenants.setup.house.take(name).unwrap().kill().unwrap();
            }
            answers();
            for name in dead.iter().rev() {
                tenants.start_again(name);
            }
            tenants.all_know_each_other();
            answers();
            assert_eq!(Holdings::now(), running, "after {dead:?} was killed");
            assert_eq!(tenants.setup.state("alice/echo").as_deref(), Some("running"));
        }
        tenants.setup.client("alice", &["destroy", "echo"]).expect(0);
        before.wait_for_again();
        census.wait_for_again(&tenants.setup);
    });
}

#[test]
fn what_a_machine_left_that_died_while_vmm_spawn_was_dead_is_swept() {
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let mut tenants = tenants();
        let before = Holdings::now();
        let (at, _) = tenants.echo("alice", "dies");
        let (stays, _) = tenants.echo("alice", "stays");
        traffic::reaches(at);
        traffic::reaches(stays);
        let pid = u32::try_from(tenants.info("alice", "dies")["pid"].as_u64().unwrap()).unwrap();
        tenants.setup.house.take("vmm-spawn").unwrap().kill().unwrap();
        signal(pid, Signal::KILL).unwrap();
        // The kernel takes the interface with the process.
        wait_until("one interface", || Holdings::taps() == 1).unwrap();
        tenants.start_again("vmm-spawn");
        tenants.all_know_each_other();
        traffic::reaches(stays);
        tenants.setup.client("alice", &["destroy", "stays"]).expect(0);
        tenants.setup.client("alice", &["destroy", "dies"]).expect(0);
        before.wait_for_again();
    });
}

#[test]
fn a_bridge_that_is_deleted_takes_no_machine_and_no_daemon_with_it() {
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let tenants = tenants();
        let (at, _) = tenants.echo("alice", "echo");
        traffic::reaches(at);
        traffic::shell("ip link del ext");
        assert_eq!(traffic::pings(at, 1), 0);
        assert_eq!(tenants.setup.state("alice/echo").as_deref(), Some("running"));
        let refused = tenants.run("alice", "next", "echo.spt", &["service=ext"], &[]);
        assert_ne!(refused.code, Some(0));
        assert!(refused.err.contains("ext"), "{}", refused.err);
        tenants.setup.client("alice", &["destroy", "echo"]).expect(0);
        wait_until("no interface", || Holdings::taps() == 0).unwrap();

        traffic::shell(
            "ip link add ext type bridge; ip addr add 10.0.0.1/24 dev ext; ip link set ext up",
        );
        tenants.run("alice", "next", "echo.spt", &["service=ext"], &["--replace"]).expect(0);
        let next = tenants.info("alice", "next");
        traffic::reaches(vmm_tests::network::address(&next["networks"][0]["address"]).unwrap());
    });
}
