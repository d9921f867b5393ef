//! The monitor of one machine: loads one Solo5 image and runs it, on KVM (`hvt`) or as a process
//! under seccomp (`spt`).
//!
//! [`cli`] turns arguments into a [`cli::Command`]; [`inspect`] describes an image; [`run`]
//! starts it. What is said about a file comes from `vmm-tender-abi`, which checks it; guest
//! memory is only touched through `memory::GuestMemory`, which checks every address.
//!
//! Before a guest's first instruction, the process enters the `jail`, and then installs the filter
//! of system calls that is its kind's. What is said of an hvt guest that failed, and its core file,
//! comes from `hvt::postmortem`.
//!
//! Called by the name of one of Solo5's own tenders, it has that one's command line ([`solo5`]).
//!
//! One process runs one machine in one thread. An spt guest takes the process over, so
//! that the exit status is its own doing; an hvt guest's status is passed on by [`main`].

pub mod cli;
mod command_line;
mod console;
mod core_directory;
mod descriptors;
pub mod devices;
mod error;
#[cfg(any(feature = "fuzzing", test))]
pub mod fuzzing;
mod host;
mod hvt;
mod image_file;
#[cfg(test)]
mod inmate;
mod inspect;
mod jail;
mod memory;
mod program;
mod refusal;
mod run;
mod solo5;
mod spt;
mod status;
mod sys;

use std::ffi::OsString;

pub use command_line::CommandLine;
pub use error::Error;
pub use hvt::{Registers, Trace};
use rustix::stdio;

use cli::Command;
use program::Program;
use status::StatusPipe;

/// Exit status of a failed tender.
const FAILED: u8 = 1;

/// Does what `arguments` ask for, of which the first is the program's name, and returns the exit
/// status. Does not return once an spt guest runs.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> u8 {
    let program = Program::called(&arguments.next().unwrap_or_default());
    program.become_current();
    let arguments: Vec<OsString> = arguments.collect();
    match program {
        Program::VmmTender => own(&arguments),
        Program::Solo5Hvt | Program::Solo5Spt | Program::Solo5HvtDebug => {
            solo5::main(program, &arguments)
        }
    }
}

/// The command line of our own.
fn own(arguments: &[OsString]) -> u8 {
    let mut status = match StatusPipe::take(cli::status_descriptor(arguments)) {
        Ok(status) => status,
        Err(error) => return complain(&error),
    };
    match cli::parse(arguments).and_then(|command| perform(command, &mut status)) {
        Ok(status) => status,
        Err(error) => {
            status.failed(&error);
            complain(&error)
        }
    }
}

fn perform(command: Command, status: &mut StatusPipe) -> Result<u8, Error> {
    match command {
        Command::Run(options) => run::run(options, status),
        Command::Inspect(options) => print(&inspect::inspect(options)?),
        Command::Help => print(cli::USAGE),
        Command::Version => print(concat!("vmm-tender ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

fn print(text: &str) -> Result<u8, Error> {
    console::write_all(stdio::stdout(), text.as_bytes()).map_err(Error::Output)?;
    Ok(0)
}

fn complain(error: &Error) -> u8 {
    let line = format!("vmm-tender: {error}\n");
    // Nobody is left to be told that nobody can be told.
    let _ = console::write_all(stdio::stderr(), line.as_bytes());
    FAILED
}
