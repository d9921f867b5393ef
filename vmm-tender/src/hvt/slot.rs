//! Lending guest memory to a virtual machine.
#![allow(unsafe_code, reason = "the kernel is told an address that it keeps using")]

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;

use crate::memory::GuestMemory;

/// Makes `memory` the guest-physical memory of `vm`, from address 0 on.
pub(super) fn lend(vm: &VmFd, memory: &GuestMemory) -> Result<(), kvm_ioctls::Error> {
    let mapping = memory.mapping();
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: mapping.len() as u64,
        userspace_addr: mapping.host_address(),
    };
    // SAFETY: the region is exactly the mapping's. The guest's CPU runs only in `Vcpu::run`, which
    // borrows the memory mutably: it is mapped then, and nothing else refers to it. Should it be
    // unmapped, the kernel forgets it.
    unsafe { vm.set_user_memory_region(region) }
}
