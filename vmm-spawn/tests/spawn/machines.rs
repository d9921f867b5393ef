//! Starting machines, and how starts fail.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use vmm_proto::message::Exit;
use vmm_proto::message::spawn::{FromSpawn, ToSpawn};
use vmm_testkit::until;

use crate::harness::{Daemon, id, run_of, start};

#[test]
fn a_machine_runs_and_its_status_and_whole_output_arrive() {
    let daemon = Daemon::start();
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready; echo \"mem $memory\"; echo $1 $2 >&2; exit 3");
    supervisor.run(id(1), &image, &["a b", "--c"]);
    let (exit, output_end) = supervisor.exit(id(1));
    let (known, ring) = console.ring();
    assert_eq!(known, id(1));
    assert_eq!(exit, Exit::Code(3));
    assert_eq!(ring.text(), "mem 32\na b --c\n");
    assert_eq!(output_end, 15);
}

#[test]
fn started_again_it_writes_on_to_the_same_ring() {
    let daemon = Daemon::start();
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready; echo $1");
    supervisor.run(id(1), &image, &["one"]);
    assert_eq!(supervisor.exit(id(1)), (Exit::Code(0), 4));
    supervisor.run(id(1), &image, &["three"]);
    assert_eq!(supervisor.exit(id(1)), (Exit::Code(0), 10));
    assert_eq!(console.ring().1.text(), "one\nthree\n");
    supervisor.send(&ToSpawn::Forget { id: id(1) });
    assert_eq!(console.next(), FromSpawn::RingGone { id: id(1) });
}

#[test]
fn what_a_machine_used_is_reported() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let script = "say ready; n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done";
    supervisor.run(id(1), daemon.image("image", script), &[]);
    let FromSpawn::Exited { user_us, system_us, max_resident_kib, .. } = supervisor.next() else {
        panic!("it has not ended")
    };
    assert!((1_000..60_000_000).contains(&(user_us + system_us)), "{user_us} {system_us}");
    assert!((100..1_000_000).contains(&max_resident_kib), "{max_resident_kib}");
}

#[test]
fn a_machine_inherits_nothing_but_what_is_its_own() {
    // Whoever starts the daemon may have left something open.
    let left_open = File::open("/proc/self/environ").unwrap();
    fcntl_setfd(&left_open, FdFlags::empty()).unwrap();
    let daemon = Daemon::start();
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    // Others have descriptors in the daemon meanwhile.
    let idle = daemon.image("idle", "say ready; while :; do /bin/sleep 60; done");
    supervisor.run(id(9), &idle, &[]);
    console.ring();
    let script = "/bin/ls -l /proc/self/fd >/dev/null; say ready
        /bin/ls -l /proc/self/fd | while read -r a b c d e f g h fd arrow target; do
            [ -z \"$target\" ] || echo \"$fd $target\"; done
        echo \"environment: $(/usr/bin/tr '\\0' ' ' < /proc/self/environ)\"
        echo \"directory: $(/bin/pwd)\"
        /bin/grep -E 'Cpus_allowed_list|SigBlk' /proc/self/status; exit 0";
    let image = daemon.image("image", script);
    supervisor.run(id(1), &image, &[]);
    assert_eq!(supervisor.exit(id(1)).0, Exit::Code(0));
    let text = console.ring().1.text();
    let (descriptors, rest): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    let count = |what: &str| descriptors.iter().filter(|line| line.contains(what)).count();
    // Standard input and error; the image; the status; output of ls, and the directory it reads.
    assert_eq!(count("/stage"), 1, "{text}");
    assert_eq!(count("/console"), 1, "{text}");
    assert_eq!(count("/image"), 1, "{text}");
    assert_eq!(count("/status-1"), 1, "{text}");
    assert_eq!(count("pipe:"), 1, "{text}");
    assert_eq!(count("/fd"), 1, "{text}");
    assert_eq!(descriptors.len(), 6, "{text}");
    let expected =
        ["environment: ", "directory: /", "SigBlk:\t0000000000000000", "Cpus_allowed_list:\t0"];
    assert_eq!(rest, expected, "{text}");
}

#[test]
fn asked_to_stop_it_gets_sigterm_and_forced_it_gets_sigkill() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let idle = "while :; do /bin/sleep 0.01; done";
    let polite = daemon.image("polite", &format!("trap 'exit 7' TERM; say ready; {idle}"));
    let deaf = daemon.image("deaf", &format!("trap '' TERM; say ready; {idle}"));

    supervisor.run(id(2), &polite, &[]);
    supervisor.send(&ToSpawn::Stop { id: id(2), run: run_of(id(2)), force: false });
    assert_eq!(supervisor.exit(id(2)).0, Exit::Code(7));
    supervisor.run(id(3), &deaf, &[]);
    supervisor.send(&ToSpawn::Stop { id: id(3), run: run_of(id(3)), force: false });
    supervisor.send(&ToSpawn::Stop { id: id(3), run: run_of(id(3)), force: true });
    assert_eq!(supervisor.exit(id(3)).0, Exit::Signal(9));
}

#[test]
fn a_signal_from_elsewhere_is_reported() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready; exec /bin/sleep 1000");
    let pid = supervisor.run(id(1), &image, &[]);
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(supervisor.exit(id(1)).0, Exit::Signal(9));
}

/// Is ended from outside: the first process of a namespace cannot do that itself.
const KILLED: &str = "exec /bin/sleep 1000";

#[test]
fn why_a_start_failed_is_told_and_nothing_is_left() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let mut console = daemon.console();
    let census = daemon.census();
    let cases = [
        ("say 'not a valid image: too small'; exit 1", "not a valid image: too small"),
        ("exit 4", "its tender ended with status 4 and gave no reason"),
        (KILLED, "its tender was ended by signal 9"),
        ("say readiness; exit 0", "readiness"),
    ];
    for (script, expected) in cases {
        supervisor.start(id(1), daemon.image("image", script), &[]);
        if script == KILLED {
            let pid = until("it is there", || Some(daemon.machines().first()?.pid));
            kill_process(pid, Signal::KILL).unwrap();
        }
        assert_eq!(supervisor.start_fails(id(1)), expected);
        supervisor.send(&ToSpawn::EndSeen { id: id(1), run: run_of(id(1)) });
        assert_eq!(console.ring().0, id(1));
        assert_eq!(console.next(), FromSpawn::RingGone { id: id(1) });
        daemon.comes_back_to(census);
        assert!(!daemon.place(id(1)).exists());
    }
}

#[test]
fn a_failed_start_of_a_machine_that_ran_before_keeps_its_console() {
    let daemon = Daemon::start();
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    supervisor.run(id(1), daemon.image("good", "say ready; echo kept"), &[]);
    supervisor.exit(id(1));
    supervisor.start(id(1), daemon.image("bad", "say no"), &[]);
    assert_eq!(supervisor.start_fails(id(1)), "no");
    let (_, ring) = console.ring();
    assert_eq!(ring.text(), "kept\n");
    assert!(console.receive_now().is_err(), "the ring is not gone");
}

#[test]
fn a_tender_that_says_nothing_or_too_much_is_ended() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let census = daemon.census();
    // One at a time would take as long twice.
    let slow = daemon.image("slow", "exec /bin/sleep 1000");
    let chatty = daemon.image("chatty", "while :; do echo 'wait for me'; done >&$status");
    supervisor.start(id(1), &slow, &[]);
    supervisor.start(id(2), &chatty, &[]);
    let mut reasons = [supervisor.next(), supervisor.next()].map(|message| match message {
        FromSpawn::StartFailed { id, reason, .. } => (id, reason),
        other => panic!("{other:?}"),
    });
    reasons.sort();
    let late = "its guest did not run within 10 s";
    let much = "its tender said more than it should";
    assert_eq!(reasons, [(id(1), late.to_owned()), (id(2), much.to_owned())]);
    for id in [id(1), id(2)] {
        supervisor.send(&ToSpawn::EndSeen { id, run: run_of(id) });
    }
    daemon.comes_back_to(census);
}

#[test]
fn exactly_one_descriptor_is_an_image() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let census = daemon.census();
    let image = daemon.image("image", "say ready");
    let message = ToSpawn::Start(start(id(1), &[]));
    for (count, expected) in [(0, "without an image"), (2, "more than one"), (16, "more than one")]
    {
        supervisor.send_with(&message, &vec![image.as_fd(); count]);
        let reason = supervisor.start_fails(id(1));
        assert!(reason.contains(expected), "{reason}");
        daemon.comes_back_to(census);
    }
}

#[test]
fn an_image_that_could_be_written_through_is_refused() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    daemon.image("image", "say ready");
    let path = daemon.dir.path().join("image");
    let writable: [File; 2] = [
        OpenOptions::new().read(true).write(true).open(&path).unwrap(),
        OpenOptions::new().write(true).open(&path).unwrap(),
    ];
    for image in writable {
        supervisor.start(id(1), &image, &[]);
        assert_eq!(supervisor.start_fails(id(1)), "the image is open for more than reading");
    }
}

#[test]
fn cpus_and_arguments_that_cannot_be_are_refused_with_the_reason() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let census = daemon.census();
    let image = daemon.image("image", "say ready");
    let cases = [
        (vec![], "", "no CPU is named for it to run on"),
        (vec![0, 999], "", "CPU 999 cannot be used on this host"),
        (vec![65535], "", "CPU 65535 cannot be used on this host"),
        (vec![0], "a\0b", "nul byte"),
    ];
    for (cpus, argument, expected) in cases {
        let message =
            ToSpawn::Start(vmm_proto::message::spawn::Start { cpus, ..start(id(1), &[argument]) });
        supervisor.send_with(&message, &[image.as_fd()]);
        let reason = supervisor.start_fails(id(1));
        assert!(reason.contains(expected), "{reason}");
    }
    daemon.comes_back_to(census);
}

#[test]
fn a_machine_that_runs_is_not_started_twice() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready; exec /bin/sleep 1000");
    let pid = supervisor.run(id(1), &image, &[]);
    supervisor.start(id(1), &image, &[]);
    assert_eq!(supervisor.start_fails(id(1)), format!("it runs already, as process {pid}"));
    assert_eq!(daemon.census().1, 1);
}

#[test]
fn what_is_ended_before_its_guest_runs_has_not_started() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let census = daemon.census();
    let image = daemon.image("image", "exec /bin/sleep 1000");
    let orders = [
        (ToSpawn::Stop { id: id(1), run: 1, force: false }, "it was stopped before its guest ran"),
        (ToSpawn::Stop { id: id(1), run: 2, force: true }, "it was stopped before its guest ran"),
        (ToSpawn::Forget { id: id(1) }, "it was forgotten before its guest ran"),
    ];
    for (order, expected) in orders {
        supervisor.start(id(1), &image, &[]);
        supervisor.send(&order);
        assert_eq!(supervisor.start_fails(id(1)), expected);
        supervisor.send(&ToSpawn::EndSeen { id: id(1), run: run_of(id(1)) });
        daemon.comes_back_to(census);
    }
}

#[test]
fn a_start_that_is_given_again_is_answered_with_what_became_of_it() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let go = daemon.dir.path().join("go");
    let script = "say ready; while [ ! -e $1 ]; do /bin/sleep 0.01; done; exit 3";
    let image = daemon.image("image", script);
    let first = ToSpawn::Start(start(id(1), &[go.to_str().unwrap()]));
    supervisor.send_with(&first, &[image.as_fd()]);
    let started = supervisor.next();
    assert!(matches!(started, FromSpawn::Started { run: 1, .. }));
    supervisor.send(&ToSpawn::Stop { id: id(1), run: 2, force: true });
    supervisor.send_with(&first, &[image.as_fd()]);
    assert_eq!(supervisor.next(), started);
    std::fs::write(&go, "").unwrap();
    let exited = supervisor.next();
    assert!(matches!(exited, FromSpawn::Exited { run: 1, exit: Exit::Code(3), .. }));
    supervisor.send_with(&first, &[image.as_fd()]);
    assert_eq!(supervisor.next(), exited);
    supervisor.send(&ToSpawn::EndSeen { id: id(1), run: 1 });
    supervisor.send_with(&first, &[image.as_fd()]);
    assert_eq!(supervisor.start_fails(id(1)), "start 1 of it was given before: the last one was 1");
    supervisor.run(id(1), &image, &[go.to_str().unwrap()]);
}

#[test]
fn a_forgotten_machine_is_killed_and_its_ring_is_gone() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let mut console = daemon.console();
    let census = daemon.census();
    let image = daemon.image("image", "say ready; exec /bin/sleep 1000");
    let pid = supervisor.run(id(1), &image, &[]);
    console.ring();
    supervisor.send(&ToSpawn::Forget { id: id(1) });
    assert_eq!(supervisor.exit(id(1)).0, Exit::Signal(9));
    assert_eq!(console.next(), FromSpawn::RingGone { id: id(1) });
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    assert!(test_kill_process(pid).is_err());
    daemon.comes_back_to(census);
    // Nothing is kept of it: not even its exit.
    let mut supervisor = daemon.supervisor();
    assert_eq!(supervisor.known, 0);
    assert!(supervisor.receive_now().is_err());
}

#[test]
fn after_many_machines_everything_is_given_back() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let mut console = daemon.console();
    let census = daemon.census();
    let image = daemon.image("image", "say ready; echo $1; exit $1");
    for number in 0..50 {
        supervisor.start(id(number), &image, &[&number.to_string()]);
    }
    let mut ends = 0;
    while ends < 50 {
        match supervisor.next() {
            FromSpawn::Started { .. } => {}
            FromSpawn::Exited { id, run, exit, .. } => {
                assert_eq!(exit, Exit::Code(id.0[0]));
                ends += 1;
                supervisor.send(&ToSpawn::EndSeen { id, run });
                supervisor.send(&ToSpawn::Forget { id });
            }
            other => panic!("{other:?}"),
        }
    }
    let mut gone = 0;
    while gone < 50 {
        match console.receive().unwrap().0 {
            FromSpawn::Ring { .. } => {}
            FromSpawn::RingGone { .. } => gone += 1,
            other => panic!("{other:?}"),
        }
    }
    daemon.comes_back_to(census);
}

#[test]
fn orders_about_machines_that_nobody_knows_do_nothing() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    supervisor.send(&ToSpawn::Stop { id: id(1), run: run_of(id(1)), force: true });
    supervisor.send(&ToSpawn::EndSeen { id: id(1), run: run_of(id(1)) });
    supervisor.send(&ToSpawn::Forget { id: id(1) });
    let pid = supervisor.run(id(2), daemon.image("image", "say ready; exec /bin/sleep 9"), &[]);
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    assert_eq!(supervisor.exit(id(2)).0, Exit::Signal(9));
    until("the log says so", || daemon.log().contains("not known").then_some(()));
}
