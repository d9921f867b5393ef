//! The kernel's packet filter, through the program `nft`: rules are values, never text, and what
//! has been set is read back.

use nftables::helper::{self, NftablesError};
use nftables::schema::{NfCmd, NfListObject, NfObject, Nftables, Table};
use nftables::types::NfFamily;

/// Where the program is, in the order in which it is looked for: `PATH` of an ordinary user has no
/// such directory.
const PROGRAMS: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];

/// Bytes of what it complains about that are repeated.
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
    /// What it says makes no sense.
    #[error("the answer of nft cannot be read: {0}")]
    Nonsense(String),
    /// It said nothing, and what the kernel has is something else.
    #[error("the kernel has other rules than were set: {0}")]
    NotTaken(String),
}

impl From<NftablesError> for Error {
    fn from(error: NftablesError) -> Self {
        match error {
            NftablesError::NftExecution { inner, .. } => Self::Program(inner),
            NftablesError::NftFailed { stderr, .. } => {
                let printable = |c: char| if c.is_control() { ' ' } else { c };
                let complaint = stderr.chars().take(COMPLAINT_MAX).map(printable).collect();
                Self::Refused(complaint)
            }
            error => Self::Nonsense(error.to_string()),
        }
    }
}

fn program() -> Option<&'static str> {
    PROGRAMS.into_iter().find(|path| std::path::Path::new(path).exists())
}

/// Makes all of these changes, or none.
///
/// # Errors
/// None of them is made.
pub fn change(commands: Vec<NfCmd<'_>>) -> Result<(), Error> {
    let objects: Vec<_> = commands.into_iter().map(NfObject::CmdObject).collect();
    let changes = Nftables { objects: objects.into() };
    Ok(helper::apply_ruleset_with_args(&changes, program(), helper::DEFAULT_ARGS)?)
}

/// The names of the tables of a family.
///
/// # Errors
/// They cannot be known.
pub fn tables(family: &str) -> Result<Vec<Table<'static>>, Error> {
    let list = list(["list", "tables", family].into_iter())?;
    let tables = list.into_iter().filter_map(|object| match object {
        NfListObject::Table(table) => Some(table),
        _ => None,
    });
    Ok(tables.collect())
}

/// What is in an IPv4 table: chains, and rules in their order. `None` without such a table.
///
/// # Errors
/// It cannot be known.
pub fn ip_table(name: &str) -> Result<Option<Vec<NfListObject<'static>>>, Error> {
    if !tables("ip")?.iter().any(|table| table.family == NfFamily::IP && table.name == name) {
        return Ok(None);
    }
    list(["list", "table", "ip", name].into_iter()).map(Some)
}

fn list<'a>(
    arguments: impl Iterator<Item = &'a str> + 'a,
) -> Result<Vec<NfListObject<'static>>, Error> {
    let found = helper::get_current_ruleset_with_args(program(), arguments)?;
    let objects = found.objects.into_owned().into_iter().filter_map(|object| match object {
        NfObject::ListObject(object) => Some(object),
        NfObject::CmdObject(_) => None,
    });
    Ok(objects.collect())
}
