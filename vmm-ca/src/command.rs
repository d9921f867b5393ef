//! The command line.

mod batch;
mod init;
mod inspect;
mod issuer;
mod keys;
mod list;
mod list_file;
mod preview;
mod renew_server;
mod request;
mod revoke;
mod sign;
mod subtree;
mod verify;

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum, value_parser};

use crate::time::MAX_DAYS;
use crate::{Error, Exit};

/// Asks for something that must not be seen; the argument is the question.
pub type AskSecret = dyn FnMut(&str) -> std::io::Result<String>;

/// What a command may touch of the world around it.
pub struct World<'w> {
    /// File names are relative to this directory.
    pub directory: PathBuf,
    /// Unix seconds.
    pub now: i64,
    /// Standard output.
    pub out: &'w mut dyn Write,
    /// Standard error.
    pub err: &'w mut dyn Write,
    /// Where to ask, when someone sits at a terminal.
    pub terminal: Option<&'w mut dyn BufRead>,
    /// Asks there for what must not be seen, like a passphrase.
    pub secret: Option<&'w mut AskSecret>,
}

impl World<'_> {
    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.join(name)
    }

    fn say(&mut self, text: impl std::fmt::Display) -> Result<(), Error> {
        let failed = Error::io("write", Path::new("standard output"));
        writeln!(self.out, "{text}").map_err(failed)
    }

    fn warn(&mut self, text: impl std::fmt::Display) -> Result<(), Error> {
        let failed = Error::io("write", Path::new("standard error"));
        writeln!(self.err, "warning: {text}").map_err(failed)
    }

    /// An error that does not end the command at once.
    fn complain(&mut self, error: &Error) -> Result<(), Error> {
        let failed = Error::io("write", Path::new("standard error"));
        writeln!(self.err, "error: {error}").map_err(failed)
    }

    /// Asks a question that is answered by yes or no; the default is no. Without a terminal nobody
    /// is asked.
    fn confirm(&mut self, question: &str) -> Result<(), Error> {
        let Some(terminal) = &mut self.terminal else { return Ok(()) };
        let failed = |error| Error::io("ask on", Path::new("the terminal"))(error);
        write!(self.err, "{question} [y/N] ").and_then(|()| self.err.flush()).map_err(failed)?;
        let mut answer = String::new();
        terminal.read_line(&mut answer).map_err(failed)?;
        if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
            Ok(())
        } else {
            Err(Error::Declined)
        }
    }
}

/// Delegates shares of virtual machine hosts by certificates
#[derive(Debug, Parser)]
#[command(name = "vmm-ca", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set up an authority: its key, its certificate, its database, and a server certificate
    ///
    /// Writes ca.key, cacert.pem, the database, server.key and server.pem into the current
    /// directory. Nothing that exists is overwritten. Keep ca.key on a machine without a network.
    Init(init::Init),
    /// Make a key, and a request for a certificate on it
    ///
    /// Writes LABEL.req, to be signed by an issuer, and LABEL.key, which stays where it is.
    #[command(subcommand)]
    Request(request::Request),
    /// Sign a request, if it fits the issuer
    ///
    /// Shows what is asked for, what the issuer has and what it gave to others; signs what fits, and
    /// writes LABEL.pem (the certificate) and LABEL.bundle (it and the chain above it).
    Sign(sign::Sign),
    /// Sign many delegations, all of them or none
    ///
    /// The first line of the CSV file names its columns, in any order:
    ///
    /// label: the delegation's label. request: the file of its request, which says the rest; without
    /// one, a key is made (LABEL.key) and these say what is delegated: machines, memory (MiB), cpus
    /// (ids, by spaces), storage (MiB, default 0), bridges (NAME[/FIRST/LAST/GATEWAY/PREFIX], by
    /// spaces). days: how long it is valid (default 365).
    ///
    /// Every row is checked before the first one is signed; each error names its row.
    SignBatch(batch::SignBatch),
    /// Give a server a new certificate, for the same names and the same key
    ///
    /// Replaces the file. The server's private key is not needed, so this works on the machine of the
    /// authority.
    RenewServer(renew_server::RenewServer),
    /// Take certificates back: every one of a label that has not expired, and what is below it
    ///
    /// Writes the issuer's revocation list into the current directory, named like the database:
    /// `vmm-ca revoke dev.db dev.bundle dev.key hello` writes dev.crl. The list takes effect on a
    /// server once it is handed in there (vmm-client revoke dev.crl).
    Revoke(revoke::Revoke),
    /// Issue the revocation list anew, before the last one is overdue
    ///
    /// It names everything that this issuer key took back and that has not expired.
    Crl(revoke::List),
    /// Say what certificates, requests and bundles are
    ///
    /// A file that cannot be read does not keep the others from being shown, but the command ends
    /// with 2.
    Inspect(inspect::Inspect),
    /// Judge a chain as a server would, without one
    ///
    /// Shows each certificate from the root down, with its limits, and the verdict with the number of
    /// the rule of the certificate profile. Ends with 3 when it is refused. What only a server knows
    /// (newer generations that it was shown, what runs already) is left out.
    Verify(verify::Verify),
    /// List everything that an issuer has issued
    List(list::List),
}

/// How output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON document
    Json,
}

/// One JSON document, for a person to look at too.
fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string_pretty(value)
        .map_err(|error| Error::Malformed(format!("cannot be written as JSON: {error}")))
}

/// A number of days as an argument.
fn days() -> clap::builder::RangedI64ValueParser<u32> {
    value_parser!(u32).range(1..=i64::from(MAX_DAYS))
}

/// The whole program: the process's own arguments, files, clock and terminal.
pub fn main() -> ExitCode {
    let mut input = std::io::stdin().lock();
    let at_terminal = input.is_terminal();
    let mut out = std::io::stdout().lock();
    let mut err = std::io::stderr().lock();
    let mut secret = |question: &str| rpassword::prompt_password(question);
    let mut world = World {
        directory: PathBuf::new(),
        now: crate::time::now(),
        out: &mut out,
        err: &mut err,
        terminal: at_terminal.then_some(&mut input as &mut dyn BufRead),
        secret: at_terminal.then_some(&mut secret as _),
    };
    ExitCode::from(run(std::env::args_os(), &mut world) as u8)
}

/// Runs one command line, the program's name first.
pub fn run(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    world: &mut World<'_>,
) -> Exit {
    let result = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => execute(arguments.command, world),
        Err(error) => return usage(&error, world),
    };
    let result = result.and_then(|exit| {
        world.out.flush().map_err(Error::io("write", Path::new("standard output"))).map(|()| exit)
    });
    match result {
        Ok(exit) => exit,
        Err(error) => {
            // When standard error is gone too, the exit code is all that is left to say it with.
            let _ = writeln!(world.err, "error: {error}");
            error.exit()
        }
    }
}

fn execute(command: Command, world: &mut World<'_>) -> Result<Exit, Error> {
    match command {
        Command::Init(command) => command.run(world).map(|()| Exit::Done),
        Command::Request(command) => command.run(world).map(|()| Exit::Done),
        Command::Sign(command) => command.run(world).map(|()| Exit::Done),
        Command::SignBatch(command) => command.run(world).map(|()| Exit::Done),
        Command::RenewServer(command) => command.run(world).map(|()| Exit::Done),
        Command::Revoke(command) => command.run(world).map(|()| Exit::Done),
        Command::Crl(command) => command.run(world).map(|()| Exit::Done),
        Command::Inspect(command) => command.run(world),
        Command::Verify(command) => command.run(world).map(|()| Exit::Done),
        Command::List(command) => command.run(world).map(|()| Exit::Done),
    }
}

/// Help and version go to standard output and are no failure; the rest is.
fn usage(error: &clap::Error, world: &mut World<'_>) -> Exit {
    let (stream, exit): (&mut dyn Write, Exit) =
        if error.use_stderr() { (world.err, Exit::Usage) } else { (world.out, Exit::Done) };
    match write!(stream, "{}", error.render()) {
        Ok(()) => exit,
        Err(_) => Exit::Failed,
    }
}
