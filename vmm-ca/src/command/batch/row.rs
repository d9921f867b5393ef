//! The rows of a batch.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use vmm_proto::grant::Grant;
use vmm_proto::name::Label;
use vmm_proto::resource::{CpuSet, Delegation, MAX_CPU};

use super::super::World;
use super::super::sign::{DELEGATION_DAYS, load_request};
use super::key_file;
use crate::key::{Algorithm, Key};
use crate::options::{DelegationOptions, bridge};
use crate::request::Request;
use crate::time::MAX_DAYS;
use crate::{Error, file, pem};

/// At most so many rows in one file.
const MAX_ROWS: usize = 4096;

/// A line of the file: a row, or what is wrong with it.
pub(super) struct Line {
    /// Counted from 1, the line of column names being 1.
    pub(super) number: u64,
    pub(super) parsed: Result<Row, Error>,
}

/// What one row asks for.
pub(super) struct Row {
    pub(super) request: Request,
    /// The key that was made for it, and its file.
    pub(super) key: Option<(PathBuf, Key)>,
    pub(super) days: u32,
}

/// The columns, as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Columns {
    label: String,
    request: Option<String>,
    machines: Option<String>,
    memory: Option<String>,
    cpus: Option<String>,
    storage: Option<String>,
    bridges: Option<String>,
    days: Option<String>,
}

/// Reads all rows; one that is wrong does not hide the others.
pub(super) fn read(path: &Path, world: &World<'_>) -> Result<Vec<Line>, Error> {
    let text = file::read(path, pem::MAX_FILE)?;
    let mut reader = csv::ReaderBuilder::new()
        .comment(Some(b'#'))
        .trim(csv::Trim::All)
        .from_reader(text.as_slice());
    let mut lines = Vec::new();
    let headers = reader.headers().cloned();
    let wrong = |problem: String| Error::Malformed(problem).in_file(path);
    let headers = headers.map_err(|error| wrong(error.to_string()))?;
    for record in reader.records() {
        if lines.len() == MAX_ROWS {
            return Err(wrong(format!("more than {MAX_ROWS} rows")));
        }
        let (number, parsed) = match record {
            Ok(record) => {
                let number = record.position().map_or(0, csv::Position::line);
                let columns = record.deserialize::<Columns>(Some(&headers)).map_err(malformed);
                (number, columns.and_then(|columns| columns.row(world)))
            }
            Err(error) => (error.position().map_or(0, csv::Position::line), Err(malformed(error))),
        };
        lines.push(Line { number, parsed });
    }
    if lines.is_empty() { Err(wrong("no row in it".to_owned())) } else { Ok(lines) }
}

#[allow(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn malformed(error: csv::Error) -> Error {
    Error::Malformed(error.to_string())
}

impl Columns {
    fn row(&self, world: &World<'_>) -> Result<Row, Error> {
        let label = Label::parse(&self.label)?;
        let days = number(self.days.as_deref(), "days")?.unwrap_or(DELEGATION_DAYS);
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(Error::Usage(format!("days must be 1 to {MAX_DAYS}")));
        }
        if let Some(file) = self.request.as_ref().filter(|file| !file.is_empty()) {
            self.says_nothing_else()?;
            let request = load_request(&world.path(file))?;
            if request.label != label {
                return Err(Error::Usage(format!("{file} is for \"{}\"", request.label)));
            }
            return Ok(Row { request, key: None, days });
        }
        let key = Key::generate(Algorithm::default())?;
        let der = Request::build(&label, &Grant::Delegation(self.share()?), &key)?;
        let key = Some((key_file(label.as_str(), world), key));
        Ok(Row { request: Request::parse(&der)?, key, days })
    }

    /// What a request says is not said a second time.
    fn says_nothing_else(&self) -> Result<(), Error> {
        for (name, value) in [
            ("machines", &self.machines),
            ("memory", &self.memory),
            ("cpus", &self.cpus),
            ("storage", &self.storage),
            ("bridges", &self.bridges),
        ] {
            if value.as_ref().is_some_and(|value| !value.is_empty()) {
                return Err(Error::Usage(format!(
                    "the request says what \"{name}\" is: leave it empty"
                )));
            }
        }
        Ok(())
    }

    fn share(&self) -> Result<Delegation, Error> {
        let missing = |name: &str| Error::Usage(format!("\"{name}\" is missing"));
        let machines: u32 =
            number(self.machines.as_deref(), "machines")?.ok_or_else(|| missing("machines"))?;
        let machines = u16::try_from(machines)
            .map_err(|_| Error::Usage(format!("machines {machines} is more than {}", u16::MAX)))?;
        let cpus = words(self.cpus.as_deref())
            .map(|word| match word.parse::<u16>() {
                Ok(id) if id <= MAX_CPU => Ok(id),
                _ => Err(Error::Usage(format!("{word:?} is not a CPU id (0 to {MAX_CPU})"))),
            })
            .collect::<Result<CpuSet, _>>()?;
        if cpus.is_empty() {
            return Err(missing("cpus"));
        }
        let bridges = words(self.bridges.as_deref())
            .map(|word| bridge(word).map_err(|error| Error::Usage(format!("{word}: {error}"))))
            .collect::<Result<Vec<_>, _>>()?;
        let options =
            DelegationOptions { cpus: Vec::new(), bridges, storage: 0, hosts: Vec::new() };
        Ok(Delegation {
            generation: 0,
            machines,
            memory_mib: number(self.memory.as_deref(), "memory")?
                .ok_or_else(|| missing("memory"))?,
            cpus,
            storage_mib: number(self.storage.as_deref(), "storage")?.unwrap_or(0),
            bridges: options.bridges()?,
            hosts: None,
        })
    }
}

fn words(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.unwrap_or_default().split_whitespace()
}

fn number(text: Option<&str>, name: &str) -> Result<Option<u32>, Error> {
    match text {
        None | Some("") => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| Error::Usage(format!("{name}: {text:?} is not a number"))),
    }
}
