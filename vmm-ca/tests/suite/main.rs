//! The command as its users see it, and what other programs make of its files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod desk;
mod disks;
mod interop;
mod many;
mod minting;
mod new_key;
mod others;
mod refusals;
mod revoking;
mod sealed;
mod sessions;
mod tokens;
