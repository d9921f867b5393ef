//! The daemon under test, and connections to it.

#![allow(dead_code, unreachable_pub, reason = "each test binary takes what it needs of this")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vmm_proto::frame::{self, HEADER, Header};
use vmm_proto::message::log::{Event, FromLog, ToLog};
use vmm_proto::message::{Hello, wire};

pub const DEADLINE: Duration = Duration::from_secs(30);
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

pub fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(begun.elapsed() < DEADLINE, "it did not happen in time");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub struct Daemon {
    pub dir: tempfile::TempDir,
    pub child: Child,
}

impl Daemon {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let child = command(dir.path()).spawn().unwrap();
        Self { dir, child }
    }

    /// In a shell that says something first.
    pub fn start_after(prelude: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new("sh")
            .args(["-c", &format!("{prelude}; exec \"$0\" --dir \"$1\"")])
            .arg(env!("CARGO_BIN_EXE_vmm-log"))
            .arg(dir.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { dir, child }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.kill();
        self.child = command(self.dir.path()).spawn().unwrap();
    }

    pub fn file(&self) -> PathBuf {
        self.dir.path().join("log/events.jsonl")
    }

    /// What `vmm-log --verify` says, and its exit code.
    pub fn verify(&self) -> (String, Option<i32>) {
        let output = command(self.dir.path()).arg("--verify").output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    }

    pub fn connect(&self) -> Connection {
        let path = self.dir.path().join("log.sock");
        // A socket of a killed daemon may still be there for a moment.
        until(|| Connection::open(&path).ok())
    }

    pub fn read(&self, path: &str, follow: bool) -> Connection {
        let mut connection = self.connect();
        let path = path.to_owned();
        let (machine, since_ms, after) = (None, None, None);
        connection.tell(9, &ToLog::Read { path, machine, since_ms, after, follow });
        connection
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmm-log"));
    command.arg("--dir").arg(dir).stdin(Stdio::null());
    command
}

pub struct Connection(pub UnixStream);

impl Connection {
    fn open(path: &Path) -> std::io::Result<Self> {
        let mut connection = Self(UnixStream::connect(path)?);
        connection.0.set_read_timeout(Some(DEADLINE))?;
        connection.write(0, &Hello::of("test"))?;
        let (_, hello): (u32, Hello) = connection.receive()?;
        assert_eq!(hello, Hello::of("vmm-log"));
        Ok(connection)
    }

    fn write<T: bincode::Encode>(&mut self, request: u32, message: &T) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        frame::encode(request, &wire::encode(message).unwrap(), &mut bytes).unwrap();
        self.0.write_all(&bytes)
    }

    fn receive<T: bincode::Decode<()>>(&mut self) -> std::io::Result<(u32, T)> {
        let mut header = [0; HEADER];
        self.0.read_exact(&mut header)?;
        let Header { length, request } = Header::parse(header).unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((request, wire::decode(&body).unwrap()))
    }

    pub fn try_tell(&mut self, request: u32, message: &ToLog) -> std::io::Result<()> {
        self.write(request, message)
    }

    pub fn tell(&mut self, request: u32, message: &ToLog) {
        self.write(request, message).unwrap();
    }

    pub fn try_next(&mut self) -> std::io::Result<(u32, FromLog)> {
        self.receive()
    }

    /// The next message but those that say where reading stands.
    pub fn next(&mut self) -> FromLog {
        loop {
            match self.receive().unwrap().1 {
                FromLog::At(_) => {}
                other => return other,
            }
        }
    }

    pub fn append(&mut self, events: Vec<Event>) -> FromLog {
        self.tell(5, &ToLog::Append(events));
        let (request, answer) = self.receive().unwrap();
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
