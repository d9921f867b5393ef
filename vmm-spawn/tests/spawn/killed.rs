//! `vmm-spawn` dies at any moment, and at each step of what it does for a machine: no byte of output
//! is lost or comes twice, and each run has one end.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use vmm_proto::message::Exit;
use vmm_proto::message::spawn::{FromSpawn, Role, ToSpawn};

use crate::harness::{Client, Daemon, Ring, id, start};
use crate::survive::{LINES, lines, told};

/// Everything that one console should have, by reading its ring all the time.
struct Listener {
    ring: Ring,
    text: Vec<u8>,
}

impl Listener {
    fn look(&mut self) {
        let (gap, data) = self.ring.read_from(self.text.len() as u64);
        assert_eq!(gap, 0, "lost after {} bytes", self.text.len());
        self.text.extend(data);
    }
}

/// Kills the daemon again and again while machines print, and compares every byte.
#[test]
fn killed_at_any_moment_it_loses_no_byte_and_doubles_none() {
    const LAST: u32 = 10_000;
    // Never more than the ring holds while nobody looks; and however long a daemon takes to come back,
    // there are three kills before the last line.
    let script = "say ready; n=0
        while [ $n -lt $1 ]; do n=$((n+1)); echo \"line $n\"
            [ $((n % 100)) != 0 ] || /bin/sleep 0.01
            [ $((n % 3000)) != 0 ] || while [ ! -e $2$((n / 3000)) ]; do /bin/sleep 0.01; done; done
        exit 3";
    let mut daemon = Daemon::start();
    let kill = daemon.dir.path().join("kill-");
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    let image = daemon.image("image", script);
    let mut listeners = Vec::new();
    for number in 1..=4 {
        supervisor.run(id(number), &image, &[&LAST.to_string(), kill.to_str().unwrap()]);
        let (_, ring) = console.ring();
        listeners.push(Listener { ring, text: Vec::new() });
    }
    let expected = lines(LAST);
    let deadline = Instant::now() + Duration::from_mins(2);
    let mut seed = 12345_u64;
    let mut kills = 0;
    while listeners.iter().any(|listener| listener.text.len() < expected.len()) {
        assert!(Instant::now() < deadline, "after {kills} kills: {}", daemon.log());
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_micros(seed >> 50));
        daemon.again(None);
        kills += 1;
        std::fs::write(daemon.dir.path().join(format!("kill-{kills}")), "").unwrap();
        listeners.iter_mut().for_each(Listener::look);
    }
    assert!(kills > 2, "{kills}");
    for listener in &mut listeners {
        listener.look();
        assert!(listener.text == expected.as_bytes(), "after {kills} kills");
    }
    let (mut supervisor, known) = told(&daemon);
    assert_eq!(known.len(), 4);
    for _ in 0..4 {
        let message = supervisor.next();
        let FromSpawn::Exited { output_end, exit, .. } = message else { panic!("{message:?}") };
        assert_eq!(output_end, expected.len() as u64);
        assert!(matches!(exit, Exit::Code(3) | Exit::Unknown));
    }
}

/// Dies at each step of bringing output into the ring, the first time and a later one.
#[test]
fn dying_at_any_step_of_a_machines_life_changes_nothing_of_it() {
    const LAST: u32 = 300;
    for name in vmm_spawn::failpoint::NAMES {
        for count in [1, 3] {
            let point = format!("{name}:{count}");
            let mut daemon = Daemon::start();
            let mut console = daemon.console();
            let mut supervisor = daemon.supervisor();
            let image = daemon.image("image", LINES);
            // One that goes on over the death, so that something is adopted.
            supervisor.run(id(9), &image, &["1000000", "0.05"]);
            let (_, other) = console.ring();
            daemon.again(Some(&point));
            let ring = one_life(&mut daemon, &point, &image, LAST);
            // It may be dying just now: the last step comes when nothing is left to be seen.
            daemon.again(None);
            assert!(ring == lines(LAST), "{point}: {ring}\n{}", daemon.log());
            let text = other.text();
            let printed: String = lines(u32::try_from(text.lines().count()).unwrap());
            assert_eq!(text, printed, "{point}");
        }
    }
}

/// A machine is started, prints, ends and is acknowledged, whatever dies meanwhile; returns what it
/// printed.
fn one_life(daemon: &mut Daemon, point: &str, image: &File, last: u32) -> String {
    let start = ToSpawn::Start(vmm_proto::message::spawn::Start {
        run: 1,
        ..start(id(1), &[&last.to_string()])
    });
    let mut ring = None;
    let mut ended = false;
    let deadline = Instant::now() + Duration::from_mins(1);
    while !(ended && ring.is_some()) {
        assert!(Instant::now() < deadline, "{point}: {}", daemon.log());
        if daemon.child.try_wait().unwrap().is_some() {
            daemon.again(None);
        }
        // It may die while it is spoken to.
        let Some(mut console) = daemon.try_join(Role::Console) else { continue };
        if let Some(mut supervisor) = daemon.try_join(Role::Supervisor) {
            ended |= supervise(&mut supervisor, &start, image, ended, point).is_some();
        }
        // What was sent is there, whoever sent it.
        while let Ok(Some((message, fds))) = console.receive_now() {
            if message == (FromSpawn::Ring { id: id(1) }) {
                ring = Some(Ring::of(fds));
            }
        }
    }
    let text = ring.unwrap().text();
    assert_eq!(text.len(), lines(last).len(), "{point}");
    forget(daemon, point);
    text
}

/// Has the machine started if it is not known, until it has ended or the daemon is gone.
fn supervise(
    supervisor: &mut Client,
    start: &ToSpawn,
    image: &File,
    ended: bool,
    point: &str,
) -> Option<()> {
    let mut seen = false;
    for _ in 0..supervisor.known {
        let (message, _) = supervisor.try_receive()?;
        seen |= matches!(message, FromSpawn::Known { id: known, run: 1, .. } if known == id(1));
    }
    if ended {
        return Some(());
    }
    if !seen && !supervisor.try_send(start, &[image.as_fd()]) {
        return None;
    }
    loop {
        match supervisor.try_receive()?.0 {
            FromSpawn::Exited { id: who, run: 1, .. } if who == id(1) => {
                supervisor.try_send(&ToSpawn::EndSeen { id: id(1), run: 1 }, &[]);
                return Some(());
            }
            failed @ FromSpawn::StartFailed { .. } => panic!("{point}: {failed:?}"),
            _ => {}
        }
    }
}

/// Has the machine forgotten, whatever dies meanwhile.
fn forget(daemon: &mut Daemon, point: &str) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while daemon.place(id(1)).exists() {
        assert!(Instant::now() < deadline, "{point}: {}", daemon.log());
        if daemon.child.try_wait().unwrap().is_some() {
            daemon.again(None);
        }
        if let Some(supervisor) = daemon.try_join(Role::Supervisor) {
            supervisor.try_send(&ToSpawn::Forget { id: id(1) }, &[]);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
