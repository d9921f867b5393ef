//! The console: every byte counted, the newest kept, no faster than allowed.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vmm_proto::message::Exit;
use vmm_proto::ring::CAPACITY;
use vmm_testkit::until;

use crate::harness::{Daemon, id, run_of};

/// Writes `count` numbered lines of 16 bytes.
const LINES: &str = "say ready; n=0
    while [ $n -lt $1 ]; do n=$((n+1)); printf 'line %10d\n' $n; done";

fn line(number: u64) -> String {
    format!("line {number:>10}\n")
}

#[test]
fn of_more_output_than_fits_the_newest_is_kept_and_the_gap_is_exact() {
    let daemon = Daemon::start();
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    let lines = CAPACITY / 16 + 1000;
    supervisor.run(id(1), daemon.image("image", LINES), &[&lines.to_string()]);
    assert_eq!(supervisor.exit(id(1)), (Exit::Code(0), lines * 16));
    let (_, ring) = console.ring();
    let (gap, data) = ring.read_from(0);
    assert_eq!(gap, 16_000);
    let expected: String = (1001..=lines).map(line).collect();
    assert!(data == expected.as_bytes(), "the lines from 1001 on, in order");
    let (gap, data) = ring.read_from(lines * 16 - 20);
    assert_eq!((gap, data.len()), (0, 20));
}

#[test]
fn the_reader_is_told_of_growth_while_the_machine_runs() {
    let daemon = Daemon::start();
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready; echo hello; exec /bin/sleep 1000");
    supervisor.run(id(1), &image, &[]);
    let (_, ring) = console.ring();
    let timeout = Timespec { tv_sec: 20, tv_nsec: 0 };
    let told = poll(&mut [PollFd::new(&ring.grown, PollFlags::IN)], Some(&timeout));
    assert_eq!(told, Ok(1));
    assert_eq!(ring.text(), "hello\n");
}

#[test]
fn a_console_that_comes_back_gets_every_ring_again_with_what_it_missed() {
    let daemon = Daemon::start();
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready; echo $1");
    supervisor.run(id(1), &image, &["one"]);
    supervisor.exit(id(1));
    assert_eq!(console.ring().1.text(), "one\n");
    drop(console);
    supervisor.run(id(2), &image, &["two"]);
    supervisor.exit(id(2));
    let mut console = daemon.console();
    assert_eq!(console.known, 2);
    let rings = [console.ring(), console.ring()];
    let seen = rings.each_ref().map(|(id, ring)| (*id, ring.text()));
    assert_eq!(seen, [(id(1), "one\n".to_owned()), (id(2), "two\n".to_owned())]);
}

#[test]
fn nobody_has_to_read_for_machines_to_write() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    supervisor.run(id(1), daemon.image("image", LINES), &["50000"]);
    assert_eq!(supervisor.exit(id(1)), (Exit::Code(0), 800_000));
}

#[test]
fn a_machine_that_never_stops_writing_is_slowed_down_and_others_are_not() {
    let daemon = Daemon::start();
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    let chatter = daemon.image("chatter", "say ready; exec /bin/cat /dev/zero");
    supervisor.run(id(1), &chatter, &[]);
    let (_, ring) = console.ring();
    until("the burst is over", || (ring.written() > CAPACITY).then_some(()));
    let (begin, before) = (Instant::now(), ring.written());
    // Others come and go meanwhile.
    let quick = daemon.image("quick", "say ready; echo done");
    let mut others = 0;
    while begin.elapsed() < Duration::from_secs(1) || others < 5 {
        supervisor.run(id(2), &quick, &[]);
        assert_eq!(supervisor.exit(id(2)).0, Exit::Code(0));
        supervisor
            .send(&vmm_proto::message::spawn::ToSpawn::EndSeen { id: id(2), run: run_of(id(2)) });
        others += 1;
    }
    let bytes = u128::from(ring.written() - before);
    let per_second = bytes * 1000 / begin.elapsed().as_millis();
    let rate = u128::from(vmm_spawn::rate::RATE);
    assert!(per_second <= rate * 11 / 10, "{per_second} bytes a second");
    // How much less depends on what else the host does; but it is read from, again and again.
    for _ in 0..4 {
        let before = ring.written();
        until("it is read from", || (ring.written() > before + CAPACITY).then_some(()));
    }
}

#[test]
fn what_is_in_the_pipe_when_a_slowed_machine_ends_still_arrives() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    // The burst, then a full pipe while nobody reads it, then the end.
    let image = daemon.image("image", "say ready; /usr/bin/head -c 1000000 /dev/zero; exit 5");
    supervisor.run(id(1), &image, &[]);
    assert_eq!(supervisor.exit(id(1)), (Exit::Code(5), 1_000_000));
}

#[test]
fn a_process_left_behind_with_the_console_is_not_waited_for() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready; /bin/sleep 1000 & echo $!; exit 0");
    supervisor.run(id(1), &image, &[]);
    let (exit, _) = supervisor.exit(id(1));
    assert_eq!(exit, Exit::Code(0));
    let mut console = daemon.console();
    let left: i32 = console.ring().1.text().trim().parse().unwrap();
    let left = rustix::process::Pid::from_raw(left).unwrap();
    rustix::process::kill_process(left, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_machine_may_close_its_console() {
    let daemon = Daemon::start();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", "say ready; echo bye; exec >&- 2>&-; exit 6");
    supervisor.run(id(1), &image, &[]);
    assert_eq!(supervisor.exit(id(1)), (Exit::Code(6), 4));
}
