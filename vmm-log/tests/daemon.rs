//! The daemon itself, over its socket.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod served;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use served::{Daemon, durable, event, events};
use vmm_proto::message::log::{Event, FromLog, ToLog};
use vmm_testkit::until;

#[test]
fn what_is_acknowledged_can_be_read_and_verified() {
    let daemon = Daemon::start();
    let mut writer = daemon.connect();
    assert_eq!(writer.append(events(1..=10)), durable(10));
    assert_eq!(daemon.read("", false).numbers(), (1..=10).collect::<Vec<_>>());
    assert_eq!(daemon.read("dev/alice", false).numbers(), [0; 0]);
    let (said, code) = daemon.verify();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("10 records in 1 files: intact"), "{said}");
    assert_eq!(fs::metadata(daemon.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_follower_sees_each_event_when_it_is_on_disk() {
    let daemon = Daemon::start();
    let mut writer = daemon.connect();
    assert_eq!(writer.append(events(1..=2)), durable(2));
    let mut follower = daemon.read("dev", true);
    let mut of_others = daemon.read("ops", true);
    for sequence in 3..=50 {
        assert_eq!(writer.append(events(sequence..=sequence)), durable(sequence));
    }
    let ops = Event { path: "ops/a".into(), ..event(51) };
    assert_eq!(writer.append(vec![ops]), durable(51));
    let seen: Vec<_> = std::iter::from_fn(|| follower.number()).take(50).collect();
    assert_eq!(seen, (1..=50).collect::<Vec<_>>());
    assert_eq!(of_others.number(), Some(51));
}

#[test]
fn a_follower_that_does_not_read_holds_up_nobody() {
    let daemon = Daemon::start();
    let mut writer = daemon.connect();
    let mut stalled = daemon.read("", true);
    let long = "x".repeat(30_000);
    for sequence in 1..=200 {
        let fields = vec![("number".into(), sequence.to_string()), ("long".into(), long.clone())];
        assert_eq!(writer.append(vec![Event { fields, ..event(sequence) }]), durable(sequence));
    }
    assert_eq!(daemon.read("", false).numbers(), (1..=200).collect::<Vec<_>>());
    let seen: Vec<_> = std::iter::from_fn(|| stalled.number()).take(200).collect();
    assert_eq!(seen, (1..=200).collect::<Vec<_>>());
}

#[test]
fn killed_at_any_moment_it_has_each_event_once_and_an_intact_chain() {
    let mut daemon = Daemon::start();
    let mut acknowledged = 0;
    let mut sent = 0;
    for round in 1..=8 {
        let mut writer = daemon.connect();
        // As after any new connection: what was not acknowledged is sent again.
        let mut next = acknowledged + 1;
        let kill_after = acknowledged + 20 * round;
        let mut killed = false;
        loop {
            let append = ToLog::Append(events(next..=next + 2));
            if writer.try_tell(5, &append).is_err() {
                break;
            }
            next += 3;
            sent = sent.max(next - 1);
            // Several requests are on their way at any time, also when it is killed.
            if next > acknowledged + 20 || killed {
                match writer.try_next() {
                    Ok(Some((_, FromLog::Durable { sequence, .. }))) => acknowledged = sequence,
                    Ok(Some(other)) => panic!("{other:?}"),
                    Ok(None) | Err(_) => break,
                }
            }
            if acknowledged > kill_after && !killed {
                daemon.0.child.kill().unwrap();
                killed = true;
            }
        }
        daemon.restart();
        let numbers = daemon.read("", false).numbers();
        assert_eq!(numbers, (1..=u64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
        let last = *numbers.last().unwrap();
        assert!((acknowledged..=sent).contains(&last), "{acknowledged} {last} {sent}");
        let (said, code) = daemon.verify();
        assert_eq!(code, Some(0), "{said}");
    }
}

#[test]
fn a_disk_that_refuses_is_said_to_and_tried_again() {
    // A limit of the size of files, in units of 512 bytes, that is an error instead of a signal.
    let daemon = Daemon::start_after("trap '' XFSZ; ulimit -S -f 4");
    let mut writer = daemon.connect();
    let mut sequence = 0;
    let why = loop {
        match writer.append(events(sequence + 1..=sequence + 1)) {
            FromLog::Failed(why) => break why,
            answer => assert_eq!(answer, durable(sequence + 1)),
        }
        sequence += 1;
    };
    assert!(why.contains("cannot be written"), "{why}");
    assert!(sequence > 3, "{sequence}");
    assert!(matches!(writer.append(events(sequence + 1..=sequence + 1)), FromLog::Failed(_)));
    assert_eq!(daemon.read("", false).numbers(), (1..=sequence).collect::<Vec<_>>());
    assert_eq!(daemon.verify().1, Some(0), "nothing half written is left");

    let pid = Some(Pid::from_child(&daemon.0.child));
    prlimit(pid, Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    assert_eq!(writer.append(events(sequence + 1..=sequence + 9)), durable(sequence + 9));
    assert_eq!(daemon.read("", false).numbers(), (1..=sequence + 9).collect::<Vec<_>>());
    assert_eq!(daemon.verify().1, Some(0));
}

#[test]
fn a_changed_log_is_found_out_by_verify_and_at_the_next_start() {
    let mut daemon = Daemon::start();
    assert_eq!(daemon.connect().append(events(1..=5)), durable(5));
    daemon.kill();
    let whole = fs::read_to_string(daemon.file()).unwrap();
    fs::write(daemon.file(), whole.replacen("\"number\":\"2\"", "\"number\":\"0\"", 1)).unwrap();
    let (said, code) = daemon.verify();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("BROKEN in 1 places, first at line 2"), "{said}");
    daemon.restart();
    let mut writer = daemon.connect();
    assert_eq!(writer.append(events(5..=6)), durable(6));
    assert!(fs::read_to_string(daemon.file()).unwrap().contains("\"kind\":\"chain-broken\""));
    assert_eq!(daemon.verify().1, Some(1));
}

#[test]
fn verify_without_a_log_is_an_error() {
    let daemon = Daemon::start();
    drop(daemon.connect());
    fs::remove_file(daemon.file()).unwrap();
    assert_eq!(daemon.verify().1, Some(1));
}

#[test]
fn missing_events_are_refused_and_the_connection_goes_on() {
    let daemon = Daemon::start();
    let mut writer = daemon.connect();
    assert_eq!(writer.append(events(1..=2)), durable(2));
    let FromLog::Failed(why) = writer.append(events(5..=6)) else { panic!("not refused") };
    assert_eq!(why, "event 5 of its source follows event 2: those between are missing");
    assert_eq!(writer.append(events(1..=6)), durable(6));
}

#[test]
fn a_peer_that_breaks_the_protocol_ends_only_its_own_connection() {
    let daemon = Daemon::start();
    let mut good = daemon.connect();
    let mut bad = daemon.connect();
    bad.0.write_all(&[0xff; 64]).unwrap();
    assert_eq!(bad.0.read(&mut [0; 16]).unwrap_or(0), 0);
    let mut worse = daemon.read("", true);
    assert!(matches!(worse.try_next(), Ok(Some((_, FromLog::At(_))))));
    worse.tell(5, &ToLog::Append(events(1..=1)));
    assert_eq!(worse.0.read(&mut [0; 16]).unwrap_or(0), 0);
    assert_eq!(good.append(events(1..=1)), durable(1));
}

#[test]
fn asked_to_end_it_finishes_what_it_writes_and_takes_its_socket_along() {
    let mut daemon = Daemon::start();
    let mut writer = daemon.connect();
    for sequence in 1..=10 {
        writer.tell(5, &ToLog::Append(events(sequence..=sequence)));
    }
    assert_eq!(writer.next(), durable(1));
    let path = daemon.0.socket("log");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    kill_process(Pid::from_child(&daemon.0.child), Signal::TERM).unwrap();
    let status = until("the daemon ends", || daemon.0.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert!(!path.exists());
    let (said, code) = daemon.verify();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("unfinished"), "{said}");
}
