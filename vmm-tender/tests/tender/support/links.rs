//! The tender by the names of Solo5's own tenders.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use super::image::Files;
use super::{End, Kind};

/// Links to the tender, as long as this lives.
pub(crate) struct Links {
    pub(crate) files: Files,
}

impl Links {
    pub(crate) fn new() -> Self {
        let files = Files::new();
        for name in ["solo5-hvt", "solo5-spt", "solo5-spt.2", "solo5-hvt-debug"] {
            symlink(env!("CARGO_BIN_EXE_vmm-tender"), files.path(name)).unwrap();
        }
        Self { files }
    }

    pub(crate) fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.files.path(name));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn end(&self, name: &str, arguments: &[&str]) -> End {
        End::of(&mut self.command(name, arguments))
    }

    /// What `solo5-spt` says before it ends with status 1, line by line.
    pub(crate) fn refused(&self, arguments: &[&str]) -> Vec<String> {
        let end = self.end("solo5-spt", arguments);
        assert_eq!((end.status, &*end.stdout), (1, ""), "{arguments:?}");
        end.stderr.lines().map(String::from).collect()
    }

    /// The same of an option that is none: the usage follows, and is cut off here.
    pub(crate) fn invalid(&self, arguments: &[&str]) -> Vec<String> {
        let mut lines = self.refused(arguments);
        let usage = lines.iter().position(|line| line.starts_with("usage: solo5-spt ")).unwrap();
        lines.truncate(usage);
        lines
    }
}

/// The name that runs such guests.
pub(crate) fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Spt => "solo5-spt",
        Kind::Hvt => "solo5-hvt",
    }
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
