//! What is sent and asked from where this thread is.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use xtask::house::wait_until;

/// Datagrams on their way, when it is measured how many come back.
const WINDOW: u32 = 32;

/// The port at which guests do not answer: that of `discard`.
pub const UNHEEDED: u16 = 9;

/// Runs a script with `sh`, which must succeed; returns what it printed.
#[track_caller]
pub fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {}: {error}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// How many of `count` pings are answered.
pub fn pings(to: impl Into<IpAddr>, count: u32) -> u32 {
    let (to, count) = (to.into().to_string(), count.to_string());
    let mut command = Command::new("ping");
    let output = command.args(["-c", &count, "-i", "0.02", "-W", "1", &to]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().find(|line| line.contains("packets transmitted"));
    let received = line.and_then(|line| {
        line.split(", ").find_map(|part| part.strip_suffix(" received")?.parse().ok())
    });
    // Without a way there it has nothing to count.
    received.unwrap_or(0)
}

/// Waits until somebody answers pings and datagrams.
#[track_caller]
pub fn reaches(to: impl Into<IpAddr>) {
    let to = to.into();
    let there = || pings(to, 1) == 1 && echoed(to);
    wait_until(&format!("an answer of {to}"), there).unwrap();
}

/// Whether a datagram to the echo port comes back within half a second.
pub fn echoed(to: impl Into<IpAddr>) -> bool {
    let to = to.into();
    let any: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::from((any, 0))).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.connect((to, 7)).unwrap();
    let mut room = [0; 16];
    // Nobody there, nothing heard, or a signal: the caller asks again.
    socket.send(b"hello").is_ok()
        && socket.recv(&mut room).is_ok_and(|len| room[..len] == *b"hello")
}

/// Has `count` datagrams of `size` bytes echoed, one after the other; one that is lost is sent again.
#[track_caller]
pub fn echoes(to: IpAddr, count: u32, size: usize) {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.connect((to, 7)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut room = vec![0; size];
    for number in 0..count {
        let datagram = vec![u8::try_from(number).unwrap(); size];
        let echoed = || {
            socket.send(&datagram).unwrap();
            socket.recv(&mut room).is_ok_and(|len| room[..len] == datagram)
        };
        wait_until("an echo", echoed).unwrap();
    }
}

/// Sends a datagram of `size` bytes to a port where nobody answers.
pub fn unheeded(to: IpAddr, size: usize) {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.send_to(&vec![b'.'; size], (to, UNHEEDED)).unwrap();
}

/// How many datagrams come to a port of this place, on which nobody answers, while `work` is done;
/// and what that returns.
pub fn arriving<T>(at: impl Into<IpAddr>, work: impl FnOnce() -> T) -> (u64, T) {
    let socket = UdpSocket::bind((at.into(), UNHEEDED)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut count = 0;
    let done = while_working(work, |done| {
        let mut room = [0; 16];
        loop {
            match socket.recv(&mut room) {
                Ok(_) => count += 1,
                Err(error) => is_silence(&error),
            }
            // Whatever had come when the work was done is counted.
            if done() && socket.peek(&mut room).is_err() {
                return;
            }
        }
    });
    (count, done)
}

/// How many datagrams of `size` bytes come back in a second, with [`WINDOW`] of them on their way.
pub fn echoes_per_second(to: IpAddr, size: usize, duration: Duration) -> f64 {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.connect((to, 7)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let datagram = vec![b'.'; size];
    let mut room = vec![0; size];
    let (mut answered, mut on_their_way) = (0_u32, 0);
    let begun = Instant::now();
    while begun.elapsed() < duration {
        while on_their_way < WINDOW {
            socket.send(&datagram).unwrap();
            on_their_way += 1;
        }
        match socket.recv(&mut room) {
            Ok(_) => {
                answered += 1;
                on_their_way -= 1;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Lost, all of them.
            Err(error) if error.kind() == ErrorKind::WouldBlock => on_their_way = 0,
            Err(error) => panic!("{to} does not answer: {error}"),
        }
    }
    f64::from(answered) / begun.elapsed().as_secs_f64()
}

/// Echoes datagrams to port 7 of this place as long as `work` takes.
pub fn echoing<T>(at: impl Into<IpAddr>, work: impl FnOnce() -> T) -> T {
    let socket = UdpSocket::bind((at.into(), 7)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    while_working(work, |done| {
        let mut room = [0; 2048];
        while !done() {
            match socket.recv_from(&mut room) {
                Ok((len, from)) => drop(socket.send_to(&room[..len], from)),
                Err(error) => is_silence(&error),
            }
        }
    })
}

/// Does something beside `work`, until that is done.
fn while_working<T>(work: impl FnOnce() -> T, beside: impl FnOnce(&dyn Fn() -> bool) + Send) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| beside(&|| done.load(Ordering::Relaxed)));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Fails unless nothing has come for a while.
fn is_silence(error: &std::io::Error) {
    let silence = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];
    assert!(silence.contains(&error.kind()), "{error}");
}
