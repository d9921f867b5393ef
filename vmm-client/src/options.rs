//! The command line.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use vmm_ca::options::MachineOptions;
use vmm_proto::verb::Verb;

use crate::time::Since;

/// A whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "vmm-client",
    version,
    about = "Run virtual machines in the share of a host that a certificate delegates",
    after_help = AFTER_HELP,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    /// Nothing: an interactive session, on a terminal
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// A line of an interactive session: a command without what says where to connect.
#[derive(Debug, Parser)]
#[command(
    name = "",
    no_binary_name = true,
    disable_help_flag = true,
    after_help = "help COMMAND says more; exit, or the end of input, ends the session"
)]
pub(crate) struct Line {
    /// How answers are shown
    #[arg(long, global = true, value_enum)]
    pub(crate) format: Option<Format>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that go before or after the command.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
#[allow(clippy::doc_markdown, reason = "shown as help, where backticks would be noise")]
pub(crate) struct Global {
    /// The root certificate that the server must be issued by [env: VMM_CA]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) ca: Option<PathBuf>,
    /// Where the server is (default port: 1025) [env: VMM_SERVER]
    #[arg(long, value_name = "HOST[:PORT]", global = true)]
    pub(crate) server: Option<String>,
    /// The name that the server's certificate must have (default: HOST of --server)
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) server_name: Option<String>,
    /// The certificate and the chain above it: of a leaf, or of a delegation, which then makes
    /// itself a leaf that lives for minutes [env: VMM_BUNDLE]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) bundle: Option<PathBuf>,
    /// The private key of the bundle's first certificate [env: VMM_KEY]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) key: Option<PathBuf>,
    /// The root's revocation list: a server whose certificate is in it is refused
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) crl: Option<PathBuf>,
    /// The local socket of vmmd, instead of certificates: for the admin of this host
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) socket: Option<PathBuf>,
    /// Take what is not given from ~/.config/vmm/NAME.conf
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) profile: Option<String>,
    /// How answers are shown
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Say on standard error what is being done
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

/// How answers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON document; one a line where it follows
    Json,
}

/// What is asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// (from the table of verbs)
    #[command(about = "Deploy the machine that the bundle's leaf is")]
    Deploy(Deploy),
    /// (from the table of verbs)
    #[command(about = about("Deploy a machine described here", &[Verb::Deploy, Verb::Replace]))]
    Run(Run),
    /// (from the table of verbs)
    #[command(about = verb(Verb::Info))]
    Info {
        /// A machine, or NAME/ for all below a delegation
        name: Option<String>,
    },
    /// (from the table of verbs)
    #[command(about = verb(Verb::Attach))]
    Attach(Attach),
    /// (from the table of verbs)
    #[command(about = verb(Verb::Detach))]
    Detach {
        /// The machine
        name: String,
    },
    /// (from the table of verbs)
    #[command(about = verb(Verb::Statistics))]
    Statistics {
        /// A machine, or NAME/ for all below a delegation
        name: Option<String>,
        /// Go on each second
        #[arg(long)]
        follow: bool,
    },
    /// (from the table of verbs)
    #[command(about = verb(Verb::Log))]
    Log {
        /// A machine, or NAME/ for all below a delegation
        name: Option<String>,
        /// Only what is not older: RFC 3339, or how long ago (10m, 2h)
        #[arg(long, value_name = "TIME", value_parser = Since::parse)]
        since: Option<Since>,
        /// Go on with what happens later
        #[arg(long)]
        follow: bool,
    },
    /// (from the table of verbs)
    #[command(about = verb(Verb::Quota))]
    Quota,
    /// (from the table of verbs)
    #[command(about = verb(Verb::Why), after_help = "Nothing is changed. The exit code is 0 if it \
        would be accepted, and otherwise that of the command that was asked about.")]
    Why {
        #[command(subcommand)]
        deed: Deed,
    },
    /// (from the table of verbs)
    #[command(about = verb(Verb::Host))]
    Host {
        #[command(subcommand)]
        deed: HostDeed,
    },
    /// (from the table of verbs)
    #[command(about = verb(Verb::Stop))]
    Stop(Ending),
    /// (from the table of verbs)
    #[command(about = verb(Verb::Start))]
    Start {
        /// The machine
        name: String,
    },
    /// (from the table of verbs)
    #[command(about = verb(Verb::Restart))]
    Restart(Ending),
    /// (from the table of verbs)
    #[command(about = verb(Verb::Destroy))]
    Destroy {
        /// The machine
        name: String,
    },
    /// (from the table of verbs)
    #[command(about = verb(Verb::Revoke))]
    Revoke {
        /// The list and its issuer's chain, as `vmm-ca revoke` writes it
        file: PathBuf,
    },
}

/// What `why` can be asked about.
#[derive(Debug, Subcommand)]
pub(crate) enum Deed {
    /// Why deploy would be refused
    Deploy(Deploy),
    /// Why run would be refused
    Run(Run),
    /// Why start would be refused
    Start {
        /// The machine
        name: String,
    },
}

/// Deploying the leaf's own machine.
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// The image that the leaf names by its digest; not needed when the server has it already, or
    /// when it is embedded in the leaf
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,
    /// Show its console until it has ended
    #[arg(long)]
    pub(crate) attach: bool,
    #[command(flatten)]
    pub(crate) probation: Probation,
}

/// How sure a replacement is.
#[derive(Debug, Args)]
pub(crate) struct Probation {
    /// For how long after its start its failure brings back the machine whose place it took, if that
    /// was running [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub(crate) probation: Option<u32>,
}

/// What is to become of the host.
#[derive(Debug, Subcommand)]
pub(crate) enum HostDeed {
    /// Take no new machines from now on; those that are there run on
    Drain {
        /// Wait until nothing is live any more
        #[arg(long)]
        wait: bool,
    },
    /// Take new machines again
    Open,
    /// The host's own networks for machines; for its admin, with --socket
    Network {
        #[command(subcommand)]
        deed: NetworkDeed,
    },
}

/// What is to become of the host's own networks.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkDeed {
    /// Make a private network behind the host's own addresses, and keep it over reboots
    Add {
        /// What its bridge is called
        name: String,
        /// The host's address on it, and the bits of its subnet
        #[arg(long, value_name = "ADDRESS/PREFIX", value_parser = subnet)]
        nat: (Ipv4Addr, u8),
        /// The interface through which machines reach others [default: any]
        #[arg(long, value_name = "INTERFACE")]
        uplink: Option<String>,
    },
    /// List them
    List,
    /// Remove one that no machine is on
    Remove {
        /// The name of its bridge
        name: String,
    },
}

fn subnet(text: &str) -> Result<(Ipv4Addr, u8), String> {
    let parts = text
        .split_once('/')
        .and_then(|(address, prefix)| Some((address.parse().ok()?, prefix.parse().ok()?)));
    parts.ok_or_else(|| "an IPv4 address and a prefix are wanted, such as 10.0.0.1/24".to_owned())
}

/// Deploying a machine that is described on the command line.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// What the machine is called
    pub(crate) name: String,
    /// The image file
    pub(crate) image: PathBuf,
    /// MiB of guest memory
    #[arg(long, value_name = "MIB")]
    pub(crate) memory: u32,
    /// Show its console until it has ended
    #[arg(long)]
    pub(crate) attach: bool,
    #[command(flatten)]
    pub(crate) machine: MachineOptions,
    #[command(flatten)]
    pub(crate) probation: Probation,
}

/// Reading a console.
#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// The machine
    pub(crate) name: String,
    /// Begin with its last N lines (default: everything that is still there)
    #[arg(long, value_name = "N", conflicts_with = "since")]
    pub(crate) count: Option<u32>,
    /// Begin with the first line that is not older: RFC 3339, or how long ago (10m, 2h)
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    pub(crate) since: Option<Since>,
    /// End with what is there now
    #[arg(long)]
    pub(crate) no_follow: bool,
}

/// Ending a machine's run.
#[derive(Debug, Args)]
pub(crate) struct Ending {
    /// The machine
    pub(crate) name: String,
    /// How long it may take to end by itself (default: the server's choice)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub(crate) timeout: Option<u32>,
}

const AFTER_HELP: &str = "\
Names are relative to the certificate's own path (hello), or full (/dev/hello); NAME/ is everything
below a delegation. What is not given as an option comes from the environment, then from the
profile: lines KEY = VALUE, with the keys ca, server, server-name, bundle, key.

Exit codes: 0 done (with --attach whatever the guest's own code was; also when the reader of the
output has gone); 2 usage, or a file that cannot be read or parsed; 3 refused: the chain, a
permission, a quota, no free address, a name in use; 4 no such name; 5 cannot connect, or the server
is not who it should be; 6 the machine failed to start; 130 ended by Ctrl-C (a machine goes on
running); 1 anything else. An error goes to standard error, and with --format json a second line
there is {\"error\":{\"code\":…,\"message\":…}}.";

/// What a verb does and needs, from the one table of verbs.
fn verb(verb: Verb) -> String {
    about(verb.about(), &[verb])
}

fn about(what: &str, verbs: &[Verb]) -> String {
    let needs: Vec<_> = verbs.iter().map(|verb| verb.permission().as_str()).collect();
    let machine = match verbs {
        [verb] if verb.of_machine_leaf() => "; or the machine's own leaf",
        _ => "",
    };
    match needs.as_slice() {
        [create, replace] => {
            format!("{what} (permission: {create}; with --replace also {replace})")
        }
        _ => format!("{what} (permission: {}{machine})", needs.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["vmm-client"].iter().chain(words))
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
        Line::command().debug_assert();
    }

    #[test]
    fn global_options_go_before_or_after_the_command() {
        for words in [
            ["--ca", "x.pem", "--format", "json", "info", "hello"],
            ["info", "--ca", "x.pem", "hello", "--format", "json"],
        ] {
            let cli = parse(&words).unwrap();
            assert_eq!(cli.global.ca, Some("x.pem".into()));
            assert_eq!(cli.global.format, Format::Json);
            assert!(
                matches!(cli.command, Some(Command::Info { name: Some(name) }) if name == "hello")
            );
        }
    }

    #[test]
    fn what_follows_two_dashes_is_for_the_guest() {
        let cli = parse(&[
            "run",
            "hello",
            "hello.spt",
            "--memory",
            "512",
            "--cpu",
            "1",
            "--attach",
            "--",
            "--ca",
            "x",
        ]);
        let Ok(Cli { command: Some(Command::Run(run)), global }) = cli else { panic!("{cli:?}") };
        assert!(run.attach && global.ca.is_none());
        assert_eq!(run.machine.arguments, ["--ca", "x"]);
    }

    #[test]
    fn what_contradicts_itself_or_is_missing_is_refused() {
        for bad in [
            &["attach"][..],
            &["attach", "hello", "--count", "1", "--since", "1h"],
            &["attach", "hello", "--since", "noon"],
            &["run", "hello", "hello.spt", "--cpu", "1"],
            &["run", "hello", "hello.spt", "--memory", "1"],
            &["stop", "hello", "--timeout", "-1"],
            &["start", "hello", "--timeout", "1"],
            &["log", "--format", "xml"],
            &["why"],
            &["host", "network", "add", "nat0"],
            &["host", "network", "add", "nat0", "--nat", "10.0.0.1"],
            &["host", "network", "add", "nat0", "--nat", "fd00::1/64"],
        ] {
            assert_eq!(parse(bad).unwrap_err().exit_code(), 2, "{bad:?}");
        }
    }

    #[test]
    fn the_help_names_the_permission_that_a_command_needs() {
        let help = Cli::command().render_help().to_string();
        for needed in [
            "Stop a machine (permission: power)",
            "Read a console (permission: console; or the machine's own leaf)",
            "(permission: create; with --replace also replace)",
        ] {
            assert!(help.contains(needed), "{help}");
        }
    }
}
