//! Blocking ends of the suite's protocols, for tests alone: a [`Daemon`] in a directory of its own,
//! connections to it, messages over any stream of bytes, and waiting for what a daemon does.
//!
//! Errors of a stream are returned, since a test may want one. Everything else after which it makes
//! no sense to go on panics, and says why.

#![forbid(unsafe_code)]

mod daemon;
mod messages;
mod wait;

pub use daemon::Daemon;
pub use messages::{connect, greet, read, receive, write};
pub use wait::{PATIENCE, until};
