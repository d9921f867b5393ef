//! What the kernel says about an exit of the virtual CPU beyond what `kvm-ioctls` passes on.
#![allow(unsafe_code, reason = "which part of a union is valid, its neighbour says")]

use kvm_bindings::{KVM_EXIT_INTERNAL_ERROR, kvm_run};

/// Which internal error KVM met, 0 if it was none; 1 is an instruction that it cannot emulate.
pub(super) fn suberror(run: &kvm_run) -> u32 {
    if run.exit_reason != KVM_EXIT_INTERNAL_ERROR {
        return 0;
    }
    // SAFETY: for this reason, the kernel fills in this part; every bit pattern is a number.
    unsafe { run.__bindgen_anon_1.internal.suberror }
}
