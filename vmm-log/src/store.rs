//! Writing: what is acknowledged is on disk, once, and chained.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use vmm_proto::message::log::Event;

use crate::chain::{FIRST, Link, seal};
use crate::files::Files;
use crate::record::{self, CHAIN_BROKEN, Head, OWN, TooLong};
use crate::verify::{self, Found};

/// Sources whose last number is remembered. Each journal of a `vmmd` is one.
const SOURCES: usize = 4096;

/// How large the files get, and how many there are.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A file of so many bytes is full.
    pub full: u64,
    /// So many full files are kept.
    pub keep: usize,
}

impl Default for Limits {
    /// 64 MiB, and eight.
    fn default() -> Self {
        Self { full: 64 << 20, keep: 8 }
    }
}

/// How far the log is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable {
    /// The number of the file that is written.
    pub file: u64,
    /// Its bytes that are on disk.
    pub end: u64,
}

/// The last number of each source that is on disk, as far as a request is about it.
pub type Acknowledged = Vec<([u8; 16], u64)>;

/// Why events were not written. None of the request's were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// event {got} of its source follows event {last}: those between are missing
    #[error("event {got} of its source follows event {last}: those between are missing")]
    Missing {
        /// The last that is written.
        last: u64,
        /// What was to be written.
        got: u64,
    },
    /// {0}
    #[error("{0}")]
    TooLong(String),
    /// the log cannot be written: {0}
    #[error("the log cannot be written: {0}")]
    Disk(String),
}

impl From<TooLong> for AppendError {
    fn from(error: TooLong) -> Self {
        Self::TooLong(error.to_string())
    }
}

/// The log, for the one who writes it.
#[derive(Debug)]
pub struct Store {
    files: Arc<Files>,
    limits: Limits,
    file: File,
    durable: Durable,
    link: Link,
    sources: Sources,
    /// Something may stand after the durable end: what a failed write left.
    untidy: bool,
    /// The names of the files may not be durable.
    unnamed: bool,
}

/// What is to be written next.
struct Batch {
    lines: Vec<u8>,
    link: Link,
    /// The last number of each source in it.
    last: HashMap<[u8; 16], u64>,
}

impl Store {
    /// Opens the log in `dir`: cuts off what a crash left unfinished, checks the chain of the newest
    /// file, and finds the last number of each source in the newest two.
    ///
    /// # Errors
    /// When the files cannot be read or made. A broken chain is not an error: it is logged, and
    /// recorded where the disk allows.
    pub fn open(dir: &Path, limits: Limits) -> anyhow::Result<Self> {
        let files = Files::new(dir).with_context(|| dir.display().to_string())?;
        let file = files.open_current().with_context(|| dir.display().to_string())?;
        let mut sources = Sources::default();
        let mut previous = Some(FIRST);
        if let Some(&number) = files.full()?.last() {
            let full = files.open(number)?;
            previous = verify::file(&full, None, |line| sources.learn(line))?.last;
        }
        let mut reported = 0;
        let found = verify::file(&file, previous, |line| {
            sources.learn(line);
            reported = reported_breaks(line).unwrap_or(reported);
        })?;
        let mut store = Self {
            durable: Durable { file: files.current(), end: found.bytes },
            link: found.last.unwrap_or(FIRST),
            files: Arc::new(files),
            limits,
            file,
            sources,
            untidy: found.torn > 0,
            unnamed: true,
        };
        if found.torn > 0 {
            tracing::warn!(
                "{} bytes of an unfinished record are cut off the end of the log",
                found.torn
            );
        }
        store.tidy()?;
        if found.breaks > reported {
            store.report_breaks(&found);
        }
        Ok(store)
    }

    /// The files, for those who read them.
    pub fn files(&self) -> Arc<Files> {
        Arc::clone(&self.files)
    }

    /// How far the log is on disk.
    pub fn durable(&self) -> Durable {
        self.durable
    }

    /// Writes the events of several requests with one wait for the disk. Each request is written
    /// whole or not at all; events that were written before are acknowledged and not written again.
    pub fn append<'a>(
        &mut self,
        requests: impl IntoIterator<Item = &'a [Event]>,
    ) -> Vec<Result<Acknowledged, AppendError>> {
        let mut batch = Batch { lines: Vec::new(), link: self.link, last: HashMap::new() };
        let mut results: Vec<_> =
            requests.into_iter().map(|events| self.prepare(events, &mut batch)).collect();
        if batch.lines.is_empty() {
            return results;
        }
        match self.write(&batch.lines, batch.link) {
            Ok(()) => {
                for (source, last) in batch.last {
                    self.sources.set(source, last);
                }
            }
            Err(error) => {
                tracing::error!("the log cannot be written: {error}");
                let failed = AppendError::Disk(error.to_string());
                for result in results.iter_mut().filter(|result| result.is_ok()) {
                    *result = Err(failed.clone());
                }
            }
        }
        results
    }

    /// Adds a request to a batch, or leaves the batch as it was.
    fn prepare(&self, events: &[Event], batch: &mut Batch) -> Result<Acknowledged, AppendError> {
        let (begin, link) = (batch.lines.len(), batch.link);
        let mut last: HashMap<[u8; 16], u64> = HashMap::new();
        let mut add = || {
            for event in events {
                let source = event.source;
                let before = last
                    .get(&source)
                    .or_else(|| batch.last.get(&source))
                    .copied()
                    .or_else(|| self.sources.get(source));
                if let Some(before) = before.filter(|before| event.sequence <= *before) {
                    last.insert(source, before);
                    continue;
                }
                check_next(before, event)?;
                let document = record::document(event)?;
                batch.link = seal(batch.link, &document, &mut batch.lines);
                last.insert(source, event.sequence);
            }
            Ok(())
        };
        if let Err(error) = add() {
            tracing::error!("events are refused: {error}");
            batch.lines.truncate(begin);
            batch.link = link;
            return Err(error);
        }
        batch.last.extend(last.iter().map(|(source, last)| (*source, *last)));
        Ok(last.into_iter().collect())
    }

    /// Writes lines that end with `link`; when that fails, it is as if nothing had happened.
    fn write(&mut self, lines: &[u8], link: Link) -> io::Result<()> {
        self.tidy()?;
        if self.durable.end >= self.limits.full {
            self.rotate();
        }
        self.name()?;
        self.untidy = true;
        let written =
            self.file.write_all_at(lines, self.durable.end).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            if let Err(also) = self.tidy() {
                tracing::warn!("what a failed write left cannot be cut off yet: {also}");
            }
            return Err(error);
        }
        self.untidy = false;
        self.durable.end += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        self.link = link;
        Ok(())
    }

    /// Cuts off what stands after the durable end.
    fn tidy(&mut self) -> io::Result<()> {
        if self.untidy {
            self.file.set_len(self.durable.end)?;
            self.file.sync_all()?;
            self.untidy = false;
        }
        Ok(())
    }

    /// Makes the names of the files durable: records in a file without a name would be lost.
    fn name(&mut self) -> io::Result<()> {
        if self.unnamed {
            self.files.sync()?;
            self.unnamed = false;
        }
        Ok(())
    }

    /// Goes on in a new file. Where that is not possible, the full one gets longer.
    fn rotate(&mut self) {
        match self.files.rotate() {
            Ok(file) => {
                self.file = file;
                self.durable = Durable { file: self.files.current(), end: 0 };
                self.unnamed = true;
            }
            Err(error) => tracing::warn!("the log stays in a file that is full: {error}"),
        }
        if let Err(error) = self.files.remove_oldest(self.limits.keep) {
            tracing::warn!("an old file of the log cannot be removed: {error}");
        }
    }

    fn report_breaks(&mut self, found: &Found) {
        let line = found.first_break.unwrap_or_default();
        tracing::error!(
            "THE LOG WAS CHANGED: its chain is broken in {} places, first at line {line} of the \
             newest file; see vmm-log --verify",
            found.breaks
        );
        let fields = [
            ("breaks".to_owned(), found.breaks.to_string()),
            ("first_line".to_owned(), line.to_string()),
        ];
        let recorded = record::own(CHAIN_BROKEN, &fields, now_ms())
            .map_err(io::Error::other)
            .and_then(|document| {
                let mut lines = Vec::new();
                let sealed = seal(self.link, &document, &mut lines);
                self.write(&lines, sealed)
            });
        if let Err(error) = recorded {
            tracing::error!("the broken chain cannot be recorded: {error}");
        }
    }
}

/// Whether an event is the next of its source, of which `before` is the last known.
fn check_next(before: Option<u64>, event: &Event) -> Result<(), AppendError> {
    let got = event.sequence;
    match before {
        Some(last) if got != last + 1 => Err(AppendError::Missing { last, got }),
        // Its earlier events may have been written and rotated away, or lost with a disk. To refuse
        // all others for ever would lose more.
        None if got != 1 => {
            tracing::warn!("the first event known of its source has number {got}");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// How many breaks of the chain a record reports.
fn reported_breaks(line: &[u8]) -> Option<u64> {
    let head = Head::parse(line).filter(|head| head.kind == CHAIN_BROKEN && head.source == OWN);
    head.and_then(|_| record::field(line, "breaks")?.parse().ok())
}

/// The last number of each source, the newest [`SOURCES`] of them.
#[derive(Debug, Default)]
struct Sources {
    last: HashMap<[u8; 16], u64>,
    /// In the order in which they came.
    order: VecDeque<[u8; 16]>,
}

impl Sources {
    fn get(&self, source: [u8; 16]) -> Option<u64> {
        self.last.get(&source).copied()
    }

    fn set(&mut self, source: [u8; 16], last: u64) {
        if self.last.insert(source, last).is_none() {
            self.order.push_back(source);
            if self.order.len() > SOURCES {
                self.order.pop_front().map(|oldest| self.last.remove(&oldest));
            }
        }
    }

    fn learn(&mut self, line: &[u8]) {
        if let Some(head) = Head::parse(line)
            && let Some(source) = head.source()
        {
            self.set(source, head.sequence);
        }
    }
}

/// Now, in Unix milliseconds.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
