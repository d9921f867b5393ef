//! Keys, requests, signing and inspection of delegations: the library behind `vmm-ca`, and the
//! part of it that `vmm-client` uses to mint short-lived leaves.
//!
//! What a certificate may look like and what it grants is decided in `vmm-proto`; this crate makes
//! certificates that keep those rules, and files around them:
//!
//! * [`key`], [`pem`], [`mod@file`]: private keys (PKCS#8 version 1, mode 0600, never overwritten), PEM
//!   with bounds, files that appear whole or not at all.
//! * [`request`]: a PKCS#10 request with the grant inside; [`options`] and [`image`] describe what
//!   is asked for.
//! * [`issue`]: an issuer, the leaves it mints, the certificates it signs; [`profile`] has the
//!   fields of each kind of certificate.
//! * [`database`] and [`given`]: what an issuer has issued, on disk, and what that adds up to.
//! * [`inspect`]: anything in words.
//! * [`command`]: the command line over all of it.
//!
//! Time is an argument everywhere but in [`command::main`].

#![forbid(unsafe_code)]

pub mod command;
pub mod database;
pub mod describe;
pub mod error;
pub mod file;
pub mod given;
pub mod image;
pub mod inspect;
pub mod issue;
pub mod key;
pub mod options;
pub mod pem;
pub mod profile;
pub mod request;
pub mod revocation;
pub mod serial;
pub mod time;

pub use error::{Error, Exit, Refusal};
