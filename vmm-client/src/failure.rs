//! Why a command ends early, and with which exit code.

use vmm_proto::message::client::{Error, ErrorCode};

/// Of which kind a failure is: what the server says, and what only a client can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The server's word for it, also used for the same thing found here.
    Of(ErrorCode),
    /// No connection came about.
    Connect,
    /// The server is not who it should be.
    ServerIdentity,
    /// The connection ended, or made no sense, before the command was done.
    Lost,
    /// What was to be printed could not be.
    Output,
}

impl Code {
    /// The word that stands for it in JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Of(code) => code.as_str(),
            Self::Connect => "connect",
            Self::ServerIdentity => "server-identity",
            Self::Lost => "lost",
            Self::Output => "output",
        }
    }

    /// The exit code.
    pub(crate) const fn exit(self) -> u8 {
        match self {
            Self::Of(ErrorCode::Usage) => 2,
            Self::Of(
                ErrorCode::Chain
                | ErrorCode::Permission
                | ErrorCode::Quota
                | ErrorCode::Address
                | ErrorCode::Name,
            ) => 3,
            Self::Of(ErrorCode::NotFound) => 4,
            Self::Connect | Self::ServerIdentity => 5,
            Self::Of(ErrorCode::StartFailed) => 6,
            Self::Of(
                ErrorCode::Image | ErrorCode::Unavailable | ErrorCode::Busy | ErrorCode::Internal,
            )
            | Self::Lost
            | Self::Output => 1,
        }
    }
}

/// What was refused or failed, by which rule, and what would do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl std::fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }

    /// A command line that makes no sense, or a file that cannot be used.
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Self::new(Code::Of(ErrorCode::Usage), message)
    }

    /// A command line that the parser refused: its message alone, without the usage text.
    pub(crate) fn misunderstood(error: &clap::Error) -> Self {
        use clap::error::ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand};
        if matches!(error.kind(), DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand) {
            return Self::usage("a command is missing: see --help");
        }
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let is_usage = |part: &&str| part.starts_with("Usage:") || part.starts_with("For more");
        let said: Vec<_> = text.split("\n\n").take_while(|part| !is_usage(part)).collect();
        let lines: Vec<_> = said.iter().flat_map(|part| part.lines()).map(str::trim).collect();
        Self::usage(lines.join(" ").trim())
    }

    /// The connection is of no use any more.
    pub(crate) fn lost(message: impl std::fmt::Display) -> Self {
        Self::new(Code::Lost, message)
    }
}

impl From<Error> for Failure {
    fn from(Error { code, message }: Error) -> Self {
        Self { code: Code::Of(code), message }
    }
}

/// Why a command ends before it is done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It failed.
    Failed(Failure),
    /// Whoever read its output has had enough. Other Unix tools die of SIGPIPE then; this one ends
    /// with exit code 0, so that `vmm-client info | head -1` is no failure in a careful script.
    OutputClosed,
    /// Ctrl-C.
    Interrupted,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

/// The exit code after Ctrl-C, as a shell would see it had SIGINT ended the process.
pub(crate) const INTERRUPTED: u8 = 130;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_ends_with_the_exit_code_that_was_promised() {
        use ErrorCode::{
            Address, Busy, Chain, Image, Internal, Name, NotFound, Permission, Quota, StartFailed,
            Unavailable, Usage,
        };
        for (exit, codes) in [
            (1, &[Image, Unavailable, Busy, Internal][..]),
            (2, &[Usage]),
            (3, &[Chain, Permission, Quota, Address, Name]),
            (4, &[NotFound]),
            (6, &[StartFailed]),
        ] {
            for code in codes {
                assert_eq!(Code::Of(*code).exit(), exit, "{code:?}");
            }
        }
        assert_eq!(Code::Connect.exit(), 5);
        assert_eq!(Code::ServerIdentity.exit(), 5);
        assert_eq!(Code::Lost.exit(), 1);
        assert_eq!(Code::Output.exit(), 1);
    }
}
