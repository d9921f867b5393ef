//! A desk to work at: an empty directory, a clock that stands still, and the command.

use std::fs;
use std::io::{BufRead, Cursor};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use vmm_ca::Exit;
use vmm_ca::command::{World, run};

/// 2030-01-01T00:00:00Z
pub(crate) const NEW_YEAR: i64 = 1_893_456_000;

pub(crate) struct Desk {
    directory: TempDir,
    pub(crate) now: i64,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.exit, Exit::Done, "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn refused(self, because: &str) -> Self {
        self.ended(Exit::Refused, because)
    }

    #[track_caller]
    pub(crate) fn ended(self, exit: Exit, because: &str) -> Self {
        assert_eq!(self.exit, exit, "{self:#?}");
        assert!(self.err.contains(because), "expected {because:?} in {self:#?}");
        self
    }
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), now: NEW_YEAR }
    }

    /// A desk with an authority, `ca`.
    pub(crate) fn with_authority() -> Self {
        let desk = Self::new();
        desk.run("init ca ca.db --server localhost").done();
        desk
    }

    /// An empty one by the real clock.
    pub(crate) fn new_in_the_present() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Self { now: i64::try_from(now).unwrap(), ..Self::new() }
    }

    /// The same, set up by the real clock: for the program itself, and for other programs.
    pub(crate) fn in_the_present() -> Self {
        let desk = Self::new_in_the_present();
        desk.run("init ca ca.db --server localhost --server 127.0.0.1").done();
        desk
    }

    /// A desk with an authority and a delegation `dev` of it: 4 machines, 2048 MiB, CPUs 0 to 3,
    /// 100 MiB of storage, bridge `ext` with addresses 10.0.0.2 to 10.0.0.99, bridge `int`.
    pub(crate) fn with_delegation() -> Self {
        let desk = Self::with_authority();
        desk.run(
            "request delegation dev 4 2048 --cpu 0,1,2,3 --storage 100 --bridge int \
             --bridge ext/10.0.0.2/10.0.0.99/10.0.0.1/24",
        )
        .done();
        desk.run("sign ca.db cacert.pem ca.key dev.req").done();
        desk
    }

    /// Runs a command line (without the program's name) that is split at spaces. Nobody sits at
    /// the terminal.
    pub(crate) fn run(&self, line: &str) -> Outcome {
        self.run_with(line, None)
    }

    /// The same, with someone at the terminal who answers.
    pub(crate) fn run_with(&self, line: &str, answer: Option<&str>) -> Outcome {
        let mut terminal = answer.map(|answer| Cursor::new(answer.to_owned()));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut world = World {
            directory: self.directory.path().to_owned(),
            now: self.now,
            out: &mut out,
            err: &mut err,
            terminal: terminal.as_mut().map(|terminal| terminal as &mut dyn BufRead),
            secret: None,
        };
        let words = std::iter::once("vmm-ca").chain(line.split_whitespace());
        let exit = run(words, &mut world);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome { exit, out: text(out), err: text(err) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// The names of all files, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }
}
