//! At a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr};
use tokio::net::UnixListener;
use vmm_proto::message::client::{Reply, Request, ToServer};
use vmm_proto::message::{Exit, Output};
use vmm_service::connection::{Halves, greet};

use crate::client::program;

/// The program with all three streams on a terminal.
struct Terminal {
    child: Child,
    master: File,
    seen: String,
}

impl Terminal {
    fn run(words: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        // No carriage returns: they are the terminal's, not the program's.
        let mut modes = tcgetattr(&slave).unwrap();
        modes.output_modes.remove(OutputModes::OPOST);
        tcsetattr(&slave, OptionalActions::Now, &modes).unwrap();
        let stream = || Stdio::from(OwnedFd::from(slave.try_clone().unwrap()));
        let mut command = program();
        command.args(words).stdin(stream()).stdout(stream()).stderr(stream());
        Self { child: command.spawn().unwrap(), master: master.into(), seen: String::new() }
    }

    fn local(socket: &Path, words: &[&str]) -> Self {
        Self::run(&[&["--socket", socket.to_str().unwrap()], words].concat())
    }

    /// Waits until `text` is on the screen, behind what was waited for before.
    async fn shows(&mut self, text: &str) {
        while !self.seen.contains(text) {
            let mut master = self.master.try_clone().unwrap();
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = [0; 4096];
                let count = master.read(&mut bytes).unwrap();
                bytes[..count].to_vec()
            });
            let read = tokio::time::timeout(Duration::from_mins(1), read).await;
            let bytes = read.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.seen)).unwrap();
            self.seen.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        let end = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..end);
    }

    fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    fn press_ctrl_c(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    async fn code(mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "it goes on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn listen() -> (tempfile::TempDir, std::path::PathBuf, UnixListener) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("vmmd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    (directory, socket, listener)
}

async fn accept(listener: &UnixListener) -> Halves<ToServer, Reply> {
    let (stream, _) = listener.accept().await.unwrap();
    greet(stream, "vmmd").await.unwrap()
}

fn bytes(data: &[u8]) -> Reply {
    Reply::Output(Output::Bytes { position: 0, time_ms: 0, data: data.to_vec() })
}

#[tokio::test]
async fn what_a_guest_writes_cannot_speak_to_the_terminal() {
    let (_directory, socket, listener) = listen();
    let mut terminal = Terminal::local(&socket, &["attach", "x"]);
    let (mut reader, mut writer) = accept(&listener).await;
    assert!(matches!(reader.next().await.unwrap(), Some((1, ToServer::Open(_)))));
    writer.send(1, &bytes(b"a\x1b[2J\xe2\x82")).await.unwrap();
    writer.send(1, &bytes(b"\xac\n")).await.unwrap();
    let ended = Reply::Ended { state: "exited".to_owned(), exit: Some(Exit::Code(3)) };
    writer.send(1, &ended).await.unwrap();
    writer.send(1, &Reply::Done).await.unwrap();
    terminal.shows("a\\u{1b}[2J€\n[x: exited, exit code 3]\n").await;
    assert_eq!(terminal.code().await, Some(0));
}

#[tokio::test]
async fn ctrl_c_detaches_and_says_that_the_machine_goes_on() {
    let (_directory, socket, listener) = listen();
    let mut terminal = Terminal::local(&socket, &["attach", "x"]);
    let (mut reader, mut writer) = accept(&listener).await;
    reader.next().await.unwrap();
    writer.send(1, &bytes(b"tick\n")).await.unwrap();
    terminal.shows("tick\n").await;
    terminal.press_ctrl_c();
    assert_eq!(reader.next().await.unwrap(), Some((1, ToServer::Cancel)));
    terminal.shows("[detached; x goes on]").await;
    assert_eq!(terminal.code().await, Some(130));
}

#[tokio::test]
async fn a_session_does_one_command_after_the_other_on_one_connection() {
    let (_directory, socket, listener) = listen();
    let mut terminal = Terminal::local(&socket, &[]);
    terminal.shows("vmm> ").await;
    terminal.type_in("stop 'x\n");
    terminal.shows("has no end\nvmm> ").await;
    terminal.type_in("attach x\n");
    let (mut reader, mut writer) = accept(&listener).await;
    reader.next().await.unwrap();
    writer.send(1, &bytes(b"tick 1\n")).await.unwrap();
    terminal.shows("tick 1\n").await;
    terminal.press_ctrl_c();
    assert_eq!(reader.next().await.unwrap(), Some((1, ToServer::Cancel)));
    terminal.shows("vmm> ").await;
    // At the prompt it is only a new line, and is not remembered.
    terminal.press_ctrl_c();
    terminal.shows("\nvmm> ").await;
    terminal.type_in("detach x --format json\n");
    let request = Request::Detach { name: "x".to_owned() };
    assert_eq!(reader.next().await.unwrap(), Some((2, ToServer::Open(request))));
    // What was on its way when the first request was given up.
    writer.send(1, &bytes(b"tick 2\n")).await.unwrap();
    writer.send(2, &Reply::Detached(1)).await.unwrap();
    writer.send(2, &Reply::Done).await.unwrap();
    terminal.shows("{\"detached\":1}\nvmm> ").await;
    terminal.type_in("exit\n");
    assert_eq!(terminal.code().await, Some(0));
    assert!(reader.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_connects_again_after_its_connection_was_lost() {
    let (_directory, socket, listener) = listen();
    let mut terminal = Terminal::local(&socket, &[]);
    terminal.shows("vmm> ").await;
    terminal.type_in("quota\n");
    let (reader, writer) = accept(&listener).await;
    drop((reader, writer));
    terminal.shows("vmm> ").await;
    terminal.type_in("start x\n");
    let (mut reader, mut writer) = accept(&listener).await;
    let request = Request::Start { name: "x".to_owned() };
    assert_eq!(reader.next().await.unwrap(), Some((1, ToServer::Open(request))));
    writer.send(1, &Reply::Done).await.unwrap();
    terminal.shows("vmm> ").await;
    terminal.type_in("\u{4}");
    assert_eq!(terminal.code().await, Some(0));
}
