//! What the daemons and the client need around their own work: options, logging, sockets, frames
//! over them, packets with descriptors, a service manager, and an orderly end.
//!
//! Nothing here decides anything.

#![forbid(unsafe_code)]

pub mod activation;
pub mod connection;
pub mod dirs;
pub mod logging;
pub mod notify;
pub mod options;
pub mod packet;
pub mod readiness;
pub mod run;
pub mod socket;
#[cfg(feature = "tls")]
pub mod tls;
pub mod users;
