//! A host that runs out of something: what is asked for then is refused with the reason, what runs
//! is left alone, and nothing has to be repaired when there is enough again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use vmm_testkit::skipped;
use vmm_tests::census::Census;
use vmm_tests::disk::Disk;
use vmm_tests::setup::{Done, Setup};
use xtask::house::wait_until;

/// How far a process may raise one of its limits; `None`: without end.
fn hard_limit(pid: u32, resource: Resource) -> Option<u64> {
    let name = match resource {
        Resource::Nofile => "Max open files",
        Resource::As => "Max address space",
        other => panic!("{other:?}"),
    };
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    // The limit in force, how far it may be raised, and in what it is counted.
    line.split_whitespace().nth(1).unwrap().parse().ok()
}

/// A daemon that has less of something. Dropped, it has it again.
struct Limited {
    pid: Pid,
    resource: Resource,
    before: Rlimit,
}

impl Limited {
    fn to(setup: &Setup, daemon: &str, resource: Resource, count: u64) -> Self {
        let pid = setup.house.daemon(daemon).unwrap().pid();
        let maximum = hard_limit(pid, resource);
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let now = Rlimit { current: Some(count), maximum };
        let before = prlimit(Some(pid), resource, now).unwrap();
        Self { pid, resource, before }
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        prlimit(Some(self.pid), self.resource, self.before).unwrap();
    }
}

/// A cgroup in which processes are counted. Dropped, it is given up.
struct Processes {
    parent: PathBuf,
    own: PathBuf,
}

impl Processes {
    /// One with a daemon in it. `None`, said loudly, where there can be none.
    fn of(setup: &Setup, daemon: &str) -> Option<Self> {
        let pid = setup.house.daemon(daemon).unwrap().pid();
        let made = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].into_iter().find_map(|parent| {
            let own = Path::new(parent).join(format!("vmm-test-{pid}"));
            std::fs::create_dir(&own).ok()?;
            let group = Self { parent: parent.into(), own };
            group.own.join("pids.max").exists().then_some(group)
        });
        let Some(group) = made else {
            skipped("too many processes: there is no cgroup to count them in");
            return None;
        };
        std::fs::write(group.own.join("cgroup.procs"), pid.to_string()).unwrap();
        Some(group)
    }

    fn at_most(&self, count: &str) {
        std::fs::write(self.own.join("pids.max"), count).unwrap();
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let procs = |group: &Path| group.join("cgroup.procs");
        let given_up = || -> std::io::Result<()> {
            for pid in std::fs::read_to_string(procs(&self.own))?.lines() {
                // One may just have ended.
                let _ended = std::fs::write(procs(&self.parent), pid);
            }
            std::fs::remove_dir(&self.own)
        };
        if wait_until("an empty cgroup", || given_up().is_ok()).is_err() {
            eprintln!("{} is left", self.own.display());
        }
    }
}

/// An installation with 5 machines for `dev`, not yet started.
fn prepared() -> Setup {
    Setup::with_share(&["5", "2048", "--cpu", "0"])
}

fn run(setup: &Setup, name: &str, image: &str, memory: &str) -> Done {
    let arguments = ["run", name, image, "--memory", memory, "--cpu", "0", "--", "--every", "10"];
    setup.client("dev", &arguments)
}

/// A machine that runs all the time, and that nothing may happen to.
struct Witness {
    pid: serde_json::Value,
}

impl Witness {
    fn of(setup: &Setup) -> Self {
        run(setup, "witness", "ticker.spt", "16").expect(0);
        Self { pid: setup.json("admin", &["info", "witness"])[0]["pid"].clone() }
    }

    /// How many lines it has printed: all of them, in order.
    fn lines(setup: &Setup) -> usize {
        let all = ["attach", "witness", "--no-follow", "--count", "1000000"];
        let done = setup.client("admin", &all);
        let lines: Vec<&str> = done.expect(0).out.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            assert_eq!(*line, format!("tick {}", index + 1), "{}", done.out);
        }
        lines.len()
    }

    /// It is the process that it was, and goes on printing.
    #[track_caller]
    fn is_well(&self, setup: &Setup) {
        assert_eq!(setup.json("admin", &["info", "witness"])[0]["pid"], self.pid);
        let before = Self::lines(setup);
        wait_until("more output", || Self::lines(setup) > before).unwrap();
    }
}

fn descriptors(setup: &Setup, daemon: &str) -> u64 {
    let pid = setup.house.daemon(daemon).unwrap().pid();
    let open = std::fs::read_dir(Path::new(&format!("/proc/{pid}/fd"))).unwrap().count();
    u64::try_from(open).unwrap()
}

/// The number that the next descriptor of a daemon gets.
fn lowest_free(setup: &Setup, daemon: &str) -> u64 {
    let pid = setup.house.daemon(daemon).unwrap().pid();
    let open = |number: &u64| Path::new(&format!("/proc/{pid}/fd/{number}")).is_symlink();
    (0..=descriptors(setup, daemon)).find(|number| !open(number)).unwrap()
}

#[test]
fn on_a_full_disk_an_upload_is_refused_and_everything_else_goes_on() {
    let setup = prepared();
    let Some(disk) = Disk::at(&setup, "run/vmmd", 16 << 20) else { return };
    let setup = setup.started(&[]);
    let witness = Witness::of(&setup);
    let filled = disk.fill();
    let refused = run(&setup, "late", "chatter.spt", "16");
    assert!(refused.code != Some(0) && refused.err.contains("space"), "{refused:?}");
    // The journal may have room left in its file: then what needs no more of the disk is done.
    for _ in 0..20 {
        let done = run(&setup, "again", "ticker.spt", "16");
        // Or the last one is still about to go, since that could not be written down.
        let said = done.err.contains("space") || done.err.contains("it is stopping");
        assert!(done.code == Some(0) || said, "{done:?}");
        let done = setup.client("admin", &["destroy", "again"]);
        let said = done.err.contains("space") || done.code == Some(4);
        assert!(done.code == Some(0) || said, "{done:?}");
    }
    witness.is_well(&setup);
    drop(filled);
    run(&setup, "late", "chatter.spt", "16").expect(0);
    witness.is_well(&setup);
}

#[test]
fn a_supervisor_does_not_start_on_a_disk_that_it_cannot_write_and_takes_up_its_machines_later() {
    let setup = prepared();
    let Some(disk) = Disk::at(&setup, "run/vmmd", 16 << 20) else { return };
    let mut setup = setup.started(&[]);
    let witness = Witness::of(&setup);
    setup.house.take("vmmd").unwrap().kill().unwrap();
    disk.read_only(true);
    let said = setup.house.start_with("vmmd", &[]).unwrap_err().to_string();
    assert!(said.contains("Read-only file system"), "{said}");
    disk.read_only(false);
    setup.house.start_with("vmmd", &[]).unwrap();
    witness.is_well(&setup);
}

#[test]
fn events_wait_until_the_log_has_room_on_its_disk() {
    let setup = prepared();
    let Some(disk) = Disk::at(&setup, "run/log", 1 << 20) else { return };
    let setup = setup.started(&[]);
    let witness = Witness::of(&setup);
    let filled = disk.fill();
    for _ in 0..20 {
        run(&setup, "late", "ticker.spt", "16").expect(0);
        setup.client("admin", &["destroy", "late"]).expect(0);
    }
    witness.is_well(&setup);
    drop(filled);
    let destroyed = || {
        let log = setup.client("admin", &["--format", "json", "log", "late"]);
        (log.code == Some(0)).then(|| log.out.matches("\"kind\":\"destroyed\"").count())
    };
    wait_until("all events", || destroyed() == Some(20)).unwrap();
    let verified = setup.house.run("vmm-log", &["--verify", "--dir", "run"]).unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn without_descriptors_there_are_no_more_machines_and_no_more_sessions() {
    let setup = prepared().started(&[]);
    let witness = Witness::of(&setup);
    run(&setup, "late", "ticker.spt", "16").expect(0);
    setup.client("admin", &["destroy", "late"]).expect(0);
    let before = Census::of(&setup);

    let most = descriptors(&setup, "vmm-spawn");
    let few = Limited::to(&setup, "vmm-spawn", Resource::Nofile, most + 2);
    let refused = run(&setup, "late", "ticker.spt", "16");
    assert!(refused.expect(6).err.contains("open files"), "{}", refused.err);
    witness.is_well(&setup);
    drop(few);
    run(&setup, "late", "ticker.spt", "16").expect(0);
    setup.client("admin", &["destroy", "late"]).expect(0);

    let quiet = Census::of(&setup);
    let few = Limited::to(&setup, "vmmd", Resource::Nofile, lowest_free(&setup, "vmmd"));
    let mut turned_away = setup.client_started("admin", &["info"]);
    let noticed =
        || std::fs::read_to_string(setup.file("vmmd.err")).unwrap().contains("open files");
    wait_until("a session that is not taken", noticed).unwrap();
    assert_eq!(turned_away.try_wait().unwrap(), None, "it waits to be taken");
    drop(few);
    // Whoever came too early is served later, or was told to come again.
    let code = turned_away.wait().unwrap().code();
    assert!([Some(0), Some(5)].contains(&code), "{code:?}");
    setup.client("admin", &["info"]).expect(0);
    quiet.wait_for_again(&setup);
    witness.is_well(&setup);
    before.wait_for_again(&setup);
}

#[test]
fn without_room_for_another_process_a_machine_is_not_started_and_others_go_on() {
    let setup = prepared().started(&[]);
    let Some(group) = Processes::of(&setup, "vmm-spawn") else { return };
    let witness = Witness::of(&setup);
    group.at_most("1");
    let refused = run(&setup, "late", "ticker.spt", "16");
    assert!(refused.expect(6).err.contains("temporarily unavailable"), "{}", refused.err);
    witness.is_well(&setup);
    group.at_most("max");
    run(&setup, "late", "ticker.spt", "16").expect(0);
    witness.is_well(&setup);
}

#[test]
fn without_memory_a_machine_is_not_started_and_others_go_on() {
    let setup = prepared().started(&[]);
    let witness = Witness::of(&setup);
    let before = Census::of(&setup);
    // What vmm-spawn may not have, the tenders that it starts may not have either.
    let little = Limited::to(&setup, "vmm-spawn", Resource::As, 256 << 20);
    let refused = run(&setup, "late", "ticker.spt", "512");
    assert!(refused.expect(6).err.contains("memory"), "{}", refused.err);
    run(&setup, "small", "ticker.spt", "16").expect(0);
    drop(little);
    run(&setup, "late", "ticker.spt", "512").expect(0);
    for name in ["late", "small"] {
        setup.client("admin", &["destroy", name]).expect(0);
    }
    witness.is_well(&setup);
    before.wait_for_again(&setup);
}
