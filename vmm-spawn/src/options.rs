//! The command line, and what it means.

use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::{env, fs, io};

use clap::{ArgAction, Parser, ValueEnum, value_parser};
use rustix::process::geteuid;
use vmm_proto::resource::BridgeName;

use crate::access::{self, Access};
use crate::jail::Wanted;
use crate::jail::users::Range;
use crate::net::filter::Limits;

/// Where sockets are without `--dir`. A service manager makes it.
const RUN_DIR: &str = "/run/vmm";

/// The monitor of a machine, beside this program without `--tender`.
const TENDER: &str = "vmm-tender";

/// Starts machines and waits for them; the only part of the suite that runs as root
///
/// As an ordinary user it starts machines all the same, in the parts of their jail that the host
/// permits to one.
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
    /// A bridge of this host that machines may be put on (may be repeated); root only
    #[arg(long = "bridge", value_name = "NAME", value_parser = BridgeName::parse)]
    pub bridges: Vec<BridgeName>,
    /// How much may go through a network interface of a machine in each direction, in millions of
    /// bits a second [default: any]
    #[arg(long, value_name = "MBIT", value_parser = value_parser!(u32).range(1..=i64::from(Limits::BANDWIDTH_MAX)))]
    pub interface_bandwidth: Option<u32>,
    /// The same in packets a second [default: any]
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=i64::from(Limits::PACKETS_MAX)))]
    pub interface_packets: Option<u32>,
    /// The program that runs a machine [default: vmm-tender beside this program]
    #[arg(long, value_name = "PATH")]
    pub tender: Option<PathBuf>,
    /// End all machines when this program is told to end; otherwise they run on, and the next one
    /// with the same directory goes on with them
    #[arg(long)]
    pub stop_machines: bool,
    /// User ids for machines, each for one at a time; root only [default: 10000 from 2000000000 on
    /// that no other vmm-spawn uses]
    #[arg(long, value_name = "FIRST-LAST")]
    pub uids: Option<Range>,
    /// The cgroup that machines' cgroups are made below, made if missing [default: the one that
    /// vmm-spawn is started in]
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
    /// What machines see as their root directory, for a tender that is a script [default: an empty
    /// directory with the libraries of the tender]
    #[arg(long, value_name = "DIR")]
    pub machine_root: Option<PathBuf>,
    /// Start nothing unless all of the jail can be applied
    #[arg(long)]
    pub require_jail: bool,
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
    /// What machines are confined by.
    pub jail: Wanted,
    /// Who may connect.
    pub access: Access,
    /// The group that the socket is given to.
    pub socket_group: Option<u32>,
    /// Whether machines are ended with this process.
    pub stop_machines: bool,
    /// The bridges that machines may be put on.
    pub bridges: Vec<BridgeName>,
    /// How much may go through each of their interfaces.
    pub limits: Limits,
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
    /// Machines would run as a daemon's user.
    #[error("user {user} of a daemon is in --uids {range}: machines must have ids of their own")]
    UserOfDaemon {
        /// The ids for machines.
        range: Range,
        /// The one in it.
        user: u32,
    },
    /// Not the path of a cgroup.
    #[error(
        "--cgroup {0:?} names no cgroup: a path such as /vmm is wanted, from the root of cgroups"
    )]
    Cgroup(PathBuf),
    /// No directory for machines.
    #[error("--machine-root {path:?} cannot be used: {error}")]
    MachineRoot {
        /// What was named.
        path: PathBuf,
        /// What is wrong with it.
        error: io::Error,
    },
}

impl Options {
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
        let jail = self.jail(access)?;
        let bridges = self.bridges.clone();
        let (bandwidth, packets) = (self.interface_bandwidth, self.interface_packets);
        Ok(Config {
            dir,
            make_dir,
            tender,
            jail,
            access,
            socket_group,
            stop_machines,
            bridges,
            limits: Limits { bandwidth, packets },
        })
    }

    fn jail(&self, access: Access) -> Result<Wanted, ConfigError> {
        if let Some(range) = self.uids {
            let daemons = [Some(geteuid().as_raw()), access.supervisor, access.console];
            if let Some(user) = daemons.into_iter().flatten().find(|&it| range.contains(it)) {
                return Err(ConfigError::UserOfDaemon { range, user });
            }
        }
        if let Some(cgroup) = &self.cgroup {
            let named = |part| matches!(part, Component::RootDir | Component::Normal(_));
            if !cgroup.is_absolute() || !cgroup.components().all(named) {
                return Err(ConfigError::Cgroup(cgroup.clone()));
            }
        }
        let root = self.machine_root.as_ref().map(|root| {
            let refused = |error| ConfigError::MachineRoot { path: root.clone(), error };
            let path = fs::canonicalize(root).map_err(refused)?;
            if path.is_dir() {
                return Ok(path);
            }
            Err(refused(io::Error::from(io::ErrorKind::NotADirectory)))
        });
        let (users, cgroup, whole) = (self.uids, self.cgroup.clone(), self.require_jail);
        Ok(Wanted { users, cgroup, root: root.transpose()?, whole })
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
    fn a_bridge_has_the_name_of_one() {
        let options = |name| Options::try_parse_from(["vmm-spawn", "--bridge", name]);
        assert_eq!(options("a-15-bytes-long").unwrap().bridges[0].as_str(), "a-15-bytes-long");
        for bad in ["", "a-16-bytes-long-", "a/b", "a b", ".."] {
            let error = options(bad).unwrap_err();
            assert!(error.to_string().contains("is not a bridge name"), "{error}");
        }
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
    fn what_makes_no_jail_is_refused_with_the_rule() {
        for (arguments, rule) in [
            (["--uids", "4000-4999", "--supervisor-user", "4500"], "user 4500 of a daemon is in"),
            (["--cgroup", "vmm", "--uids", "4000-4999"], "--cgroup \"vmm\" names no cgroup"),
            (["--cgroup", "/a/../b", "--uids", "4000-4999"], "names no cgroup"),
            (["--machine-root", "/etc/passwd", "--cgroup", "/vmm"], "cannot be used"),
            (["--machine-root", "/nonexistent", "--cgroup", "/vmm"], "cannot be used"),
        ] {
            let common = ["vmm-spawn", "--tender", "/bin/sh"];
            let all = common.iter().chain(&arguments);
            let error = Options::try_parse_from(all).unwrap().config().unwrap_err().to_string();
            assert!(error.contains(rule), "{error}");
        }
        let error = Options::try_parse_from(["vmm-spawn", "--uids", "0-99"]).unwrap_err();
        assert!(error.to_string().contains("ids below 1000"), "{error}");
    }

    #[test]
    fn interfaces_are_limited_by_what_can_be_counted() {
        let options = |words: &[&str]| {
            let common = ["vmm-spawn", "--tender", "/bin/sh"];
            Options::try_parse_from(common.iter().chain(words))
        };
        let limits = options(&["--interface-bandwidth", "100", "--interface-packets", "5000"]);
        let limits = limits.unwrap().config().unwrap().limits;
        assert_eq!(limits, Limits { bandwidth: Some(100), packets: Some(5000) });
        assert_eq!(options(&[]).unwrap().config().unwrap().limits, Limits::default());
        for words in [["--interface-bandwidth", "34001"], ["--interface-packets", "0"]] {
            assert!(options(&words).is_err(), "{words:?}");
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
