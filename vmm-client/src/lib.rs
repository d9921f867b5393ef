//! What people type: one command, one answer, one exit code.
//!
//! ```text
//!  words ──▶ options ──▶ settings ──▶ credentials ──▶ plan ──▶ session ──▶ verbs ──▶ output
//!            (clap)      option,      leaf, or an     request,  TLS or      what a     table or
//!                        env,         issuer that     image,    local       verb's     JSON
//!                        profile      mints one       needs     socket      replies mean
//! ```
//!
//! Everything that can be found wrong here is, before a connection is made. What may be done is
//! for the server to say: a chain or a permission is never judged here first, only explained after
//! a refusal.
//!
//! Start-up is part of every command, so there is one thread, no logging framework, no name service
//! for an address, and a short-lived leaf is made in memory.

#![forbid(unsafe_code)]

mod connect;
mod credentials;
mod failure;
mod interactive;
mod list;
mod options;
mod output;
mod plan;
mod profile;
mod session;
mod settings;
mod start;
mod time;
mod tls;
mod upload;
mod verbs;
mod words;

pub use start::main;
