//! A daemon under test.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::messages::connect;

/// A running daemon in a directory of its own. Dropped, it is killed, and its directory removed.
#[derive(Debug)]
pub struct Daemon {
    /// Where everything of it is: what it was told with `--dir`.
    pub dir: TempDir,
    /// Its process.
    pub child: Child,
}

impl Daemon {
    /// Starts it by a command that takes its options, in a new directory.
    ///
    /// # Panics
    /// When the command cannot be run.
    #[track_caller]
    pub fn start(command: Command) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let child = spawn(command, dir.path());
        Self { dir, child }
    }

    /// Kills it and starts another in the same directory.
    ///
    /// # Panics
    /// As [`Daemon::start`].
    #[track_caller]
    pub fn replace(&mut self, command: Command) {
        self.kill();
        self.child = spawn(command, self.dir.path());
    }

    /// Kills it, as a crash would, unless it has ended; when this returns, it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process that can be killed");
        self.child.wait().expect("its end");
    }

    /// Where the daemon `vmm-PART` listens.
    pub fn socket(&self, part: &str) -> PathBuf {
        self.dir.path().join(format!("{part}.sock"))
    }

    /// A connection to it, which is `vmm-PART`, after the hellos. It may have been started just now.
    ///
    /// # Panics
    /// When it does not listen within a minute, or does not greet as that.
    #[track_caller]
    pub fn connect(&self, part: &str) -> UnixStream {
        connect(&self.socket(part), &format!("vmm-{part}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

#[track_caller]
fn spawn(mut command: Command, dir: &Path) -> Child {
    command.arg("--dir").arg(dir).stdin(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    use vmm_proto::message::Hello;

    use super::*;
    use crate::messages::{receive, write};

    /// A program that says its options and goes on for ever.
    fn goes_on() -> (Command, std::io::PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo \"$*\"; exec sleep 1000000", "sh"]).stdout(writer);
        (command, reader)
    }

    /// What was said by a program that has ended.
    fn said(mut reader: std::io::PipeReader) -> String {
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        said
    }

    #[test]
    fn a_dropped_daemon_is_killed_and_its_directory_is_gone() {
        let (command, reader) = goes_on();
        let daemon = Daemon::start(command);
        let dir = daemon.dir.path().to_owned();
        assert!(dir.exists());
        drop(daemon);
        // Killed perhaps before it said anything.
        said(reader);
        assert!(!dir.exists());
    }

    #[test]
    fn one_that_takes_the_place_of_another_has_the_same_directory() {
        let (first, mut of_first) = goes_on();
        let mut daemon = Daemon::start(first);
        let expected = format!("--dir {}\n", daemon.dir.path().display());
        let mut words = vec![0; expected.len()];
        of_first.read_exact(&mut words).unwrap();
        let (second, mut of_second) = goes_on();
        daemon.replace(second);
        assert_eq!(said(of_first), "", "the first one has ended");
        of_second.read_exact(&mut words).unwrap();
        assert_eq!(words, expected.as_bytes());
    }

    #[test]
    fn a_connection_waits_until_somebody_listens() {
        let daemon = Daemon::start(goes_on().0);
        let socket = daemon.socket("other");
        let other = std::thread::spawn(move || {
            let (mut stream, _) = UnixListener::bind(socket).unwrap().accept().unwrap();
            write(&mut stream, 0, &Hello::of("vmm-other")).unwrap();
            receive::<Hello>(&mut stream)
        });
        drop(daemon.connect("other"));
        assert_eq!(other.join().unwrap(), (0, Hello::of("test")));
    }
}
