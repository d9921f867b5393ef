//! What goes into the machine and what comes out: jobs as a file, events as lines on its second
//! serial port, both in JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where init finds the jobs.
pub const JOBS_FILE: &str = "/jobs.json";

/// Where init finds the kernel modules, which it loads by the order of their names.
pub const MODULES_DIRECTORY: &str = "/modules";

/// Where init says what happens.
pub const EVENTS_DEVICE: &str = "/dev/ttyS1";

/// A program to be run in the machine, by root, with nothing as standard input, in `/tmp`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Its path, or its name in `/bin`.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment, besides `PATH` and `HOME`.
    pub environment: Vec<(String, String)>,
}

impl Job {
    /// A program with arguments.
    pub fn new<T: Into<String>>(program: &str, arguments: impl IntoIterator<Item = T>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program: program.to_owned(), arguments, environment: Vec::new() }
    }

    /// Lines for `sh`, which has to be among the files.
    pub fn script(lines: &str) -> Self {
        Self::new("sh", ["-c", lines])
    }

    /// With one more variable in its environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How a job ended, and what it wrote; what is not UTF-8 is replaced.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct End {
    /// As a shell has it: 128 and more for signals.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took, by the clock of the machine.
    pub took: Duration,
}

/// What init says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {
    /// A job wrote a line, or what there is of the last one.
    Wrote {
        /// To standard error instead of standard output.
        error: bool,
        /// The line, with its end.
        text: String,
    },
    /// The job has ended; the next one begins.
    Ended {
        /// See [`End::status`].
        status: i32,
        /// See [`End::took`].
        took: Duration,
    },
    /// The machine cannot do what it is for.
    Failed(String),
}
