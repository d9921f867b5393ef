//! What can go wrong, and with which exit code the command ends.

use std::path::{Path, PathBuf};

use vmm_proto::chain::ChainError;
use vmm_proto::name::NameError;
use vmm_proto::resource::{Misfit, ResourceError};

use crate::time::Moment;

/// How the command ends: the codes that the walkthrough fixes for the whole suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Anything that no other code is for.
    Failed = 1,
    /// A command line that makes no sense, or a file that cannot be parsed.
    Usage = 2,
    /// A refusal: it does not fit, the key is wrong, a rule of the profile is broken.
    Refused = 3,
}

/// Everything that `vmm-ca` can fail with. The message names the thing, the rule and the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// a command line that makes no sense
    #[error("{0}")]
    Usage(String),
    /// a name that breaks a rule
    #[error(transparent)]
    Name(#[from] NameError),
    /// a share or a machine that breaks a rule of the profile
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// {file}: {problem}
    #[error("{}: {problem}", file.display())]
    Unreadable {
        /// the file
        file: PathBuf,
        /// what is wrong with its content
        problem: String,
    },
    /// bytes that are not what they should be, before it is known which file they are from
    #[error("{0}")]
    Malformed(String),
    /// refused
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// a file stands where a new one would be written
    #[error("{} exists and is not overwritten: {way_out}", file.display())]
    Exists {
        /// the file in the way
        file: PathBuf,
        /// what to do about it
        way_out: String,
    },
    /// someone else has a database open for issuing
    #[error(
        "{} is in use by another vmm-ca, and was so for {seconds} s: nothing was done; try again when \
         that one has ended", file.display()
    )]
    InUse {
        /// the database
        file: PathBuf,
        /// how long was waited
        seconds: u64,
    },
    /// cannot {doing} {file}: {source}
    #[error("cannot {doing} {}: {source}", file.display())]
    Io {
        /// a verb
        doing: &'static str,
        /// on which file
        file: PathBuf,
        /// why not
        source: std::io::Error,
    },
    /// the cryptographic library refused
    #[error("cryptography: {0}")]
    Crypto(String),
    /// a token or its module failed
    #[error("token: {0}")]
    Token(String),
    /// what was made does not pass its own check
    #[error("the new certificate fails its own check and was not written: {0}")]
    SelfTest(String),
    /// nothing was done: the answer was no
    #[error("nothing was done: the answer was no")]
    Declined,
}

/// Why something is not signed or taken back.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// the key does not belong to the issuer's certificate
    #[error(
        "the key is not that of the issuer certificate \"{0}\": give the .key that was made with it"
    )]
    WrongKey(String),
    /// a passphrase that does not open a key
    #[error("the passphrase does not open the key, or the file is damaged")]
    Passphrase,
    /// a PIN that a token does not take
    #[error("the token does not take this PIN; after a few wrong ones most lock themselves")]
    Pin,
    /// the database belongs to another issuer
    #[error(
        "{} is the database of another issuer key (SHA-256 {expected}; this one is {found}): give \
         that issuer, or, where the key is new, the name of a new database; this one is still needed \
         to take back what its own key signed", file.display()
    )]
    WrongDatabase {
        /// the database
        file: PathBuf,
        /// the key it was begun with
        expected: String,
        /// the key at hand
        found: String,
    },
    /// a certificate above may not be used now
    #[error(
        "the issuer's certificate \"{subject}\" is valid from {not_before} to {not_after}, and now it \
         is {now}: renew it first"
    )]
    IssuerNotValid {
        /// whose
        subject: String,
        /// the first moment
        not_before: Moment,
        /// the last moment
        not_after: Moment,
        /// now
        now: Moment,
    },
    /// a certificate of the bundle is not as the profile wants it
    #[error("not a chain of certificates: {0}")]
    Chain(#[from] ChainError),
    /// the bundle is not a chain
    #[error("not a chain of certificates: {0}")]
    Bundle(String),
    /// a delegation larger than its issuer
    #[error("\"{label}\" does not fit in its issuer \"{issuer}\": {misfit}")]
    DelegationMisfit {
        /// what was asked for
        label: String,
        /// of whom
        issuer: String,
        /// in what it is larger
        misfit: Misfit,
    },
    /// a machine larger than its issuer
    #[error("\"{label}\" does not fit in its issuer \"{issuer}\": {misfit}")]
    MachineMisfit {
        /// what was asked for
        label: String,
        /// of whom
        issuer: String,
        /// in what it is larger
        misfit: crate::issue::MachineMisfit,
    },
    /// a delegation too deep
    #[error("a path has at most 6 delegations, and \"{0}\" is already that deep")]
    TooDeep(String),
    /// an issuer with a path length
    #[error("the issuer \"{0}\" allows fewer delegations below it (its path length)")]
    PathLength(String),
    /// the chain would not fit into a handshake
    #[error(
        "the certificate and the chain above it need {0} bytes, and a handshake holds {max}: sign \
         the image by digest (without --embed)", max = crate::issue::MAX_CHAIN
    )]
    ChainTooLarge(usize),
    /// a label that breaks a rule
    #[error("{0}")]
    Label(NameError),
    /// the request is not signed by its own key
    #[error("the request is not signed by its own key: ask its holder to make it again")]
    RequestSignature,
    /// a label that has a certificate
    #[error(
        "the {kind} \"{label}\" has a certificate that is valid until {until} (serial {serial}): \
         --renew gives it another one in its place; if the label shall go to someone else, revoke \
         that one first"
    )]
    StillValid {
        /// of which kind
        kind: &'static str,
        /// of whom
        label: String,
        /// which one
        serial: String,
        /// its last moment
        until: Moment,
    },
    /// rows of a batch that cannot be signed, each of them said before
    #[error("{0} of the rows cannot be signed: nothing was signed")]
    Batch(usize),
    /// a delegation that would sign a server
    #[error("\"{0}\" is a delegation, and only the root vouches for a server")]
    NotTheRoot(String),
    /// a chain that a server would refuse
    #[error("it is refused: {0}")]
    Verdict(String),
    /// there is nothing to take back
    #[error("{0}")]
    NothingToRevoke(String),
    /// the issuer would have promised more than it has
    #[error("{0}; without --no-overcommit this would be a warning")]
    Overcommitted(String),
}

impl Error {
    /// The exit code that this ends the command with.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Usage(_)
            | Self::Name(_)
            | Self::Resource(_)
            | Self::Unreadable { .. }
            | Self::Malformed(_) => Exit::Usage,
            Self::Refused(_) => Exit::Refused,
            Self::Exists { .. }
            | Self::Io { .. }
            | Self::InUse { .. }
            | Self::Crypto(_)
            | Self::Token(_)
            | Self::SelfTest(_)
            | Self::Declined => Exit::Failed,
        }
    }

    /// The same error, with the file that the bytes are from.
    #[must_use]
    pub fn in_file(self, file: &Path) -> Self {
        match self {
            Self::Malformed(problem) => Self::Unreadable { file: file.to_owned(), problem },
            other => other,
        }
    }

    pub(crate) fn io(doing: &'static str, file: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::Io { doing, file, source }
    }
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Self {
        Self::Crypto(error.to_string())
    }
}

impl From<aws_lc_rs::error::Unspecified> for Error {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Crypto("the library gave no reason".to_owned())
    }
}
