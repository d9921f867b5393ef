//! Without a command, on a terminal: the same commands, one a line.
//!
//! A leaf keeps its connection from one command to the next. A delegation makes itself another
//! leaf for each command, with just what that needs, so each command is a connection.

use clap::Parser;
use clap::error::ErrorKind;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::connect::Dialler;
use crate::failure::{Code, Failure, Stop};
use crate::options::Line;
use crate::output::Screen;
use crate::plan::Plan;
use crate::session::Session;
use crate::{time, verbs, words};

/// What is written before each line.
const PROMPT: &str = "vmm> ";

/// Reads and does commands until the end of input, or `exit`.
pub(crate) async fn session(dialler: &Dialler, screen: &mut Screen) -> Result<(), Stop> {
    let mut terminal = Terminal::new().map_err(|error| {
        Failure::new(Code::Output, format!("cannot read the terminal: {error}"))
    })?;
    let mut kept = None;
    loop {
        let line = terminal.line(|| screen.prompt(PROMPT)).await.map_err(|error| {
            Failure::new(Code::Output, format!("cannot read the terminal: {error}"))
        })?;
        match line {
            Typed::End => {
                screen.prompt("\n");
                break;
            }
            Typed::Interrupt => screen.prompt("\n"),
            Typed::Line(line) => match parse(&line, screen) {
                Parsed::Command(line) => {
                    answer(*line, dialler, &mut kept, screen).await?;
                }
                Parsed::Nothing => {}
                Parsed::Exit => break,
            },
        }
    }
    if let Some(session) = kept {
        session.close().await;
    }
    Ok(())
}

/// Does one command. Its failure is told, and is no reason to end.
async fn answer(
    line: Line,
    dialler: &Dialler,
    kept: &mut Option<Session>,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let usual = screen.format;
    screen.format = line.format.unwrap_or(usual);
    let done = perform(line, dialler, kept, screen).await;
    let told = match done {
        Err(Stop::Failed(failure)) => {
            screen.failure(&failure);
            Ok(())
        }
        Ok(()) | Err(Stop::Interrupted) => Ok(()),
        Err(Stop::OutputClosed) => Err(Stop::OutputClosed),
    };
    screen.format = usual;
    told
}

async fn perform(
    line: Line,
    dialler: &Dialler,
    kept: &mut Option<Session>,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let plan = Plan::of(line.command, dialler.speaker(), time::now_ms())?;
    let mut session = match kept.take() {
        Some(session) => session,
        None => dialler.dial(plan.needs, screen).await?,
    };
    session.heed_interrupts()?;
    let done = verbs::perform(plan, &mut session, screen).await;
    if dialler.once() || !session.is_usable() {
        session.close().await;
    } else {
        *kept = Some(session);
    }
    done
}

enum Parsed {
    Command(Box<Line>),
    Nothing,
    Exit,
}

fn parse(line: &str, screen: &mut Screen) -> Parsed {
    let words = match words::split(line) {
        Ok(words) => words,
        Err(problem) => {
            screen.failure(&Failure::usage(problem));
            return Parsed::Nothing;
        }
    };
    match words.first().map(String::as_str) {
        None => return Parsed::Nothing,
        Some("exit" | "quit") if words.len() == 1 => return Parsed::Exit,
        Some(_) => {}
    }
    match Line::try_parse_from(words) {
        Ok(line) => Parsed::Command(Box::new(line)),
        Err(error) => {
            let help = matches!(error.kind(), ErrorKind::DisplayHelp);
            // When it cannot be printed, the next prompt cannot be either.
            let _ = error.print();
            if !help && screen.is_json() {
                screen.failure_in_json(&Failure::misunderstood(&error));
            }
            Parsed::Nothing
        }
    }
}

/// What someone at a terminal does.
enum Typed {
    Line(String),
    Interrupt,
    End,
}

/// Standard input, a line at a time, with Ctrl-C heard while it is waited for.
///
/// A thread reads: a terminal can only be waited for in a blocking read. What is typed ahead waits
/// for its turn, as in a shell. At the end of the process the thread ends with it.
struct Terminal {
    lines: mpsc::Receiver<std::io::Result<String>>,
}

impl Terminal {
    fn new() -> std::io::Result<Self> {
        let (sender, lines) = mpsc::channel(16);
        std::thread::Builder::new().name("terminal".to_owned()).spawn(move || {
            for line in std::io::stdin().lines() {
                // Nobody reads on when the session has ended.
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { lines })
    }

    /// The next line, once `prompt` has asked for it.
    async fn line(&mut self, prompt: impl FnOnce()) -> std::io::Result<Typed> {
        // Made anew, so that it does not hear what was pressed during a command; and before anybody
        // can see the prompt, so that it hears what is pressed then.
        let mut interrupt = signal(SignalKind::interrupt())?;
        prompt();
        tokio::select! {
            biased;
            _ = interrupt.recv() => Ok(Typed::Interrupt),
            line = self.lines.recv() => match line {
                Some(line) => Ok(Typed::Line(line?)),
                None => Ok(Typed::End),
            },
        }
    }
}
