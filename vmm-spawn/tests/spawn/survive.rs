//! `vmm-spawn` dies, and another one goes on: with what runs, with what was written, with what has
//! ended, and with what was known.

use std::fs;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use vmm_proto::message::Exit;
use vmm_proto::message::spawn::{FromSpawn, ToSpawn};
use vmm_testkit::until;

use crate::harness::{Client, Daemon, id, run_of, start};

/// Prints numbered lines and says when it has printed the last.
pub(crate) const LINES: &str = "say ready; n=0
    while [ $n -lt $1 ]; do n=$((n+1)); echo \"line $n\"; [ $# -lt 2 ] || /bin/sleep $2; done
    exit 3";

pub(crate) fn lines(count: u32) -> String {
    (1..=count).fold(String::new(), |text, number| text + &format!("line {number}\n"))
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.try_into().unwrap()).unwrap()
}

/// Waits until there is no such process any more.
fn is_gone(what: &str, process: Pid) {
    until(what, || test_kill_process(process).is_err().then_some(()));
}

/// What a supervisor that has just joined is told.
pub(crate) fn told(daemon: &Daemon) -> (Client, Vec<FromSpawn>) {
    let mut supervisor = daemon.supervisor();
    let known = supervisor.known;
    let messages = (0..known).map(|_| supervisor.next()).collect();
    (supervisor, messages)
}

/// What a script waits with until a file is there.
pub(crate) fn wait_for(file: &Path) -> String {
    format!("while [ ! -e {} ]; do /bin/sleep 0.01; done", file.display())
}

/// A machine that says "before", waits for a file, says "after" and ends with 7; and the file.
fn waits_for_a_file(daemon: &Daemon) -> (File, PathBuf) {
    let go = daemon.dir.path().join("go");
    let script = format!("say ready; echo before; {}; echo after; exit 7", wait_for(&go));
    (daemon.image("image", &script), go)
}

#[test]
fn a_machine_runs_on_and_its_output_and_its_end_are_whole() {
    let mut daemon = Daemon::start();
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    let (image, go) = waits_for_a_file(&daemon);
    let number = supervisor.run(id(1), &image, &[]);
    let (_, ring) = console.ring();
    until("the first line", || (ring.text() == "before\n").then_some(()));

    daemon.again(None);
    let (mut supervisor, known) = told(&daemon);
    assert_eq!(known, [FromSpawn::Known { id: id(1), run: 1, pid: Some(number), ready: true }]);
    let mut console = daemon.console();
    let (_, again) = console.ring();
    fs::write(&go, "").unwrap();
    let (exit, output_end) = supervisor.exit(id(1));
    // Linux tells from 6.15 on how a process ended that is another's child.
    assert!(matches!(exit, Exit::Code(7) | Exit::Unknown), "{exit:?}");
    assert_eq!(again.text(), "before\nafter\n");
    assert_eq!(ring.text(), again.text(), "it is the same ring");
    assert_eq!(output_end, 13);
    supervisor.send(&ToSpawn::EndSeen { id: id(1), run: 1 });
    supervisor.run(id(1), daemon.image("next", "say ready; echo next"), &[]);
    assert_eq!(supervisor.exit(id(1)), (Exit::Code(0), 18));
}

#[test]
fn told_to_end_it_leaves_machines_running_for_the_next() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start();
        let mut supervisor = daemon.supervisor();
        let image = daemon.image("image", "say ready; exec /bin/sleep 1000");
        let number = supervisor.run(id(1), &image, &[]);
        daemon.signal(signal);
        assert_eq!(daemon.ended().code(), Some(0));
        assert!(!daemon.socket().exists());
        test_kill_process(pid(number)).unwrap();
        daemon.again(None);
        let (mut supervisor, known) = told(&daemon);
        assert!(matches!(known[..], [FromSpawn::Known { pid: Some(same), .. }] if same == number));
        supervisor.send(&ToSpawn::Stop { id: id(1), run: run_of(id(1)), force: true });
        assert!(matches!(supervisor.exit(id(1)).0, Exit::Signal(9) | Exit::Unknown));
    }
}

#[test]
fn what_is_written_and_ends_while_no_vmm_spawn_lives_arrives_when_somebody_holds_it() {
    let mut daemon = Daemon::start();
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    let (image, go) = waits_for_a_file(&daemon);
    let number = supervisor.run(id(1), &image, &[]);
    let (_, ring) = console.ring();
    daemon.kill();
    fs::write(&go, "").unwrap();
    is_gone("it ends", pid(number));
    daemon.again(None);
    for _ in 0..2 {
        let (mut supervisor, known) = told(&daemon);
        assert_eq!(known, [FromSpawn::Known { id: id(1), run: 1, pid: None, ready: false }]);
        assert_eq!(supervisor.exit(id(1)), (Exit::Unknown, 13));
        assert_eq!(ring.text(), "before\nafter\n");
        // Not acknowledged, it is told again, to whoever asks whomever.
        daemon.again(None);
    }
    let (mut supervisor, _) = told(&daemon);
    supervisor.exit(id(1));
    supervisor.send(&ToSpawn::EndSeen { id: id(1), run: 1 });
    let probe = daemon.image("probe", "say ready");
    supervisor.run(id(2), &probe, &[]);
    supervisor.exit(id(2));
    daemon.again(None);
    let (mut supervisor, known) = told(&daemon);
    assert_eq!(known.len(), 2);
    assert_eq!(supervisor.exit(id(2)).0, Exit::Code(0));
    assert!(supervisor.receive_now().is_err(), "the acknowledged end is not told again");
}

#[test]
fn a_start_that_was_given_is_known_and_refused_after_a_restart_too() {
    let mut daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready; exit 3");
    let first = ToSpawn::Start(start(id(1), &[]));
    supervisor.send_with(&first, &[image.as_fd()]);
    assert!(matches!(supervisor.next(), FromSpawn::Started { .. }));
    let exited = supervisor.next();
    daemon.again(None);
    let (mut supervisor, _) = told(&daemon);
    assert_eq!(supervisor.next(), exited, "with status and resource use");
    supervisor.send(&ToSpawn::EndSeen { id: id(1), run: 1 });
    supervisor.run(id(9), &image, &[]);
    supervisor.exit(id(9));
    daemon.again(None);
    let (mut supervisor, _) = told(&daemon);
    supervisor.exit(id(9));
    supervisor.send_with(&first, &[image.as_fd()]);
    assert_eq!(supervisor.start_fails(id(1)), "start 1 of it was given before: the last one was 1");
    supervisor.run(id(1), &image, &[]);
}

#[test]
fn a_start_goes_on_and_its_failure_is_told() {
    let mut daemon = Daemon::start();
    let supervisor = daemon.supervisor();
    let go = daemon.dir.path().join("go");
    let wait = wait_for(&go);
    supervisor.start(id(1), daemon.image("good", &format!("{wait}; say ready; exit 0")), &[]);
    supervisor.start(id(2), daemon.image("bad", &format!("{wait}; say no; exit 1")), &[]);
    daemon.logs("starting id=02020202");
    daemon.again(None);
    let (mut supervisor, known) = told(&daemon);
    assert!(
        known
            .iter()
            .all(|known| matches!(known, FromSpawn::Known { pid: Some(_), ready: false, .. })),
        "{known:?}"
    );
    fs::write(&go, "").unwrap();
    let mut messages = [supervisor.next(), supervisor.next(), supervisor.next()];
    messages.sort_by_key(|message| match message {
        FromSpawn::Started { .. } => 0,
        FromSpawn::Exited { .. } => 1,
        _ => 2,
    });
    assert!(matches!(&messages[0], FromSpawn::Started { run: 1, .. }), "{messages:?}");
    assert!(matches!(&messages[1], FromSpawn::Exited { run: 1, .. }), "{messages:?}");
    assert!(
        matches!(&messages[2], FromSpawn::StartFailed { reason, .. } if reason == "no"),
        "{messages:?}"
    );
}

#[test]
fn of_a_start_that_failed_while_nobody_was_there_the_reason_is_kept() {
    let mut daemon = Daemon::start();
    let supervisor = daemon.supervisor();
    let go = daemon.dir.path().join("go");
    let wait = wait_for(&go);
    supervisor.start(id(1), daemon.image("bad", &format!("{wait}; say no; exit 1")), &[]);
    daemon.logs("starting id=01010101");
    let machine = until("its birth", || daemon.machines().pop()).pid;
    daemon.kill();
    fs::write(&go, "").unwrap();
    is_gone("it ends", machine);
    daemon.again(None);
    let (mut supervisor, _) = told(&daemon);
    assert_eq!(supervisor.start_fails(id(1)), "no");
    supervisor.send(&ToSpawn::EndSeen { id: id(1), run: 1 });
    until("nothing is left", || (!daemon.place(id(1)).exists()).then_some(()));
}

#[test]
fn a_process_with_the_same_number_is_not_taken_for_a_machine() {
    let mut daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready; exec /bin/sleep 1000");
    supervisor.run(id(1), &image, &[]);
    daemon.kill();
    // As if the machine's number were that of a process which began later.
    let birth = daemon.place(id(1)).join("birth-1");
    let line = fs::read_to_string(&birth).unwrap();
    let born = daemon.machines().pop().unwrap();
    let changed = line.replace(&format!(" {} ", born.began), &format!(" {} ", born.began + 1));
    assert_ne!(line, changed);
    fs::write(&birth, changed).unwrap();
    daemon.again(None);
    let (mut supervisor, known) = told(&daemon);
    assert!(matches!(known[..], [FromSpawn::Known { pid: None, .. }]), "{known:?}");
    assert_eq!(supervisor.exit(id(1)).0, Exit::Unknown);
    supervisor.send(&ToSpawn::Forget { id: id(1) });
    until("it is forgotten", || (!daemon.place(id(1)).exists()).then_some(()));
    test_kill_process(born.pid).unwrap();
    kill_process(born.pid, Signal::KILL).unwrap();
}

/// Damages a machine's directory in each way.
#[test]
fn what_is_damaged_is_ended_and_set_aside_and_the_others_go_on() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 8] = [
        ("an empty record", |place| fs::write(place.join("run"), "").unwrap()),
        ("no record", |place| fs::remove_file(place.join("run")).unwrap()),
        ("another version", |place| fs::write(place.join("run"), "vmm-spawn 9\nend\n").unwrap()),
        ("a short ring", |place| {
            File::options().write(true).open(place.join("ring")).unwrap().set_len(100).unwrap();
        }),
        ("a ring of nonsense", |place| fs::write(place.join("ring"), vec![7; 266_240]).unwrap()),
        ("no console", |place| fs::remove_file(place.join("console")).unwrap()),
        ("a linked stage", |place| {
            fs::remove_file(place.join("stage")).unwrap();
            symlink("console", place.join("stage")).unwrap();
        }),
        ("a report of nonsense", |place| fs::write(place.join("end-1"), "x").unwrap()),
    ];
    let mut daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready; exec /bin/sleep 1000");
    let census = daemon.census();
    let whole = supervisor.run(id(200), &image, &[]);
    let mut numbers = Vec::new();
    for number in 0..8 {
        numbers.push(supervisor.run(id(number), &image, &[]));
    }
    daemon.kill();
    for (number, (_, damage)) in (0..).zip(damages) {
        damage(&daemon.place(id(number)));
    }
    fs::create_dir(daemon.dir.path().join("run/spawn/foreign")).unwrap();
    daemon.again(None);
    let (mut supervisor, known) = told(&daemon);
    assert_eq!(
        known,
        [FromSpawn::Known { id: id(200), run: 1, pid: Some(whole), ready: true }],
        "{}",
        daemon.log()
    );
    for (number, (what, _)) in numbers.into_iter().zip(damages) {
        is_gone(&format!("{what}: its process ends"), pid(number));
    }
    let aside = fs::read_dir(daemon.dir.path().join("run/spawn/aside")).unwrap().count();
    assert_eq!(aside, 9);
    // Each can be started anew.
    for number in 0..8 {
        supervisor.run(id(number), &image, &[]);
        supervisor.send(&ToSpawn::Forget { id: id(number) });
        supervisor.exit(id(number));
    }
    supervisor.send(&ToSpawn::Forget { id: id(200) });
    supervisor.exit(id(200));
    drop(supervisor);
    let _back = daemon.supervisor();
    daemon.comes_back_to(census);
}

#[test]
fn what_another_boot_has_left_is_forgotten() {
    let mut daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready; exec /bin/sleep 1000");
    let number = supervisor.run(id(1), &image, &[]);
    daemon.kill();
    fs::write(daemon.dir.path().join("run/spawn/host"), "another boot").unwrap();
    daemon.again(None);
    assert_eq!(told(&daemon).1, []);
    assert!(!daemon.place(id(1)).exists());
    kill_process(pid(number), Signal::KILL).unwrap();
}

#[test]
fn after_restarts_nothing_is_left_that_was_not_there_before() {
    let mut daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let mut console = daemon.console();
    let census = daemon.census();
    let image = daemon.image("image", LINES);
    for number in 0..20 {
        supervisor.run(id(number), &image, &["5"]);
        console.ring();
        supervisor.exit(id(number));
    }
    daemon.again(None);
    let (mut supervisor, known) = told(&daemon);
    assert_eq!(known.len(), 20);
    let mut console = daemon.console();
    for number in 0..20 {
        assert_eq!(console.ring().1.text(), lines(5));
        supervisor.exit(id(number));
        supervisor.send(&ToSpawn::EndSeen { id: id(number), run: run_of(id(number)) });
        supervisor.send(&ToSpawn::Forget { id: id(number) });
    }
    daemon.comes_back_to(census);
    let left = fs::read_dir(daemon.dir.path().join("run/spawn")).unwrap().count();
    assert_eq!(left, 1, "the host's name alone");
}
