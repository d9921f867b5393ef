//! What readers get.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::io::Write;
use std::time::Instant;

use fake::{Daemon, RingWriter, id};
use vmm_proto::message::console::{FromConsole, ToConsole};
use vmm_proto::message::{ConsoleStart, Output};
use vmm_proto::ring::CAPACITY;
use vmm_testkit::until;

const BEGIN: ConsoleStart = ConsoleStart::Position(0);

/// Numbered lines of 16 bytes each.
fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers.fold(String::new(), |all, number| all + &format!("line {number:>10}\n"))
}

#[test]
fn history_comes_first_then_what_is_written_in_order() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut ring = spawn.machine(id(1));
    ring.write(lines(0..100));
    let mut reader = daemon.attach(id(1), BEGIN, true);
    assert_eq!(reader.bytes(1600), lines(0..100));
    for number in 100..1000 {
        ring.write(lines(number..number + 1));
    }
    assert_eq!(reader.bytes(900 * 16), lines(100..1000));
}

#[test]
fn without_following_it_ends_with_what_was_written_when_it_began() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut ring = spawn.machine(id(1));
    assert_eq!(daemon.attach(id(1), BEGIN, false).rest(), (None, String::new()));
    ring.write("a\nb");
    assert_eq!(daemon.attach(id(1), BEGIN, false).rest(), (Some(0), "a\nb".into()));
}

#[test]
fn an_end_given_later_ends_it_when_everything_before_was_sent() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut ring = spawn.machine(id(1));
    let mut reader = daemon.attach(id(1), BEGIN, true);
    ring.write("first ");
    assert_eq!(reader.bytes(6), "first ");
    reader.tell(&ToConsole::EndAt { position: 10 });
    ring.write("last");
    assert_eq!(reader.rest(), (Some(6), "last".into()));
    ring.write(" of it");

    let mut late = daemon.attach(id(1), BEGIN, true);
    assert_eq!(late.bytes(16), "first last of it");
    late.tell(&ToConsole::EndAt { position: 16 });
    assert_eq!(late.next(), FromConsole::End);
}

#[test]
fn a_ring_that_went_round_is_read_behind_a_gap_of_exact_size() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut ring = spawn.machine(id(1));
    let count = 2 * CAPACITY / 16 + 3;
    ring.write(lines(0..count));
    let mut reader = daemon.attach(id(1), BEGIN, false);
    let lost = ring.written - CAPACITY;
    assert_eq!(reader.output(), Output::Gap { position: 0, bytes: lost });
    assert_eq!(reader.rest(), (Some(lost), lines(lost / 16..count)));
}

#[test]
fn a_reader_that_stalls_gets_a_gap_and_holds_up_nobody() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut ring = spawn.machine(id(1));
    let mut stalled = daemon.attach(id(1), BEGIN, true);
    let mut brisk = daemon.attach(id(1), BEGIN, true);
    // So that both have begun.
    ring.write(lines(0..1));
    assert_eq!(brisk.bytes(16), lines(0..1));
    assert_eq!(stalled.bytes(16), lines(0..1));
    let count = 8 * CAPACITY / 16;
    for number in (1..count).step_by(100) {
        let end = (number + 100).min(count);
        ring.write(lines(number..end));
        assert_eq!(brisk.bytes(usize::try_from(end - number).unwrap() * 16), lines(number..end));
    }

    stalled.tell(&ToConsole::EndAt { position: ring.written });
    let mut position = 16;
    let mut gaps = 0;
    loop {
        match stalled.next() {
            FromConsole::Output(Output::Gap { position: at, bytes }) => {
                assert_eq!(at, position);
                position += bytes;
                gaps += bytes;
            }
            FromConsole::Output(Output::Bytes { position: at, data, .. }) => {
                assert_eq!(at, position);
                let begin = usize::try_from(at % 16).unwrap();
                let length = u64::try_from(data.len()).unwrap();
                let expected = lines(at / 16..(at + length).div_ceil(16));
                assert_eq!(data, &expected.as_bytes()[begin..begin + data.len()]);
                position += length;
            }
            FromConsole::End => break,
            other @ (FromConsole::Unknown | FromConsole::At { .. }) => panic!("{other:?}"),
        }
    }
    assert_eq!(position, ring.written);
    assert!(gaps > 0, "the reader must have missed something");
}

#[test]
fn the_last_lines_are_the_last_lines() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut ring = spawn.machine(id(1));
    ring.write(lines(0..50));
    let last = |count| daemon.attach(id(1), ConsoleStart::Lines(count), false).rest().1;
    assert_eq!(last(0), "");
    assert_eq!(last(3), lines(47..50));
    assert_eq!(last(u32::MAX), lines(0..50));
    ring.write("unfinished");
    assert_eq!(last(2), lines(49..50) + "unfinished");
}

#[test]
fn a_time_selects_the_lines_read_since() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut ring = spawn.machine(id(1));
    let mut reader = daemon.attach(id(1), BEGIN, true);
    let mut time_of = |text: &str| {
        ring.write(text);
        let Output::Bytes { time_ms, data, .. } = reader.output() else { panic!("a gap") };
        assert_eq!(data, text.as_bytes());
        time_ms
    };
    let first = time_of("first\n");
    let later = || Some(time_of("second\n")).filter(|time| *time > first);
    let second = until("output of a later time", later);
    let since = |time| daemon.attach(id(1), ConsoleStart::Since(time), false).rest().1;
    assert!(since(first).starts_with("first\nsecond\n"));
    assert!(!since(second).contains("first\n"));
    assert!(since(second).ends_with("second\n"));
    assert_eq!(since(second + 3_600_000), "");
}

#[test]
fn a_position_begins_there_or_with_the_oldest_byte_behind_a_gap() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut ring = spawn.machine(id(1));
    ring.write("0123456789");
    let from = |at, follow| daemon.attach(id(1), ConsoleStart::Position(at), follow);
    assert_eq!(from(7, false).rest(), (Some(7), "789".into()));
    assert_eq!(from(10, false).rest(), (None, String::new()));
    assert_eq!(from(99, false).rest(), (None, String::new()));
    let mut later = from(12, true);
    ring.write("abcdef");
    assert_eq!(later.bytes(4), "cdef");
}

#[test]
fn a_ring_that_arrives_late_is_waited_for_and_an_unknown_machine_is_unknown() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut early = daemon.attach(id(1), BEGIN, true);
    let begun = Instant::now();
    assert_eq!(daemon.attach(id(2), BEGIN, true).next(), FromConsole::Unknown);
    assert!(begun.elapsed().as_millis() >= 1900);
    assert_eq!(early.next(), FromConsole::Unknown);

    // In a pause of the host it may be waited for too long.
    let arrives = |number| {
        let mut early = daemon.attach(id(number), BEGIN, true);
        spawn.machine(id(number)).write("here");
        match early.next() {
            FromConsole::Output(Output::Bytes { data, .. }) => data == b"here",
            FromConsole::Unknown => false,
            other => panic!("{other:?}"),
        }
    };
    assert!((3..8).any(arrives), "it is waited for");
}

#[test]
fn a_forgotten_machine_ends_its_readers_after_its_last_byte() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut ring = spawn.machine(id(1));
    let mut reader = daemon.attach(id(1), BEGIN, true);
    ring.write("first");
    assert_eq!(reader.bytes(5), "first");
    ring.write(", last");
    spawn.send_gone(id(1));
    assert_eq!(reader.rest(), (Some(5), ", last".into()));
    assert_eq!(daemon.attach(id(1), BEGIN, true).next(), FromConsole::Unknown);
}

#[test]
fn a_counter_that_is_half_stored_for_long_delays_only_its_own_machine() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut torn = spawn.machine(id(1));
    let mut whole = spawn.machine(id(2));
    torn.write("before ");
    let mut of_torn = daemon.attach(id(1), BEGIN, true);
    assert_eq!(of_torn.bytes(7), "before ");
    torn.tear();
    whole.write("others go on");
    assert_eq!(daemon.attach(id(2), BEGIN, true).bytes(12), "others go on");
    torn.untear();
    torn.write("after");
    assert_eq!(of_torn.bytes(5), "after");
}

#[test]
fn a_reader_that_breaks_the_protocol_ends_only_itself() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut ring = spawn.machine(id(1));
    let mut good = daemon.attach(id(1), BEGIN, true);
    let mut bad = daemon.connect();
    bad.tell(&ToConsole::EndAt { position: 0 });
    assert!(bad.is_closed());
    let mut worse = daemon.connect();
    worse.stream.write_all(&[0xff; 64]).unwrap();
    assert!(worse.is_closed());
    let mut twice = daemon.attach(id(1), BEGIN, true);
    twice.tell(&ToConsole::Attach { machine: id(1), start: BEGIN, follow: true });
    assert!(twice.is_closed());
    ring.write("still here");
    assert_eq!(good.bytes(10), "still here");
}

#[test]
fn a_ring_written_all_the_time_is_read_without_a_byte_out_of_place() {
    let (daemon, spawn) = Daemon::with_spawn();
    let mut ring: RingWriter = spawn.machine(id(1));
    let mut reader = daemon.attach(id(1), BEGIN, true);
    let count = 64 * CAPACITY / 16;
    let writer = std::thread::spawn(move || {
        let mut number = 0;
        while number < count {
            ring.write(lines(number..(number + 777).min(count)));
            number += 777;
        }
        ring
    });
    let mut position = 0;
    while position < count * 16 {
        position = match reader.output() {
            Output::Gap { position, bytes } => position + bytes,
            Output::Bytes { position, data, .. } => {
                let begin = usize::try_from(position % 16).unwrap();
                let end = position + u64::try_from(data.len()).unwrap();
                let expected = lines(position / 16..end.div_ceil(16));
                assert_eq!(data, &expected.as_bytes()[begin..begin + data.len()]);
                end
            }
        };
    }
    writer.join().unwrap();
}
