//! Showing a console.

use vmm_proto::message::client::{ErrorCode, Reply};
use vmm_proto::message::{Exit, Output};

use super::Asked;
use crate::failure::{Code, Failure, Stop};
use crate::output::Screen;
use crate::output::escape::Escaper;
use crate::output::json::Event;

/// Reads a console to its end, or to now.
pub(super) async fn attach(
    asked: &mut Asked<'_>,
    name: &str,
    follow: bool,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let mut console = Console::new(screen);
    if follow {
        heed_interrupts(asked, screen)?;
    }
    loop {
        let reply = asked.next().await;
        match console.interrupted(reply, name, screen)? {
            Reply::Output(output) => console.show(&output, screen)?,
            Reply::Ended { state, exit } => console.ended(name, &state, exit, screen)?,
            Reply::Done => return console.finish(screen),
            other => return Err(asked.unexpected(&other)),
        }
    }
}

/// Ctrl-C at a terminal detaches with a word about the machine. Elsewhere it ends the process as
/// ever, even while a reader of the output is slow.
pub(super) fn heed_interrupts(asked: &mut Asked<'_>, screen: &Screen) -> Result<(), Stop> {
    if screen.answers_are_for_people() {
        asked.session.heed_interrupts()?;
    }
    Ok(())
}

/// What a machine's exit is called.
pub(super) fn exit_text(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::OutOfMemory => "out of memory".to_owned(),
        Exit::Unknown => "nobody saw how".to_owned(),
    }
}

/// A console as it is shown.
pub(super) struct Console {
    /// On a terminal. A file or a pipe gets the bytes as they are.
    escaper: Option<Escaper>,
}

impl Console {
    pub(super) fn new(screen: &Screen) -> Self {
        let escaped = screen.answers_are_for_people() && !screen.is_json();
        Self { escaper: escaped.then(Escaper::default) }
    }

    pub(super) fn show(&mut self, output: &Output, screen: &mut Screen) -> Result<(), Stop> {
        if screen.is_json() {
            return screen.json(&Event::output(output));
        }
        match (output, &mut self.escaper) {
            (Output::Bytes { data, .. }, None) => screen.bytes(data),
            (Output::Bytes { data, .. }, Some(escaper)) => {
                let text = escaper.next(data);
                screen.text(&text)
            }
            (Output::Gap { bytes, .. }, _) => {
                self.finish(screen)?;
                screen.complain(&format!("[… {bytes} bytes of output lost …]"));
                Ok(())
            }
        }
    }

    /// Shows what was held back for the rest of a character.
    pub(super) fn finish(&mut self, screen: &mut Screen) -> Result<(), Stop> {
        let rest = self.escaper.as_mut().map(Escaper::finish).unwrap_or_default();
        if rest.is_empty() { Ok(()) } else { screen.text(&rest) }
    }

    /// Tells how the machine ended. One that never ran is a failure.
    pub(super) fn ended(
        &mut self,
        name: &str,
        state: &str,
        exit: Option<Exit>,
        screen: &mut Screen,
    ) -> Result<(), Stop> {
        self.finish(screen)?;
        if screen.is_json() {
            screen.json(&Event::ended(state, exit))?;
        }
        match exit {
            Some(exit) => screen.note(&format!("[{name}: {state}, {}]", exit_text(exit))),
            None => screen.note(&format!("[{name}: {state}]")),
        }
        Ok(())
    }

    /// Tells who presses Ctrl-C that the machine does not care.
    pub(super) fn interrupted(
        &mut self,
        reply: Result<Reply, Stop>,
        name: &str,
        screen: &mut Screen,
    ) -> Result<Reply, Stop> {
        if reply == Err(Stop::Interrupted) {
            self.finish(screen)?;
            screen.note(&format!("\n[detached; {name} goes on]"));
        }
        reply
    }
}

/// The failure of a machine that ended without ever having run.
pub(super) fn never_ran(name: &str) -> Stop {
    let problem = format!("{name} failed to start; `info {name}` may know why");
    Failure::new(Code::Of(ErrorCode::StartFailed), problem).into()
}
