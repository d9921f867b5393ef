//! What `packaging/` has fits the programs, and the tools of systemd where they are installed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vmm_testkit::skipped;
use vmm_tests::managed::{activated, packets, unix};
use vmm_tests::setup::{Setup, programs};
use xtask::house::wait_until;

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("packaging")
}

/// The units with this ending: name without it, and text.
fn units(ending: &str) -> Vec<(String, String)> {
    let unit = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(ending)?.to_owned();
        Some((name, std::fs::read_to_string(&path).unwrap()))
    };
    let entries = std::fs::read_dir(packaging().join("systemd")).unwrap();
    let mut units: Vec<_> = entries.filter_map(|entry| unit(entry.unwrap().path())).collect();
    units.sort();
    units
}

/// The values of a setting.
fn values<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    let value = |line: &'u str| line.strip_prefix(key)?.strip_prefix('=');
    unit.lines().filter_map(value).collect()
}

fn value<'u>(unit: &'u str, key: &str) -> Option<&'u str> {
    values(unit, key).first().copied()
}

#[test]
fn each_service_starts_a_program_with_options_that_it_has() {
    let mut services = units(".service");
    // It is nothing but a place for machines.
    services.retain(|(name, _)| name != "vmm-machines");
    assert_eq!(services.len(), 5);
    for (name, unit) in services {
        let mut words = value(&unit, "ExecStart").unwrap().split_whitespace();
        let program = words.next().unwrap().strip_prefix("/usr/bin/").unwrap();
        assert_eq!(program, name);
        let mut arguments: Vec<&str> = words.filter(|word| !word.starts_with('$')).collect();
        // There are no such users here; that they are options is the point.
        for user in ["vmmd", "vmm-console"] {
            for word in arguments.iter_mut().filter(|word| **word == user) {
                *word = "64001";
            }
        }
        arguments.push("--version");
        let path = programs().path(program);
        let done = Command::new(path).args(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{name} {arguments:?}: {said}");
    }
}

#[test]
fn each_socket_is_one_that_its_daemon_takes() {
    let setup = Setup::without_daemons();
    std::fs::create_dir(setup.file("run")).unwrap();
    let sockets = units(".socket");
    assert_eq!(sockets.len(), 6);
    for (name, unit) in sockets {
        let service = value(&unit, "Service").unwrap_or(&name);
        let daemon = service.strip_suffix(".service").unwrap_or(service);
        let stream = value(&unit, "ListenStream");
        let place = stream.or(value(&unit, "ListenSequentialPacket")).unwrap();
        let file = place.strip_prefix("/run/vmm/").map(|file| setup.file("run").join(file));
        let socket = match (&file, stream) {
            (Some(path), Some(_)) => unix(path),
            (Some(path), None) => packets(path),
            (None, _) => OwnedFd::from(TcpListener::bind(setup.house.address).unwrap()),
        };
        if let Some(file) = &file {
            let part = daemon.strip_prefix("vmm-").unwrap_or(daemon);
            assert_eq!(*file, setup.house.socket(part), "{name}");
        }
        let names = value(&unit, "FileDescriptorName").unwrap();
        let started = activated(&setup, daemon, &[&socket], names);
        if daemon == "vmmd" {
            let there = || setup.admin(&["info"]).code == Some(0);
            wait_until("vmmd", there).unwrap();
        }
        started.stop();
        // One that is passed is left for the next.
        assert!(file.as_deref().is_none_or(Path::exists), "{name}");
        file.map(std::fs::remove_file).transpose().unwrap();
    }
}

/// A tool of systemd, unless it is not installed.
fn tool(name: &str) -> Option<Command> {
    match Command::new(name).arg("--version").stdout(Stdio::null()).status() {
        Ok(_) => Some(Command::new(name)),
        Err(error) => {
            skipped(&format!("what {name} says of packaging/: {error}"));
            None
        }
    }
}

/// Runs it; returns what it said.
#[track_caller]
fn run(command: &mut Command) -> String {
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{}: {said}", done.status);
    said
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let Some(mut verify) = tool("systemd-analyze") else { return };
    let dir = tempfile::tempdir().unwrap();
    let bin = programs().path("");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(packaging().join("systemd")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        // It wants programs that are there.
        let text = text.replace("/usr/bin/vmm", &format!("{}vmm", bin.display()));
        let file = dir.path().join(path.file_name().unwrap());
        std::fs::write(&file, text).unwrap();
        files.push(file);
    }
    let units = format!("{}:/usr/lib/systemd/system:/lib/systemd/system", dir.path().display());
    let said = run(verify.args(["verify", "--man=no"]).args(files).env("SYSTEMD_UNIT_PATH", units));
    assert_eq!(said, "");
}

#[test]
fn users_and_directories_are_made_as_the_units_need_them() {
    let Some(mut sysusers) = tool("systemd-sysusers") else { return };
    let Some(mut tmpfiles) = tool("systemd-tmpfiles") else { return };
    if !rustix::process::geteuid().is_root() {
        return skipped("users and directories: only root can give files away");
    }
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    let at = format!("--root={}", root.path().display());
    run(sysusers.arg(&at).arg(packaging().join("sysusers.d/vmm.conf")));
    run(tmpfiles.args([&at, "--create"]).arg(packaging().join("tmpfiles.d/vmm.conf")));
    let users = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    let groups = std::fs::read_to_string(root.path().join("etc/group")).unwrap();
    let known = |table: &str, name: &str| {
        name == "root" || table.lines().any(|line| line.split(':').next() == Some(name))
    };
    for (name, unit) in units(".service").iter().chain(&units(".socket")) {
        for key in ["User", "SocketUser"] {
            assert!(value(unit, key).is_none_or(|user| known(&users, user)), "{name}: {key}");
        }
        for key in ["Group", "SocketGroup", "SupplementaryGroups"] {
            assert!(value(unit, key).is_none_or(|group| known(&groups, group)), "{name}: {key}");
        }
        for word in values(unit, "ExecStart").iter().flat_map(|exec| exec.split_whitespace()) {
            assert!(!word.starts_with("vmm") || known(&users, word), "{name}: {word}");
        }
    }
    for lock in ["vmmd", "console", "log", "stats"] {
        assert!(root.path().join(format!("run/vmm/{lock}.lock")).is_file(), "{lock}");
    }
}
