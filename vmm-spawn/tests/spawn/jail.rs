//! What a machine's process cannot do, whatever it tries: it is a program that means harm, and has
//! nothing to hold it but what `vmm-spawn` puts around it.

use std::fs;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use vmm_proto::message::Exit;
use vmm_proto::message::spawn::{FromSpawn, Start, ToSpawn};
use vmm_testkit::{skipped, until};

use crate::harness::{Daemon, command, id, run_of, start};

/// Names the program where it cannot be built: in an emulated machine.
pub(crate) const HOSTILE: &str = "VMM_HOSTILE";

/// The program, built once.
pub(crate) fn hostile() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(there) = std::env::var_os(HOSTILE) {
            return there.into();
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spawn/hostile.c");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile");
        // Others may be building it now.
        let new = program.with_extension(std::process::id().to_string());
        let mut gcc = Command::new("gcc");
        let built = gcc.args(["-O1", "-Wall", "-Werror", "-o"]).args([&new, &source]).status();
        assert!(built.unwrap().success(), "gcc is needed");
        fs::rename(new, &program).unwrap();
        program
    })
}

/// A daemon whose tender it is.
fn daemon() -> Daemon {
    Daemon::start_with(hostile())
}

/// Whether this is root, whose machines have all of the jail.
fn root() -> bool {
    if geteuid().is_root() {
        return true;
    }
    skipped("parts of the jail that only root can build");
    false
}

/// How one of these ends that does `words`, and what it has said.
fn outcome(daemon: &Daemon, words: &[&str]) -> (Exit, Said) {
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    supervisor.run(id(1), daemon.image("image", ""), words);
    let exit = supervisor.exit(id(1)).0;
    (exit, Said(console.ring().1.text()))
}

/// Lines of something, a colon, and what is said of it.
struct Said(String);

impl Said {
    fn of(&self, what: &str) -> Vec<&str> {
        self.0.lines().filter_map(|line| line.strip_prefix(what)?.strip_prefix(": ")).collect()
    }

    fn one(&self, what: &str) -> &str {
        let [one] = self.of(what)[..] else { panic!("{what}: {}", self.0) };
        one
    }
}

/// The cgroups that there are of the installation in a directory as a whole, one for each hierarchy.
fn homes(dir: &Path) -> Vec<PathBuf> {
    let name = format!("vmm@{}", dir.to_string_lossy().replace('/', "-"));
    let mut left = vec![PathBuf::from("/sys/fs/cgroup")];
    let mut found = Vec::new();
    while let Some(dir) = left.pop() {
        if dir.ends_with(&name) {
            found.push(dir.clone());
        }
        left.extend(directories(&dir));
    }
    found
}

/// The cgroups that there are of an installation: the directories of its machines.
fn cgroups(daemon: &Daemon) -> Vec<PathBuf> {
    homes(&daemon.dir.path().join("run")).iter().flat_map(|home| directories(home)).collect()
}

/// Those in a directory, which may just be gone.
fn directories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let entries = entries.filter(|it| it.file_type().is_ok_and(|it| it.is_dir()));
    entries.map(|it| it.path()).collect()
}

/// Processes of the host, with their user ids.
fn users() -> Vec<(u32, u32)> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let users = processes.filter_map(|entry| {
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.to_owned();
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, ids.split_whitespace().next()?.parse().ok()?))
    });
    users.collect()
}

/// The user id of a process.
fn user_of(pid: u32) -> u32 {
    users().into_iter().find(|(number, _)| *number == pid).unwrap().1
}

#[test]
fn a_machine_sees_nothing_of_the_host_and_can_do_nothing_to_it() {
    let daemon = daemon();
    let outside = format!("vmm-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&outside).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let other = std::process::id().to_string();
    let (exit, said) = outcome(&daemon, &["look", &other, &outside]);
    assert_eq!(exit, Exit::Code(0), "{}", said.0);

    // Its loader and its libraries, which are what it is made of.
    let files = said.of("in /");
    assert!(
        files.iter().all(|it| it.contains("/ld-linux") || it.contains("/libc.so")),
        "{files:?}"
    );
    assert_eq!(files.len(), 2, "{files:?}");
    let number = said.one("ids").split(' ').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(said.one("ids"), [number; 4].map(|it| it.to_string()).join(" "));
    if root() {
        assert!((2_000_000_000..2_010_000_000).contains(&number), "{number}");
        assert_eq!(said.one("groups"), "0");
    } else {
        assert_eq!(number, geteuid().as_raw());
    }
    assert_eq!(said.one("process"), "1, its parent: 0");
    assert_eq!(said.one("host"), "machine");
    assert_eq!(said.one("capabilities"), "0");
    assert_eq!(said.one("no new privileges"), "1");
    assert_eq!(said.one("descriptors"), "128");
    for (attempt, result) in [
        ("a part of the address space", "done"),
        ("all of the address space", "Cannot allocate memory"),
        ("a file of 128 KiB", "done"),
        ("a file of a byte more", "File too large"),
    ] {
        assert_eq!(said.one(attempt), result, "{attempt}");
    }
    let (gone, denied) = ("No such file or directory", "Operation not permitted");
    for (attempt, result) in [
        ("open a file", gone),
        ("make a file", "Read-only file system"),
        ("see processes", gone),
        ("mount", denied),
        ("change root", denied),
        ("become root", "Invalid argument"),
        ("signal another", "No such process"),
        ("signal all", "No such process"),
        ("trace another", "No such process"),
        ("reach the loopback interface", "Network is unreachable"),
        ("reach an abstract socket", "Connection refused"),
        ("set the host's name", denied),
    ] {
        assert_eq!(said.one(attempt), result, "{attempt}");
    }
}

#[test]
fn a_machine_cannot_leave_its_cpus() {
    if !root() {
        return;
    }
    let (_, said) = outcome(&daemon(), &["leave-cpus"]);
    assert_eq!(said.one("leave its CPUs"), "Invalid argument");
    assert_eq!(said.one("CPUs"), "1, the first: yes");
}

#[test]
fn a_machine_of_two_cpus_has_the_time_of_one() {
    if !root() {
        return;
    }
    let daemon = daemon();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "");
    let start = Start { cpus: vec![0, 1], ..start(id(1), &["wait"]) };
    supervisor.send_with(&ToSpawn::Start(start), &[image.as_fd()]);
    assert!(matches!(supervisor.next(), FromSpawn::Started { .. }));
    let own = format!("{}-{}", id(1), run_of(id(1)));
    let said = |name: &str| {
        let files = cgroups(&daemon).into_iter().filter(|dir| dir.ends_with(&own));
        let said = files.filter_map(|dir| fs::read_to_string(dir.join(name)).ok());
        said.collect::<Vec<_>>()
    };
    // Of every tenth of a second, a tenth: with cgroups of version 2, or of version 1.
    let time = [said("cpu.max"), said("cpu.cfs_quota_us"), said("cpu.cfs_period_us")];
    let second = ["100000 100000\n"].as_slice();
    let first = ["100000\n"].as_slice();
    assert!(time == [second, &[], &[]] || time == [&[], first, first], "{time:?}");
    supervisor.send(&ToSpawn::Stop { id: id(1), run: run_of(id(1)), force: true });
    supervisor.exit(id(1));
    nothing_is_left(&daemon, &[]);
}

#[test]
fn a_machine_that_multiplies_comes_to_an_end_and_leaves_nothing() {
    if !root() {
        return;
    }
    let daemon = daemon();
    let (exit, said) = outcome(&daemon, &["multiply"]);
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(said.one("processes"), "16, then: Resource temporarily unavailable");
    nothing_is_left(&daemon, &[]);
}

#[test]
fn a_machine_that_takes_more_memory_than_it_has_is_reported_as_such() {
    if !root() {
        return;
    }
    let daemon = daemon();
    let (exit, said) = outcome(&daemon, &["eat"]);
    assert_eq!(exit, Exit::OutOfMemory, "{}", said.0);
    nothing_is_left(&daemon, &[]);
}

/// There is no cgroup of this installation but these, which may take a moment.
fn nothing_is_left(daemon: &Daemon, but: &[PathBuf]) {
    until("no cgroup is left", || (cgroups(daemon) == but).then_some(()));
}

#[test]
fn machines_that_run_have_users_and_cgroups_of_their_own_and_give_them_back() {
    if !root() {
        return;
    }
    let daemon = daemon();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "");
    let pids = [1, 2, 3].map(|number| supervisor.run(id(number), &image, &["wait"]));
    let mut users = pids.map(user_of).to_vec();
    users.dedup();
    assert_eq!(users.len(), 3, "{users:?}");
    let is_set =
        |dir: &PathBuf| dir.file_name().is_some_and(|it| it.to_string_lossy().contains("cpus@"));
    let (sets, own): (Vec<_>, Vec<_>) = cgroups(&daemon).into_iter().partition(is_set);
    for (pid, number) in pids.into_iter().zip(1..) {
        let name = format!("{}-{}", id(number), run_of(id(number)));
        let of_this: Vec<_> = own.iter().filter(|dir| dir.ends_with(&name)).collect();
        assert_eq!(of_this.len() * 3, own.len(), "{own:?}");
        for dir in of_this {
            let inside = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
            assert_eq!(inside, format!("{pid}\n"), "{dir:?}");
        }
    }
    // All of them have the same CPUs.
    for set in &sets {
        assert_eq!(fs::read_to_string(set.join("cpuset.cpus")).unwrap(), "0\n");
        let inside = fs::read_to_string(set.join("cgroup.procs")).unwrap();
        assert_eq!(inside.lines().count(), pids.len(), "{inside}");
    }
    for (number, force) in [(1, true), (2, true)] {
        supervisor.send(&ToSpawn::Stop { id: id(number), run: run_of(id(number)), force });
        assert_eq!(supervisor.exit(id(number)).0, Exit::Signal(9));
    }
    let third = format!("{}-{}", id(3), run_of(id(3)));
    let of_third = |dir: &PathBuf| dir.ends_with(&third) || sets.contains(dir);
    until("only those of the third are left", || {
        let left = cgroups(&daemon);
        (left.len() == own.len() / 3 + sets.len() && left.iter().all(of_third)).then_some(())
    });
    supervisor.send(&ToSpawn::Stop { id: id(3), run: run_of(id(3)), force: true });
    supervisor.exit(id(3));
    nothing_is_left(&daemon, &[]);
}

#[test]
fn what_a_crash_leaves_is_removed_by_the_next_and_another_installations_is_not() {
    if !root() {
        return;
    }
    let other = daemon();
    let mut others = other.supervisor();
    let survivor = others.run(id(7), other.image("image", ""), &["wait"]);
    let kept = cgroups(&other);

    let mut crashed = daemon();
    let mut supervisor = crashed.supervisor();
    let pid = supervisor.run(id(1), crashed.image("image", ""), &["wait"]);
    assert!(!cgroups(&crashed).is_empty());
    crashed.kill();
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let mut next = command(&crashed.dir.path().join("run"));
    next.arg("--tender").arg(hostile()).stderr(std::process::Stdio::null());
    let mut next = next.spawn().unwrap();
    nothing_is_left(&crashed, &[]);
    let number = Pid::from_child(&next);
    kill_process(number, Signal::TERM).unwrap();
    assert!(next.wait().unwrap().success());

    assert_eq!(cgroups(&other), kept);
    assert!(user_of(survivor) >= 2_000_000_000);
}

#[test]
fn a_machine_that_outlives_vmm_spawn_keeps_its_user_and_its_cgroups() {
    if !root() {
        return;
    }
    let mut daemon = daemon();
    let pid = daemon.supervisor().run(id(1), daemon.image("image", ""), &["wait"]);
    let (user, kept) = (user_of(pid), cgroups(&daemon));
    daemon.again(None);
    let mut supervisor = daemon.supervisor();
    assert!(matches!(supervisor.next(), FromSpawn::Known { pid: Some(_), .. }));
    assert_eq!((user_of(pid), cgroups(&daemon)), (user, kept));
    let other = supervisor.run(id(2), daemon.image("image", ""), &["wait"]);
    assert_ne!(user_of(other), user);
    for number in [1, 2] {
        supervisor.send(&ToSpawn::Stop { id: id(number), run: run_of(id(number)), force: true });
        supervisor.exit(id(number));
    }
    nothing_is_left(&daemon, &[]);
}

#[test]
fn an_installation_that_ends_leaves_no_cgroup() {
    if !root() {
        return;
    }
    let mut daemon = Daemon::start_with_options(hostile(), &["--stop-machines"]);
    let mut supervisor = daemon.supervisor();
    supervisor.run(id(1), daemon.image("image", ""), &["wait"]);
    let run = daemon.dir.path().join("run");
    assert!(!homes(&run).is_empty());
    daemon.signal(Signal::TERM);
    assert!(daemon.ended().success());
    assert!(homes(&run).is_empty());
}

#[test]
fn whoever_requires_the_jail_gets_all_of_it_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    // Not all of it: machines see the host's files.
    let output = command(&run)
        .args(["--require-jail", "--machine-root", "/", "--tender", "/bin/sh"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("--require-jail is given, and not all of the jail"), "{said}");
    assert!(said.contains("its root directory is not empty"), "{said}");
    assert!(homes(&run).is_empty());
    let missing = daemon().supervisor().jail;
    if missing.is_empty() {
        let daemon = Daemon::start_with_options(hostile(), &["--require-jail"]);
        let (exit, said) = outcome(&daemon, &["required"]);
        assert_eq!((exit, said.one("all of the jail")), (Exit::Code(0), "required"));
        assert_eq!(daemon.supervisor().jail, [""; 0]);
        return;
    }
    // Not even root gets all of it on this host, for reasons which are then all there are.
    let dir = tempfile::tempdir().unwrap();
    let mut refused = command(&dir.path().join("run"));
    let refused = refused.arg("--require-jail").arg("--tender").arg(hostile()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(missing.iter().all(|part| said.contains(part)), "{missing:?}: {said}");
}

#[test]
fn user_ids_of_another_installation_are_refused() {
    if !root() {
        return;
    }
    // Another run of these tests on this host has others.
    let first = 1_900_000_000 + std::process::id() % 90_000 * 1000;
    let ids = format!("{first}-{}", first + 999);
    let range = ["--uids", &ids];
    let _first = Daemon::start_with_options(hostile(), &range);
    let dir = tempfile::tempdir().unwrap();
    let second =
        command(&dir.path().join("run")).args(range).arg("--tender").arg(hostile()).output();
    let said = String::from_utf8_lossy(&second.unwrap().stderr).into_owned();
    assert!(said.contains(&format!("{ids} are in use by another vmm-spawn")), "{said}");
}

#[test]
fn a_script_is_no_tender_without_a_root_directory_that_has_what_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).unwrap();
    let run = dir.path().join("run");
    let output = command(&run).arg("--tender").arg(&script).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--machine-root DIR gives machines another"), "{said}");
    assert!(homes(&run).is_empty());
}
