//! The daemon under test, and connections to it.

#![allow(dead_code, unreachable_pub, reason = "each test binary takes what it needs of this")]

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use vmm_proto::message::log::{Event, FromLog, ToLog};
use vmm_testkit::{read, receive, write};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vmm-log");

pub const SOURCE: [u8; 16] = [7; 16];

pub fn event(sequence: u64) -> Event {
    Event {
        source: SOURCE,
        sequence,
        time_ms: 1_700_000_000_000 + sequence,
        kind: "started".into(),
        path: "dev".into(),
        machine: None,
        fields: vec![("number".into(), sequence.to_string())],
    }
}

pub fn events(sequences: std::ops::RangeInclusive<u64>) -> Vec<Event> {
    sequences.map(event).collect()
}

/// The daemon under test.
pub struct Daemon(pub vmm_testkit::Daemon);

impl Daemon {
    pub fn start() -> Self {
        Self(vmm_testkit::Daemon::start(Command::new(PROGRAM)))
    }

    /// In a shell that says something first.
    pub fn start_after(prelude: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{prelude}; exec \"$0\" \"$@\""), PROGRAM]);
        Self(vmm_testkit::Daemon::start(shell))
    }

    pub fn kill(&mut self) {
        self.0.kill();
    }

    pub fn restart(&mut self) {
        self.0.replace(Command::new(PROGRAM));
    }

    pub fn file(&self) -> PathBuf {
        self.0.dir.path().join("log/events.jsonl")
    }

    /// What `vmm-log --verify` says, and its exit code.
    pub fn verify(&self) -> (String, Option<i32>) {
        let mut command = Command::new(PROGRAM);
        let output = command.arg("--dir").arg(self.0.dir.path()).arg("--verify").output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    }

    pub fn connect(&self) -> Connection {
        Connection(self.0.connect("log"))
    }

    pub fn read(&self, path: &str, follow: bool) -> Connection {
        let mut connection = self.connect();
        let path = path.to_owned();
        let (machine, since_ms, after) = (None, None, None);
        connection.tell(9, &ToLog::Read { path, machine, since_ms, after, follow });
        connection
    }
}

pub struct Connection(pub UnixStream);

impl Connection {
    pub fn try_tell(&mut self, request: u32, message: &ToLog) -> io::Result<()> {
        write(&mut self.0, request, message)
    }

    pub fn tell(&mut self, request: u32, message: &ToLog) {
        write(&mut self.0, request, message).unwrap();
    }

    pub fn try_next(&mut self) -> io::Result<Option<(u32, FromLog)>> {
        read(&mut self.0)
    }

    /// The next message but those that say where reading stands.
    pub fn next(&mut self) -> FromLog {
        loop {
            match receive(&mut self.0).1 {
                FromLog::At(_) => {}
                other => return other,
            }
        }
    }

    pub fn append(&mut self, events: Vec<Event>) -> FromLog {
        self.tell(5, &ToLog::Append(events));
        let (request, answer) = receive(&mut self.0);
        assert_eq!(request, 5);
        answer
    }

    /// The number in the next line; `None` at the end.
    pub fn number(&mut self) -> Option<u64> {
        match self.next() {
            FromLog::Line { line, .. } => {
                let line: serde_json::Value = serde_json::from_str(&line).unwrap();
                Some(line["fields"]["number"].as_str().unwrap().parse().unwrap())
            }
            FromLog::End => None,
            other => panic!("{other:?}"),
        }
    }

    pub fn numbers(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.number()).collect()
    }
}

pub fn durable(sequence: u64) -> FromLog {
    FromLog::Durable { source: SOURCE, sequence }
}
