//! The life of the process: words in, an exit code out.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::connect::Dialler;
use crate::failure::{Code, Failure, INTERRUPTED, Stop};
use crate::interactive;
use crate::options::{Cli, Command, Format};
use crate::output::Screen;
use crate::plan::Plan;
use crate::settings::Way;
use crate::{time, verbs};

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error, &words),
    };
    let mut screen = Screen::standard(cli.global.format, cli.global.verbose);
    let done = vmm_service::run::block_on(|| async { Ok(run(cli, &mut screen).await) })
        .unwrap_or_else(|error| {
            let problem = format!("cannot begin: {error:#}");
            Err(Failure::new(Code::Output, problem).into())
        });
    exit_code(done, &mut screen)
}

async fn run(cli: Cli, screen: &mut Screen) -> Result<(), Stop> {
    let interactive = cli.command.is_none();
    if interactive && !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "no command was given, and an interactive session needs a terminal: see --help",
        )
        .into());
    }
    let dialler = Dialler::new(Way::of(cli.global, |name| std::env::var_os(name))?)?;
    match cli.command {
        Some(command) => one(command, &dialler, screen).await,
        None => interactive::session(&dialler, screen).await,
    }
}

/// One command on a connection of its own.
async fn one(command: Command, dialler: &Dialler, screen: &mut Screen) -> Result<(), Stop> {
    let plan = Plan::of(command, dialler.speaker(), time::now_ms())?;
    let mut session = dialler.dial(plan.needs, screen).await?;
    let done = verbs::perform(plan, &mut session, screen).await;
    session.close().await;
    done
}

/// Tells why it failed, if it did, and turns it into an exit code.
fn exit_code(done: Result<(), Stop>, screen: &mut Screen) -> ExitCode {
    match done {
        Ok(()) | Err(Stop::OutputClosed) => ExitCode::SUCCESS,
        Err(Stop::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(Stop::Failed(failure)) => {
            screen.failure(&failure);
            ExitCode::from(failure.code.exit())
        }
    }
}

/// A command line that makes no sense, or a wish for help.
fn misunderstood(error: &clap::Error, words: &[OsString]) -> ExitCode {
    // There is nobody left to tell when it cannot be printed.
    let _ = error.print();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return ExitCode::SUCCESS;
    }
    let failure = Failure::misunderstood(error);
    if wants_json(words) {
        Screen::standard(Format::Json, false).failure_in_json(&failure);
    }
    ExitCode::from(failure.code.exit())
}

/// Whether JSON was asked for, in a command line that could not be parsed.
fn wants_json(words: &[OsString]) -> bool {
    let own = words.iter().take_while(|word| *word != "--");
    let own: Vec<_> = own.collect();
    own.iter().any(|word| *word == "--format=json")
        || own.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json")
}
