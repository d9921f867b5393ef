//! The real daemon, driven over its socket as `vmmd` and `vmm-console` drive it.
//!
//! Most tests run a tender of their own, a shell script that keeps the tender's side of the
//! contract and takes its "image" for what to do. `guests` runs the real one with real guests.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod console;
mod guests;
mod harness;
mod host_networks;
mod jail;
mod killed;
mod life;
mod machines;
mod networks;
mod peers;
mod shortage;
mod stock_kernel;
mod survive;
