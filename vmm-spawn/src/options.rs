//! The command line, and what it means.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, ValueEnum};

use crate::access::{self, Access};

/// Where sockets are without `--dir`. A service manager makes it.
const RUN_DIR: &str = "/run/vmm";

/// The monitor of a machine, beside this program without `--tender`.
const TENDER: &str = "vmm-tender";

/// Starts machines and waits for them; the only part of the suite that runs as root
///
/// As an ordinary user it starts machines all the same, without a jail.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Options {
    /// Directory of the socket `spawn.sock`, made if missing [default: /run/vmm]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The user that vmmd runs as, by name or number: it may have machines started, beside root and
    /// this program's own user
    #[arg(long, value_name = "USER", value_parser = access::user)]
    pub supervisor_user: Option<u32>,
    /// The user that vmm-console runs as, by name or number: it gets what machines write
    #[arg(long, value_name = "USER", value_parser = access::user)]
    pub console_user: Option<u32>,
    /// The group that the socket is given to, by name or number: vmmd and vmm-console are in it when
    /// they run as other users
    #[arg(long, value_name = "GROUP", value_parser = access::group)]
    pub socket_group: Option<u32>,
    /// A bridge that machines may be put on (may be repeated)
    #[arg(long = "bridge", value_name = "NAME")]
    pub bridges: Vec<String>,
    /// The program that runs a machine [default: vmm-tender beside this program]
    #[arg(long, value_name = "PATH")]
    pub tender: Option<PathBuf>,
    /// End all machines when this program is told to end; otherwise they run on, and the next one
    /// with the same directory goes on with them
    #[arg(long)]
    pub stop_machines: bool,
    /// Log more (-vv: everything)
    #[arg(short, action = ArgAction::Count)]
    pub verbose: u8,
    /// How log lines look, on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON document a line.
    Json,
}

/// What the daemon works with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of the socket.
    pub dir: PathBuf,
    /// Whether to make that directory if it is missing: only one that was asked for.
    pub make_dir: bool,
    /// The program that runs a machine, absolute: machines start in `/`.
    pub tender: PathBuf,
    /// Who may connect.
    pub access: Access,
    /// The group that the socket is given to.
    pub socket_group: Option<u32>,
    /// Whether machines are ended with this process.
    pub stop_machines: bool,
}

/// Why the daemon cannot work as it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// this program's own place is unknown, so --tender PATH is needed: {0}
    #[error("this program's own place is unknown, so --tender PATH is needed: {0}")]
    OwnPlace(io::Error),
    /// the tender {path:?} cannot be run: {error}
    #[error("the tender {path:?} cannot be run: {error} (--tender PATH names another)")]
    Tender {
        /// Where it should be.
        path: PathBuf,
        /// What is wrong with it.
        error: io::Error,
    },
}

impl Options {
    /// Refuses what could be asked for and would have no effect.
    ///
    /// # Errors
    /// A usage error, to be printed.
    pub fn refuse_unbuilt(self) -> Result<Self, clap::Error> {
        let Some(bridge) = self.bridges.first() else { return Ok(self) };
        let text = format!(
            "networks are not built yet: --bridge {bridge} would have no effect, start without it"
        );
        Err(Self::command().error(ErrorKind::ArgumentConflict, text))
    }

    /// Looks at the host: what these options mean here.
    ///
    /// # Errors
    /// There is no tender that could be run.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let tender = match &self.tender {
            Some(path) => path.clone(),
            None => beside_this_program(TENDER)?,
        };
        let tender = executable(&tender)
            .map_err(|error| ConfigError::Tender { path: tender.clone(), error })?;
        let dir = self.dir.clone().unwrap_or_else(|| RUN_DIR.into());
        let access = Access { supervisor: self.supervisor_user, console: self.console_user };
        let (make_dir, stop_machines) = (self.dir.is_some(), self.stop_machines);
        let socket_group = self.socket_group;
        Ok(Config { dir, make_dir, tender, access, socket_group, stop_machines })
    }
}

fn beside_this_program(name: &str) -> Result<PathBuf, ConfigError> {
    Ok(env::current_exe().map_err(ConfigError::OwnPlace)?.with_file_name(name))
}

/// The absolute path of a file that may be executed. Links stay in it, so that what they point
/// at may be replaced while this runs.
fn executable(path: &Path) -> io::Result<PathBuf> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not an executable file"));
    }
    std::path::absolute(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_is_refused_as_long_as_there_are_no_networks() {
        let options = Options::try_parse_from(["vmm-spawn", "--bridge", "ext"]).unwrap();
        let error = options.refuse_unbuilt().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--bridge ext would have no effect"), "{error}");
    }

    #[test]
    fn a_tender_that_cannot_be_run_is_named() {
        for path in ["/nonexistent/tender", "/etc/passwd", "/etc"] {
            let options = Options::try_parse_from(["vmm-spawn", "--tender", path]).unwrap();
            let error = options.config().unwrap_err().to_string();
            assert!(error.contains(path), "{error}");
        }
    }

    #[test]
    fn only_a_directory_that_was_asked_for_is_made() {
        let config = |arguments: &[&str]| {
            let common = ["vmm-spawn", "--tender", "/bin/sh"];
            Options::try_parse_from(common.iter().chain(arguments)).unwrap().config().unwrap()
        };
        assert!(!config(&[]).make_dir);
        assert!(config(&["--dir", "run"]).make_dir);
    }
}
