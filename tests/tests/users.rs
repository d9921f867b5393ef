//! Every daemon as a user of its own, and only `vmm-spawn` as root.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::os::unix::fs::{PermissionsExt, chown};

use vmm_testkit::skipped;
use vmm_tests::links;
use vmm_tests::setup::{Setup, programs};
use xtask::house::{DAEMONS, wait_until};

/// The group of all daemons, and a user for each but `vmm-spawn`: numbers that no host gives away.
const GROUP: u32 = 64_000;
const SUPERVISOR: u32 = 64_001;
const CONSOLE: u32 = 64_002;
const LOG: u32 = 64_003;
const STATS: u32 = 64_004;

fn user_of(name: &str) -> Option<u32> {
    match name {
        "vmm-console" => Some(CONSOLE),
        "vmm-log" => Some(LOG),
        "vmm-stats" => Some(STATS),
        "vmmd" => Some(SUPERVISOR),
        _ => None,
    }
}

/// Everything in place as packages put it there.
fn installed() -> Option<Setup> {
    if !rustix::process::geteuid().is_root() {
        skipped("daemons as users of their own: only root can start them");
        return None;
    }
    let setup = Setup::with_programs(|dir| programs().copied_to(&dir.join("bin")).unwrap());
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(setup.dir(), mode(0o755)).unwrap();
    std::fs::create_dir(setup.file("run")).unwrap();
    chown(setup.file("run"), None, Some(GROUP)).unwrap();
    std::fs::set_permissions(setup.file("run"), mode(0o770)).unwrap();
    chown(setup.file("server.key"), Some(SUPERVISOR), Some(GROUP)).unwrap();
    setup.delegate("ca.db", "cacert.pem", "ca.key", "dev", &["2", "1024", "--cpu", "0"]);
    setup.leaf("dev", "admin", &["--permission", "all"]);
    Some(setup)
}

fn start(setup: &mut Setup, name: &str) {
    let (supervisor, console) = (SUPERVISOR.to_string(), CONSOLE.to_string());
    let group = GROUP.to_string();
    let mut more = vec![];
    if name != "vmmd" {
        more.extend(["--supervisor-user", &supervisor, "--socket-group", &group]);
    }
    if name == "vmm-spawn" {
        more.extend(["--console-user", &console]);
    }
    let user = user_of(name).map(|user| (user, GROUP));
    setup.house.start_as(name, user, &more).unwrap();
}

#[test]
fn all_but_vmm_spawn_work_as_users_without_privileges() {
    let Some(mut setup) = installed() else { return };
    for name in DAEMONS {
        start(&mut setup, name);
    }
    wait_until("all daemons know each other", || links::are_made(&setup.house)).unwrap();
    for name in DAEMONS {
        let pid = setup.house.daemon(name).unwrap().pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = |key: &str| {
            let rest = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            rest.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let user = user_of(name).unwrap_or(0).to_string();
        assert_eq!(line("Uid:"), vec![user; 4], "{name}");
        if user_of(name).is_some() {
            assert_eq!(line("CapEff:"), ["0000000000000000"], "{name}");
            assert!(line("Groups:").is_empty(), "{name}");
        }
    }

    let run = ["run", "tick", "ticker.spt", "--memory", "64", "--cpu", "0", "--", "--every", "10"];
    setup.client("dev", &run).expect(0);
    let lines = |setup: &Setup| {
        setup.client("admin", &["attach", "tick", "--no-follow"]).expect(0).out.clone()
    };
    wait_until("output", || lines(&setup).contains("tick 3")).unwrap();
    let used = |setup: &Setup| {
        let done = setup.client("admin", &["--format", "json", "statistics", "tick"]);
        done.code == Some(0) && done.out.contains("resident")
    };
    wait_until("samples", || used(&setup)).unwrap();

    // Each may be replaced, and the others take the new one.
    for name in ["vmm-console", "vmm-log", "vmm-stats"] {
        setup.house.take(name).unwrap().kill().unwrap();
        start(&mut setup, name);
    }
    assert!(lines(&setup).contains("tick 1\n"));
    wait_until("samples of the new one", || used(&setup)).unwrap();
    setup.client("admin", &["stop", "tick"]).expect(0);
    let stopped = || {
        let log = setup.json("admin", &["log", "tick"]);
        log.as_array().unwrap().iter().any(|record| record["kind"] == "stopped")
    };
    wait_until("its end in the log", stopped).unwrap();
    setup.client("admin", &["destroy", "tick"]).expect(0);
}

#[test]
fn who_is_not_named_is_turned_away() {
    let Some(mut setup) = installed() else { return };
    // The users' roles are the wrong way round.
    let (supervisor, console) = (SUPERVISOR.to_string(), CONSOLE.to_string());
    let group = GROUP.to_string();
    let access = ["--socket-group", &group, "--supervisor-user", &console, "--console-user"];
    setup.house.start_as("vmm-spawn", None, &[&access[..], &[&supervisor]].concat()).unwrap();
    let access = ["--socket-group", &group];
    setup.house.start_as("vmm-log", Some((LOG, GROUP)), &access).unwrap();
    for name in ["vmm-stats", "vmm-console", "vmmd"] {
        start(&mut setup, name);
    }
    let said = |name: &str| std::fs::read_to_string(setup.file(&format!("{name}.err"))).unwrap();
    let says = |name: &str, words: &str| {
        let there = || said(name).contains(words);
        wait_until(words, there).unwrap_or_else(|error| panic!("{error}: {}", said(name)));
    };
    says("vmm-spawn", &format!("user {SUPERVISOR} may not be the Supervisor here"));
    says("vmm-spawn", &format!("user {CONSOLE} may not be the Console here"));
    says("vmm-log", "not a user of this socket");
    let run = ["run", "hello", "hello.spt", "--memory", "64", "--cpu", "0"];
    let refused = setup.client("dev", &run);
    assert!(refused.expect(1).err.contains("vmm-spawn"), "{}", refused.err);
}
