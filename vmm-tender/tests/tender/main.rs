//! Machines, run by the tender as its users run it: good ones, bad ones, and files that are none.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cores;
mod crashes;
mod devices;
mod fpu;
mod hardened;
mod images;
mod jail;
mod machines;
mod networks;
mod notes;
mod postmortem;
mod protocol;
mod rings;
mod solo5;
mod stock_kvm;
mod support;
