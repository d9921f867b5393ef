//! A journal that cannot grow any more: what has to be in it is refused, what runs is not touched, and
//! everything goes on when there is room.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use vmm_tests::setup::{Setup, skipped};
use xtask::house::wait_until;

/// A small disk of its own, for as long as this lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounted at `dir`, with so many MiB.
    fn at(dir: &Path, mib: u32) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs", path(dir)]);
        Self(dir.to_owned())
    }

    /// Fills it, and returns the file that does.
    fn fill(&self) -> PathBuf {
        let name = self.0.join("filler");
        let mut filler = std::fs::File::create(&name).unwrap();
        for piece in [64 << 10, 4 << 10, 1] {
            while filler.write_all(&vec![1; piece]).is_ok() {}
        }
        name
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["-l", path(&self.0)]);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// Without daemons; `dev` may have 200 machines.
fn prepared() -> Setup {
    let setup = Setup::without_daemons();
    setup.delegate("ca.db", "cacert.pem", "ca.key", "dev", &["200", "4096", "--cpu", "0"]);
    setup.leaf("dev", "admin", &["--permission", "all"]);
    setup
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
    if !rustix::process::geteuid().is_root() {
        return skipped("a full disk: only root can mount a small one");
    }
    let mut setup = prepared();
    let disk = SmallDisk::at(&setup.file("run/vmmd"), 4);
    setup = setup.started(&[]);
    tick(&setup, "keeper", &[]).expect(0);
    tick(&setup, "victim", &[]).expect(0);
    let pid = pid_of(&setup, "keeper");
    let filler = disk.fill();
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

    std::fs::remove_file(filler).unwrap();
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
