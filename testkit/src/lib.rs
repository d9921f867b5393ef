//! What tests of several crates need, and nothing but tests: a [`Daemon`] in a directory of its own,
//! blocking connections to it, messages over any stream of bytes, waiting for what a daemon does, and
//! saying what is not tested.
//!
//! Errors of a stream are returned, since a test may want one. Everything else after which it makes
//! no sense to go on panics, and says why.

#![forbid(unsafe_code)]

mod daemon;
mod messages;
mod skip;
mod wait;

pub use daemon::Daemon;
pub use messages::{connect, greet, read, receive, write};
pub use skip::{on_ci, skipped, untested_here};
pub use wait::{PATIENCE, until};
