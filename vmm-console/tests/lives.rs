//! What stays when `vmm-spawn`, or this daemon, goes away.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::os::unix::fs::PermissionsExt;

use fake::{Daemon, RingWriter, id};
use vmm_proto::message::console::{FromConsole, ToConsole};
use vmm_proto::message::{ConsoleStart, Output};
use vmm_testkit::until;

const BEGIN: ConsoleStart = ConsoleStart::Position(0);

#[test]
fn readers_do_not_notice_that_vmm_spawn_was_away() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut ring = spawn.machine(id(1));
    let mut reader = daemon.attach(id(1), BEGIN, true);
    ring.write("before ");
    assert_eq!(reader.bytes(7), "before ");
    drop(spawn);
    // The ring that is held is still good.
    ring.write("away ");
    assert_eq!(reader.bytes(5), "away ");
    assert_eq!(daemon.attach(id(1), BEGIN, true).bytes(12), "before away ");

    let mut ring = ring.taken_over();
    let spawn = daemon.listen().accept_with(1);
    spawn.send_ring(id(1), &ring);
    ring.write("after");
    assert_eq!(reader.bytes(5), "after");
}

#[test]
fn what_waits_for_a_new_vmm_spawn_is_held_until_the_machine_is_forgotten() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut ring = spawn.machine(id(1));
    ring.write("here");
    let mut reader = daemon.attach(id(1), BEGIN, true);
    assert_eq!(reader.bytes(4), "here");
    let waiting = ring.let_go();
    drop(spawn);
    for pipe in &waiting {
        rustix::io::write(pipe, b"waits").unwrap();
    }
    let spawn = daemon.listen().accept_with(1);
    let mut new = RingWriter::new();
    new.write("new");
    spawn.send_ring(id(1), &new);
    assert!(matches!(reader.next(), FromConsole::Output(_)));
    for pipe in &waiting {
        until("what waits is held no more", || {
            (rustix::io::write(pipe, b"x") == Err(rustix::io::Errno::PIPE)).then_some(())
        });
    }
}

#[test]
fn another_ring_takes_the_place_of_the_one_before() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut old = spawn.machine(id(1));
    old.write("of the old");
    let mut reader = daemon.attach(id(1), BEGIN, true);
    assert_eq!(reader.bytes(10), "of the old");
    drop(spawn);
    let spawn = daemon.listen().accept_with(1);
    let mut new = RingWriter::new();
    new.write("new");
    spawn.send_ring(id(1), &new);
    let FromConsole::Output(Output::Bytes { position, data, .. }) = reader.next() else {
        panic!("not output")
    };
    assert_eq!((position, &data[..]), (0, &b"new"[..]));
}

#[test]
fn what_a_new_vmm_spawn_does_not_name_is_gone() {
    let (daemon, spawn) = Daemon::with_spawn();
    let kept = spawn.machine(id(1));
    let mut lost = spawn.machine(id(2));
    lost.write("all");
    let mut reader = daemon.attach(id(2), BEGIN, true);
    assert_eq!(reader.bytes(3), "all");
    drop(spawn);
    let spawn = daemon.listen().accept_with(1);
    spawn.send_ring(id(1), &kept);
    assert_eq!(reader.next(), FromConsole::End);
    assert_eq!(daemon.attach(id(1), BEGIN, false).next(), FromConsole::End);
}

#[test]
fn after_its_own_end_everything_in_the_rings_is_read_again() {
    let mut daemon = Daemon::start();
    let listening = daemon.listen();
    let spawn = listening.accept();
    let mut ring = spawn.machine(id(1));
    ring.write("before ");
    assert_eq!(daemon.attach(id(1), BEGIN, true).bytes(7), "before ");
    daemon.replace();
    ring.write("meanwhile ");
    let spawn = listening.accept_with(1);
    spawn.send_ring(id(1), &ring);
    let mut reader = daemon.attach(id(1), BEGIN, true);
    assert_eq!(reader.bytes(17), "before meanwhile ");
    ring.write("after");
    assert_eq!(reader.bytes(5), "after");
}

#[test]
fn asked_to_end_it_does_and_takes_its_socket_along() {
    let mut daemon = Daemon::start();
    drop(daemon.connect());
    let path = daemon.0.socket("console");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let pid = rustix::process::Pid::from_child(&daemon.0.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = until("the daemon ends", || daemon.0.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn an_attachment_says_where_it_stands_and_can_be_gone_on_with_there() {
    let (mut daemon, spawn) = Daemon::with_spawn();
    let mut ring = spawn.machine(id(1));
    ring.write("one\ntwo\nthree");
    let mut reader = daemon.attach(id(1), ConsoleStart::Lines(2), true);
    assert_eq!(reader.any(), FromConsole::At { position: 4 });
    assert_eq!(reader.bytes(9), "two\nthree");
    reader.tell(&ToConsole::Where);
    assert_eq!(reader.any(), FromConsole::At { position: 13 });

    drop(spawn);
    daemon.replace();
    ring.write(" and four");
    let spawn = daemon.listen().accept_with(1);
    spawn.send_ring(id(1), &ring);
    let mut reader = daemon.attach(id(1), ConsoleStart::Position(13), true);
    assert_eq!(reader.any(), FromConsole::At { position: 13 });
    assert_eq!(reader.bytes(9), " and four");
}

#[test]
fn when_what_was_written_is_known_after_a_restart_too() {
    let (mut daemon, spawn) = Daemon::with_spawn();
    let mut ring = spawn.machine(id(1));
    ring.write("old\n");
    let mut reader = daemon.attach(id(1), BEGIN, true);
    let FromConsole::Output(Output::Bytes { time_ms: old, .. }) = reader.next() else {
        panic!("not output")
    };
    // Marks are kept a second apart.
    let new = until("output of a later mark", || {
        ring.write("new\n");
        let FromConsole::Output(Output::Bytes { time_ms, .. }) = reader.next() else {
            panic!("not output")
        };
        (time_ms > old + 2100).then_some(time_ms)
    });
    drop(spawn);
    daemon.replace();
    let spawn = daemon.listen().accept_with(1);
    spawn.send_ring(id(1), &ring);
    let (begin, _) = daemon.attach(id(1), ConsoleStart::Since(new), false).rest();
    assert!(begin.is_some_and(|begin| begin > 0), "{begin:?}");
    let FromConsole::Output(Output::Bytes { time_ms, .. }) =
        daemon.attach(id(1), BEGIN, false).next()
    else {
        panic!("not output")
    };
    assert!((old..new).contains(&time_ms), "{old} {time_ms} {new}");

    let kept = || daemon.0.dir.path().join("console").join(id(1).to_string()).exists();
    assert!(kept());
    spawn.send_gone(id(1));
    until("its marks are forgotten", || (!kept()).then_some(()));
}
