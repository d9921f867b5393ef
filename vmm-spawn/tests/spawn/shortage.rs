//! No room where the state is, and no rights beyond an ordinary user's.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::geteuid;
use vmm_proto::message::Exit;
use vmm_proto::message::spawn::{FromSpawn, ToSpawn};
use vmm_testkit::{skipped, until};

use crate::harness::{Daemon, PROGRAM, id, program, run_of};
use crate::survive::{lines, told, wait_for};

/// A small file system in memory, for a daemon's directory.
struct Small(PathBuf);

impl Small {
    fn at(path: &Path) -> Self {
        fs::create_dir(path).unwrap();
        mount("none", path, "tmpfs", MountFlags::empty(), c"size=1m,mode=755").unwrap();
        Self(path.to_owned())
    }

    /// Leaves no room.
    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        let filler = self.0.join("filler");
        // Removed, it would take its room as long as a child that another thread starts has it open.
        File::options().write(true).open(&filler).unwrap().set_len(0).unwrap();
        fs::remove_file(filler).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap_or_default();
        // The daemon, which has read there until it was dropped, could not remove it with its directory.
        fs::remove_dir_all(self.0.parent().unwrap()).unwrap_or_default();
    }
}

#[test]
fn without_room_starts_are_refused_output_waits_and_ends_are_kept() {
    if !geteuid().is_root() {
        return skipped("without_room_starts_are_refused: only root can mount a small file system");
    }
    let dir = tempfile::tempdir().unwrap();
    let small = Small::at(&dir.path().join("run"));
    let mut daemon = Daemon::start_at(dir);
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    let step = |name: &str| daemon.dir.path().join(name);
    let (first, second) = (step("first"), step("second"));
    let count = "n=0; while [ $n -lt 6000 ]; do n=$((n+1)); echo \"line $n\"; done\n";
    let script = format!("say ready\n{}\n{count}{}\nexit 4", wait_for(&first), wait_for(&second));
    let image = daemon.image("image", &script);
    supervisor.run(id(1), &image, &[]);
    let (_, ring) = console.ring();

    small.fill();
    supervisor.start(id(2), &image, &[]);
    let reason = supervisor.start_fails(id(2));
    assert!(reason.contains("in the state directory: No space left"), "{reason}");
    assert!(!daemon.place(id(2)).exists());
    fs::write(&first, "").unwrap();
    daemon.logs("cannot keep its console output: No space left");
    drop((supervisor, console));
    daemon.again(None);
    let (mut supervisor, known) = told(&daemon);
    assert!(matches!(known[..], [FromSpawn::Known { pid: Some(_), ready: true, .. }]), "{known:?}");
    small.make_room();
    until("all output", || (ring.written() == lines(6000).len() as u64).then_some(()));
    assert_eq!(ring.text(), lines(6000));

    small.fill();
    fs::write(&second, "").unwrap();
    let (exit, output_end) = supervisor.exit(id(1));
    assert!(matches!(exit, Exit::Code(4) | Exit::Unknown), "{exit:?}");
    assert_eq!(output_end, lines(6000).len() as u64);
    daemon.again(None);
    let (mut supervisor, _) = told(&daemon);
    assert_eq!(supervisor.exit(id(1)), (exit, output_end), "it was kept");
    supervisor.send(&ToSpawn::EndSeen { id: id(1), run: run_of(id(1)) });
    let seen = daemon.place(id(1)).join("seen-1");
    until("it is acknowledged", || seen.exists().then_some(()));
    small.fill();
    supervisor.start(id(1), &image, &[]);
    assert!(supervisor.start_fails(id(1)).contains("No space left"));
    small.make_room();
    supervisor.run(id(1), &image, &[]);
    assert_eq!(supervisor.exit(id(1)).0, Exit::Code(4));
}

/// Runs the tests of survival as another user, with copies of the programs that anyone may run.
#[test]
fn an_ordinary_users_machines_survive_as_well() {
    if !geteuid().is_root() {
        // Then these tests run as an ordinary user in any case.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let [tests, spawn] = ["tests", "vmm-spawn"].map(|name| dir.path().join(name));
    let temporary = dir.path().join("temporary");
    fs::create_dir(&temporary).unwrap();
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o777)).unwrap();
    // Not by this process: what it writes could be open in a child that another thread starts.
    for (from, to) in [(std::env::current_exe().unwrap(), &tests), (program(), &spawn)] {
        assert!(Command::new("cp").args([&from, to]).status().unwrap().success());
    }
    let output = Command::new(&tests)
        .args(["survive::", "killed::"])
        .env(PROGRAM, &spawn)
        .env("TMPDIR", &temporary)
        .current_dir("/")
        .uid(65_533)
        .gid(65_533)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("killed_at_any_moment") && said.contains("0 failed"), "{said}");
}
