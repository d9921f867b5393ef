//! Which numbers descriptors have.
//!
//! A process that starts another one has its table of descriptors copied, and the new one closes
//! what it was not meant to have: with a thousand machines that would take longer than everything
//! else. So what is kept for a machine's whole life gets a high number, and a new process copies
//! only the low ones ([`crate::jail::clone`]).

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::io::fcntl_dupfd_cloexec;

/// The first number of descriptors that are kept for machines. Those below are this process's own
/// and what passes through it: a machine being started has 80 at most.
pub const KEPT: RawFd = 512;

/// The same under a high number, unless this process may have none: then starts take longer, and
/// that is all.
pub fn kept(descriptor: OwnedFd) -> OwnedFd {
    if descriptor.as_raw_fd() >= KEPT {
        return descriptor;
    }
    fcntl_dupfd_cloexec(&descriptor, KEPT).unwrap_or(descriptor)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use rustix::io::{FdFlags, fcntl_getfd};

    use super::*;
    use crate::net::tests::take_turn;

    #[test]
    fn what_is_kept_is_the_same_file_under_a_high_number() {
        // Another test with very many taps has the low ones.
        take_turn();
        let file = OwnedFd::from(File::open("/proc/self/comm").unwrap());
        let low = file.as_raw_fd();
        let high = kept(file);
        assert!(low < KEPT && high.as_raw_fd() >= KEPT);
        assert!(fcntl_getfd(&high).unwrap().contains(FdFlags::CLOEXEC));
        let again = kept(high);
        let mut text = String::new();
        File::from(again).read_to_string(&mut text).unwrap();
        assert!(!text.is_empty());
    }
}
