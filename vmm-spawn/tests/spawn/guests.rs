//! The real tender with real guests, where they have been built (`cargo xtask guests`).

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, getsid};
use vmm_proto::message::Exit;
use vmm_proto::message::spawn::ToSpawn;
use vmm_testkit::{skipped, until};

use crate::harness::{Daemon, id, run_of};

/// A daemon with the real tender, and a guest's image.
fn with_guest(name: &str) -> Option<(Daemon, File)> {
    let tender = PathBuf::from(env!("CARGO_BIN_EXE_vmm-spawn")).with_file_name("vmm-tender");
    let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests").join(name);
    if let (true, Ok(image)) = (tender.exists(), File::open(&image)) {
        return Some((Daemon::start_with(&tender), image));
    }
    skipped(&format!("{name}: build vmm-tender and the guests first (cargo xtask guests)"));
    None
}

#[test]
fn hello_says_hello() {
    let Some((daemon, image)) = with_guest("hello.spt") else { return };
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    let census = daemon.census();
    supervisor.run(id(1), &image, &["--name=you", "--exit=7"]);
    let (exit, output_end) = supervisor.exit(id(1));
    let text = console.ring().1.text();
    assert_eq!(exit, Exit::Code(7));
    assert_eq!(text, "Hello from you\n--name=you\n--exit=7\n");
    assert_eq!(output_end, text.len() as u64);
    supervisor.send(&ToSpawn::Forget { id: id(1) });
    daemon.comes_back_to(census);
}

#[test]
fn ticker_ticks_until_it_is_stopped_in_a_session_of_its_own() {
    let Some((daemon, image)) = with_guest("ticker.spt") else { return };
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    let pid = supervisor.run(id(1), &image, &["--every=10"]);
    let (_, ring) = console.ring();
    until("tick 5", || ring.text().contains("tick 5\n").then_some(()));
    let number = pid;
    let pid = Pid::from_raw(pid.try_into().unwrap());
    assert_eq!(Some(getsid(pid).unwrap()), pid);
    let status = std::fs::read_to_string(format!("/proc/{number}/status")).unwrap();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    supervisor.send(&ToSpawn::Stop { id: id(1), run: run_of(id(1)), force: false });
    // The first process of a namespace is not ended by the signal, but by what it makes of it.
    let first = numbers.split_whitespace().nth(1) == Some("1");
    let expected = if first { Exit::Code(143) } else { Exit::Signal(15) };
    assert_eq!(supervisor.exit(id(1)).0, expected);
}

#[test]
fn chatter_is_counted_to_the_last_byte() {
    let Some((daemon, image)) = with_guest("chatter.spt") else { return };
    let mut console = daemon.console();
    let mut supervisor = daemon.supervisor();
    supervisor.run(id(1), &image, &["--lines=10000"]);
    assert_eq!(supervisor.exit(id(1)), (Exit::Code(0), 640_000));
    let (gap, data) = console.ring().1.read_from(0);
    assert_eq!(gap + data.len() as u64, 640_000);
    assert!(data.starts_with(format!("line {} ", gap / 64 + 1).as_bytes()));
}

#[test]
fn an_image_that_is_none_is_refused_in_the_tenders_words() {
    let Some((daemon, _)) = with_guest("hello.spt") else { return };
    let mut supervisor = daemon.supervisor();
    supervisor.start(id(1), daemon.image("image", "no image"), &[]);
    let reason = supervisor.start_fails(id(1));
    assert!(reason.contains("image"), "{reason}");
}

#[test]
fn a_directory_is_refused_in_the_tenders_words() {
    let Some((daemon, _)) = with_guest("hello.spt") else { return };
    let mut supervisor = daemon.supervisor();
    supervisor.start(id(1), File::open("/").unwrap(), &[]);
    assert_eq!(supervisor.start_fails(id(1)), "the image is not a regular file");
}
