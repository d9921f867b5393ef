//! What the end-to-end tests are made with: installations with real daemons, peers that misbehave,
//! and a count of what is left over.

#![forbid(unsafe_code)]

pub mod census;
pub mod deploy;
pub mod disk;
pub mod follower;
pub mod forge;
pub mod links;
pub mod managed;
pub mod network;
pub mod peer;
pub mod reboot;
pub mod setup;
