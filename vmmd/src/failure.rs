//! Why a request failed.

use vmm_proto::message::client::Error;

/// Why a request failed, and whether the event log has it already.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) recorded: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, recorded: false }
    }
}
