//! Networks: what the kernel is told about interfaces.
//!
//! ```text
//!   netlink ── one question or order at a time, to the kernel, with an answer in bounded time
//!     └ link ── interfaces: what they are, and changing them
//! ```

pub mod link;
pub mod netlink;
#[cfg(test)]
pub(crate) mod tests;
