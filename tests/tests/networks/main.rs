//! Machines on networks: who reaches whom, under which address, and that nobody pretends to be
//! somebody else.
//!
//! Hosts are network namespaces, so this needs root.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod addresses;
mod control;
mod counters;
mod crashes;
mod crowds;
mod host_networks;
mod lies;
mod rates;
mod reach;
