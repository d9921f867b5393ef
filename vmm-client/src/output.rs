//! What is shown: answers on standard output, everything else on standard error.

pub(crate) mod escape;
pub(crate) mod json;
pub(crate) mod table;

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::failure::{Code, Failure, Stop};
use crate::options::Format;
use escape::printable;

/// A machine's name as a person can type it again, whatever the certificate's own path is. JSON has
/// it without the slash.
pub(crate) fn full(name: &str) -> String {
    format!("/{name}")
}

/// Both streams, and how answers are shown on them.
pub(crate) struct Screen {
    answers: Box<dyn Write>,
    notes: Box<dyn Write>,
    answers_on_terminal: bool,
    notes_on_terminal: bool,
    pub(crate) format: Format,
    verbose: bool,
}

impl Screen {
    /// The streams of this process.
    pub(crate) fn standard(format: Format, verbose: bool) -> Self {
        let (answers, notes) = (io::stdout(), io::stderr());
        Self {
            answers_on_terminal: answers.is_terminal(),
            notes_on_terminal: notes.is_terminal(),
            answers: Box::new(answers),
            notes: Box::new(notes),
            format,
            verbose,
        }
    }

    /// Whether answers are read by a person, at a terminal that acts on control characters.
    pub(crate) const fn answers_are_for_people(&self) -> bool {
        self.answers_on_terminal
    }

    /// Whether notes are.
    pub(crate) const fn notes_are_for_people(&self) -> bool {
        self.notes_on_terminal
    }

    /// Whether answers are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Puts out bytes of an answer.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let written = self.answers.write_all(bytes).and_then(|()| self.answers.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Stop::OutputClosed,
            _ => Failure::new(Code::Output, format!("cannot write the output: {error}")).into(),
        })
    }

    /// Puts out text of an answer.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Stop> {
        self.bytes(text.as_bytes())
    }

    /// Puts out a JSON document on a line of its own.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> Result<(), Stop> {
        let mut line = serde_json::to_string(document)
            .map_err(|error| Failure::new(Code::Output, format!("no JSON: {error}")))?;
        line.push('\n');
        self.text(&line)
    }

    /// Tells a person something that is not part of the answer.
    pub(crate) fn note(&mut self, text: &str) {
        if self.notes_on_terminal || self.verbose {
            self.complain(text);
        }
    }

    /// Tells what is being done, if that was asked for.
    pub(crate) fn say(&mut self, text: &str) {
        if self.verbose {
            self.complain(text);
        }
    }

    /// Tells something that must not go unseen.
    pub(crate) fn complain(&mut self, text: &str) {
        // When standard error is closed there is nobody left to tell.
        let _ = writeln!(self.notes, "{}", printable(text));
    }

    /// Writes a line over the one that was written before.
    pub(crate) fn overwrite(&mut self, line: &str) {
        let _ = write!(self.notes, "\r\x1b[K{}", printable(line)).and_then(|()| self.notes.flush());
    }

    /// Asks a person for the next line.
    pub(crate) fn prompt(&mut self, prompt: &str) {
        let _ = self.notes.write_all(prompt.as_bytes()).and_then(|()| self.notes.flush());
    }

    /// Tells why a command failed: a line for people and, in JSON, one for programs.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        self.complain(&format!("vmm-client: {failure}"));
        if self.is_json() {
            self.failure_in_json(failure);
        }
    }

    /// The line for programs.
    pub(crate) fn failure_in_json(&mut self, failure: &Failure) {
        // Every text has a JSON form, and see `complain`.
        let document = json::Failed::of(failure);
        let _ = serde_json::to_string(&document)
            .map_err(io::Error::other)
            .and_then(|line| writeln!(self.notes, "{line}"));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// A stream that can be looked at.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Shared(Rc<RefCell<Vec<u8>>>);

    impl Shared {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Screen {
        /// A screen that is no terminal, its answers and its notes.
        pub(crate) fn shared(format: Format) -> (Self, Shared, Shared) {
            let (answers, notes) = (Shared::default(), Shared::default());
            let screen = Self {
                answers: Box::new(answers.clone()),
                notes: Box::new(notes.clone()),
                answers_on_terminal: false,
                notes_on_terminal: false,
                format,
                verbose: false,
            };
            (screen, answers, notes)
        }
    }

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let (mut screen, _, _) = Screen::shared(Format::Table);
        screen.answers = Box::new(Gone);
        assert_eq!(screen.text("x"), Err(Stop::OutputClosed));
    }

    #[test]
    fn a_failure_is_a_line_for_people_and_in_json_one_for_programs() {
        let failure = Failure::usage("no\x1b[2J");
        let (mut screen, answers, notes) = Screen::shared(Format::Table);
        screen.failure(&failure);
        assert_eq!(notes.text(), "vmm-client: no\\u{1b}[2J\n");
        let (mut screen, json_answers, notes) = Screen::shared(Format::Json);
        screen.failure(&failure);
        let json = "{\"error\":{\"code\":\"usage\",\"message\":\"no\\u001b[2J\"}}\n";
        assert_eq!(notes.text(), format!("vmm-client: no\\u{{1b}}[2J\n{json}"));
        assert_eq!(answers.text() + &json_answers.text(), "");
    }

    #[test]
    fn notes_are_for_people_at_a_terminal_or_who_asked() {
        let (mut screen, _, notes) = Screen::shared(Format::Table);
        screen.note("a");
        screen.say("b");
        screen.notes_on_terminal = true;
        screen.note("c");
        screen.say("d");
        screen.verbose = true;
        screen.say("e");
        assert_eq!(notes.text(), "c\ne\n");
    }
}
