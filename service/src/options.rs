//! The options that every daemon takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::dirs::Dirs;
use crate::users;

/// Options of every daemon.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Directory for sockets and state, instead of /run/vmm and /var/lib/vmm
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Say more: once for what happens, twice for how
    #[arg(short, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The form of log lines on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Options of the daemons that `vmmd` uses: who may connect.
#[derive(Debug, Clone, Default, Args)]
pub struct Access {
    /// The user that vmmd runs as, by name or number: it may connect, beside root and this program's
    /// own user
    #[arg(long, value_name = "USER", value_parser = users::user)]
    pub supervisor_user: Option<u32>,
    /// The group that the socket is given to, by name or number: whoever is to connect as another
    /// user is in it
    #[arg(long, value_name = "GROUP", value_parser = users::group)]
    pub socket_group: Option<u32>,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON document a line.
    Json,
}

impl Common {
    /// Where sockets and state are.
    pub fn dirs(&self) -> Dirs {
        Dirs::new(self.dir.as_deref())
    }
}
