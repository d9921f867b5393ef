//! The kernel's packet filter, through the program `nft`: rules are values, never text, and what
//! has been set is read back.

pub mod run;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use nftables::schema::{NfCmd, NfListObject, NfObject, Nftables, Table};
use nftables::types::NfFamily;

use run::{Failure, Runner};

/// Where the program is, in the order in which it is looked for: `PATH` of an ordinary user has no
/// such directory.
const PROGRAMS: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];

/// How long it may take. Nothing else is done meanwhile: this is well below the time after which a
/// manager of services takes this process for stuck, however often it is run at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// Characters of what it complains about that are repeated.
const COMPLAINT_MAX: usize = 200;

/// Why there are no such rules.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such program, or it cannot be run.
    #[error("nft cannot be run: {0} (on Debian, it comes with the package nftables)")]
    Program(std::io::Error),
    /// It did not do it.
    #[error("nft refuses: {0}")]
    Refused(String),
    /// It did not end.
    #[error("nft has not ended within {0:?}, and is killed")]
    Late(Duration),
    /// It was killed, which takes its time.
    #[error("an earlier nft was killed and has not ended yet; the kernel keeps it")]
    Stuck,
    /// What it says has no end.
    #[error("the answer of nft has more than {max} bytes", max = run::OUTPUT_MAX)]
    Endless,
    /// What it says makes no sense.
    #[error("the answer of nft cannot be read: {0}")]
    Nonsense(String),
    /// It said nothing, and what the kernel has is something else.
    #[error("the kernel has other rules than were set: {0}")]
    NotTaken(String),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Io(error) => Self::Program(error),
            Failure::Status(status, said) => match complaint(&said) {
                nothing if nothing.is_empty() => Self::Refused(status.to_string()),
                complaint => Self::Refused(complaint),
            },
            Failure::Late(patience) => Self::Late(patience),
            Failure::Stuck => Self::Stuck,
            Failure::Endless => Self::Endless,
        }
    }
}

/// What it said, as far as it can be shown on a terminal.
fn complaint(said: &[u8]) -> String {
    let shown = |c: char| match c {
        c if c.is_ascii_graphic() => c.to_string(),
        c if c.is_ascii_whitespace() => " ".to_owned(),
        c => c.escape_default().to_string(),
    };
    String::from_utf8_lossy(said).trim().chars().take(COMPLAINT_MAX).map(shown).collect()
}

/// The program.
#[derive(Debug)]
pub struct Nft {
    programs: Vec<PathBuf>,
    runner: Runner,
}

impl Nft {
    /// That of this host.
    pub fn of_host() -> Self {
        Self::of(PROGRAMS.into_iter().map(PathBuf::from).collect(), PATIENCE)
    }

    /// The first of `programs` that there is, which may take so long.
    pub(super) const fn of(programs: Vec<PathBuf>, patience: Duration) -> Self {
        Self { programs, runner: Runner::new(patience) }
    }

    /// Makes all of these changes, or none.
    ///
    /// # Errors
    /// None of them is made; or, after [`Error::Late`], it is not known.
    pub fn change(&mut self, commands: Vec<NfCmd<'_>>) -> Result<(), Error> {
        let objects: Vec<_> = commands.into_iter().map(NfObject::CmdObject).collect();
        let changes = Nftables { objects: objects.into() };
        let input = serde_json::to_vec(&changes).map_err(|it| Error::Nonsense(it.to_string()))?;
        self.run(&["-f", "-"], &input).map(drop)
    }

    /// The tables of a family.
    ///
    /// # Errors
    /// They cannot be known.
    pub fn tables(&mut self, family: &str) -> Result<Vec<Table<'static>>, Error> {
        let tables = self.list(&["list", "tables", family])?.into_iter();
        let tables = tables.filter_map(|object| match object {
            NfListObject::Table(table) => Some(table),
            _ => None,
        });
        Ok(tables.collect())
    }

    /// What is in an IPv4 table: chains, and rules in their order. `None` without such a table.
    ///
    /// # Errors
    /// It cannot be known.
    pub fn ip_table(&mut self, name: &str) -> Result<Option<Vec<NfListObject<'static>>>, Error> {
        let is_it = |table: &Table<'_>| table.family == NfFamily::IP && table.name == name;
        if !self.tables("ip")?.iter().any(is_it) {
            return Ok(None);
        }
        self.list(&["list", "table", "ip", name]).map(Some)
    }

    fn list(&mut self, arguments: &[&str]) -> Result<Vec<NfListObject<'static>>, Error> {
        let output = self.run(arguments, &[])?;
        let found: Nftables<'static> =
            serde_json::from_slice(&output).map_err(|it| Error::Nonsense(it.to_string()))?;
        let objects = found.objects.into_owned().into_iter().filter_map(|object| match object {
            NfObject::ListObject(object) => Some(object),
            NfObject::CmdObject(_) => None,
        });
        Ok(objects.collect())
    }

    fn run(&mut self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, Error> {
        let there = self.programs.iter().find(|path| path.exists());
        let absent = || Error::Program(std::io::ErrorKind::NotFound.into());
        let program = there.ok_or_else(absent)?;
        Ok(self.runner.run(program, &[&["-j"], arguments].concat(), input)?)
    }
}
