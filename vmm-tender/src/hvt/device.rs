//! KVM where it was opened by whoever started the tender.
#![allow(unsafe_code, reason = "`kvm-ioctls` takes over no descriptor but by its number")]

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use kvm_ioctls::Kvm;

/// KVM behind a descriptor. What is no KVM has no version that is known.
pub(super) fn kvm(open: OwnedFd) -> Kvm {
    // SAFETY: the descriptor is open, and nobody else owns it any more.
    unsafe { Kvm::from_raw_fd(open.into_raw_fd()) }
}
