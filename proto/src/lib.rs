//! The words that all parts of the suite share.
//!
//! Four layers, each resting on the one before:
//!
//! * [`name`] and [`resource`]: labels, paths, and the shares of a host that a certificate may
//!   delegate. Values of these types are right by construction: they are parsed once, at the door.
//! * [`grant`]: the same in DER, as it stands in a certificate (feature `grant`).
//! * [`chain`]: from a presented list of certificates to an [`authority::Authorization`]; the
//!   one place where authority is decided (feature `chain`).
//! * [`revocation`]: what has been taken back, by lists that [`chain::crl`] has verified.
//! * [`verb`], [`message`], [`frame`]: what is said over a connection, and which permission each
//!   verb needs.
//!
//! Nothing here opens a socket or a file or looks at a clock: time is an argument.

pub mod authority;
#[cfg(feature = "chain")]
pub mod chain;
#[cfg(feature = "message")]
pub mod frame;
#[cfg(feature = "grant")]
pub mod grant;
pub mod id;
#[cfg(feature = "message")]
pub mod message;
pub mod name;
pub mod permission;
pub mod resource;
pub mod revocation;
pub mod ring;
pub mod verb;
