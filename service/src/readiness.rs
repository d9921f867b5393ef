//! Waiting for descriptors that tokio has no type for.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Watches a non-blocking descriptor.
///
/// # Errors
/// When the kernel cannot wait for such a descriptor.
#[expect(
    deprecated,
    reason = "its replacement is unsafe because some types could give another descriptor later; \
              an OwnedFd always gives the same one"
)]
pub fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}
