//! The program as a whole, against servers that say what a test wants them to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod authority;
mod client;
mod consoles;
mod local;
mod refusals;
mod server;
mod terminal;
mod trust;
mod uploads;
mod usage;
