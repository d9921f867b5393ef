//! A journal that cannot grow any more: what has to be in it is refused, what runs is not touched, and
//! everything goes on when there is room.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use vmm_tests::disk::Disk;
use vmm_tests::setup::Setup;
use xtask::house::wait_until;

/// Without daemons; `dev` may have 200 machines.
fn prepared() -> Setup {
    Setup::with_share(&["200", "4096", "--cpu", "0"])
}

fn tick(setup: &Setup, name: &str, words: &[&str]) -> vmm_tests::setup::Done {
    let run = ["run", name, "ticker.spt", "--memory", "4", "--cpu", "0", "--", "--every", "1000"];
    setup.client("dev", &[&run[..], words].concat())
}

fn pid_of(setup: &Setup, name: &str) -> serde_json::Value {
    setup.json("admin", &["info", name])[0]["pid"].clone()
}

#[test]
fn what_the_journal_has_no_room_for_is_refused_and_what_runs_is_not_touched() {
    let mut setup = prepared();
    let Some(disk) = Disk::at(&setup, "run/vmmd", 4 << 20) else { return };
    setup = setup.started(&[]);
    tick(&setup, "keeper", &[]).expect(0);
    tick(&setup, "victim", &[]).expect(0);
    let pid = pid_of(&setup, "keeper");
    let filled = disk.fill();
    // Some fit into what the journal has of the disk already; then one does not.
    let words = "x".repeat(7000);
    let refused = (0..150).find_map(|number| {
        let done = tick(&setup, &format!("more{number}"), &["--name", &words]);
        (done.code != Some(0)).then_some(done)
    });
    let refused = refused.expect("a refusal");
    assert!(refused.err.contains("No space left on device"), "{}", refused.err);
    // It fits after all, or is refused at once, or waits until it does.
    let stop = setup.client("admin", &["stop", "victim"]);
    let told = stop.err.contains("could not be made durable");
    assert!(stop.code == Some(0) || told, "{}", stop.err);
    assert_eq!(pid_of(&setup, "keeper"), pid);
    assert_eq!(setup.state("/dev/keeper").as_deref(), Some("running"));

    drop(filled);
    wait_until("room", || tick(&setup, "after", &[]).code == Some(0)).unwrap();
    assert_eq!(pid_of(&setup, "keeper"), pid);
    setup.house.take("vmmd").unwrap().kill().unwrap();
    setup.house.start_with("vmmd", &[]).unwrap();
    setup.wait_for("/dev/after", "running");
    assert_eq!(pid_of(&setup, "keeper"), pid);
    setup.client("admin", &["destroy", "keeper"]).expect(0);
    drop(setup);
    drop(disk);
}
