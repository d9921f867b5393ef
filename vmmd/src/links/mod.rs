//! The ways to the other daemons. None of them may hold up anything here: each has its own task or
//! connection, a bounded queue, and a time after which it is given up.

pub(crate) mod console;
pub(crate) mod log;
pub(crate) mod spawn;
pub(crate) mod stats;
pub(crate) mod stream;

use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use vmm_proto::message::client::{Error, ErrorCode};
use vmm_proto::message::wire::{FromWire, ToWire};
use vmm_service::connection::{ConnectionError, Halves, greet};

/// How long a daemon may take to answer before a request that needs it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Connects to a daemon's socket and exchanges hellos.
async fn connect<In, Out>(path: &Path) -> Result<Halves<In, Out>, ConnectionError>
where
    In: FromWire,
    Out: ToWire,
{
    let both = async { greet(UnixStream::connect(path).await?, "vmmd").await };
    tokio::time::timeout(PATIENCE, both).await.map_err(|_| ConnectionError::NoHello)?
}

/// What a client is told when a daemon is not there.
fn unavailable(daemon: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(
        ErrorCode::Unavailable,
        format!("{daemon} cannot be reached ({error}); the host's admin has to start it"),
    )
}

/// What a client is told when a daemon does not answer.
fn silent(daemon: &str) -> Error {
    Error::new(
        ErrorCode::Unavailable,
        format!("{daemon} does not answer within {} seconds", PATIENCE.as_secs()),
    )
}
