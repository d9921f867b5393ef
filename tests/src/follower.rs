//! A client that follows something, and what it has printed so far.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;
use xtask::house::wait_until;

use crate::setup::Setup;

/// A client that goes on, and what it has printed.
pub struct Follower {
    /// Its process.
    pub child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reading: Option<JoinHandle<()>>,
}

impl Follower {
    /// Starts `vmm-client` as `admin`.
    pub fn start(setup: &Setup, arguments: &[&str]) -> Self {
        let mut child = setup.client_started("admin", arguments);
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&lines);
        let reading = std::thread::spawn(move || {
            for line in out.lines() {
                all.lock().unwrap().push(line.unwrap());
            }
        });
        Self { child, lines, reading: Some(reading) }
    }

    /// The lines that it has printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// How many these are.
    pub fn count(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    /// Waits until it has printed more.
    pub fn goes_on(&self, what: &str) {
        let before = self.count();
        wait_until(what, || self.count() > before).unwrap();
    }

    /// Waits until it has ended by itself, well; returns all that it printed.
    pub fn rest(mut self) -> Vec<String> {
        self.reading.take().unwrap().join().unwrap();
        let status = self.child.wait().unwrap();
        let said = std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap();
        assert!(status.success(), "{status}: {said}");
        self.lines()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// What a client printed as JSON of a console.
#[derive(Debug)]
pub struct Console {
    /// What there is of it, by position.
    pub texts: Vec<(u64, String)>,
    /// Bytes of gaps.
    pub missing: u64,
    /// The position of the first byte, or of the first gap.
    pub start: u64,
    /// The position behind the last one.
    pub end: u64,
}

impl Console {
    /// Joins the pieces, each of which must begin where the one before has ended.
    pub fn joined(lines: &[String]) -> Self {
        let mut this = Self { texts: Vec::new(), missing: 0, start: 0, end: 0 };
        let mut is_first = true;
        for line in lines {
            let piece: Value = serde_json::from_str(line).unwrap();
            let (text, lost) = (piece.get("output"), piece.get("lost"));
            let Some(part) = text.or(lost) else { continue };
            let position = part["position"].as_u64().unwrap();
            if std::mem::take(&mut is_first) {
                (this.start, this.end) = (position, position);
            }
            assert_eq!(position, this.end, "{line}");
            if text.is_some() {
                let text = part["text"].as_str().unwrap().to_owned();
                this.end += u64::try_from(text.len()).unwrap();
                this.texts.push((position, text));
            } else {
                let bytes = part["bytes"].as_u64().unwrap();
                assert!(bytes > 0, "{line}");
                this.missing += bytes;
                this.end += bytes;
            }
        }
        this
    }
}
