//! The virtual machine and its one CPU.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_dtable, kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::{Cap, Kvm, VcpuExit, VcpuFd, VmFd};
use rustix::io::Errno;
use vmm_tender_abi::hvt::{
    BOOT_INFO_ADDRESS, CODE_SELECTOR, CR0, CR4, DATA_SELECTOR, EFER, GDT, GDT_ADDRESS,
    PML4_ADDRESS, RFLAGS,
};

use super::{Registers, device, exit, slot};
use crate::Error;
use crate::memory::GuestMemory;
use crate::refusal::Refusal;

const KVM_API_VERSION: i32 = 12;

/// What made the guest's CPU stop.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Event {
    /// It wrote 32 bits to a port.
    Out { port: u16, value: u32 },
    /// It used a port in a way that has no meaning.
    InvalidPort(u16),
    /// It touched memory against its protection.
    /// The instruction is at this address.
    TranslationFault(u64),
}

/// A virtual machine with one CPU, ready to run.
pub(super) struct Vcpu {
    vcpu: VcpuFd,
    /// The machine exists as long as this is open.
    _vm: VmFd,
}

impl Vcpu {
    /// A machine with `memory`, its CPU at `entry` in the state that the ABI has (section 3.3).
    /// KVM is opened unless it is open already.
    pub(super) fn new(
        kvm: Option<OwnedFd>,
        memory: &GuestMemory,
        entry: u64,
    ) -> Result<Self, Error> {
        let kvm = match kvm {
            Some(open) => device::kvm(open),
            None => Kvm::new().map_err(|error| Error::Refused(Refusal::Kvm(errno(error))))?,
        };
        check_abilities(&kvm)?;
        let vm = kvm.create_vm().map_err(failed("create a virtual machine"))?;
        // Before there is memory, which KVM would have to look at for it.
        let vcpu = vm.create_vcpu(0).map_err(failed("create a virtual CPU"))?;
        slot::lend(&vm, memory).map_err(failed("give memory to the virtual machine"))?;
        let cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(failed("ask KVM for CPU features"))?;
        vcpu.set_cpuid2(&cpuid).map_err(failed("set CPU features"))?;
        vcpu.set_sregs(&special_registers()).map_err(failed("set control registers"))?;
        let registers = kvm_regs {
            rip: entry,
            rsp: memory.size() - 8,
            rdi: BOOT_INFO_ADDRESS,
            rflags: RFLAGS,
            ..kvm_regs::default()
        };
        vcpu.set_regs(&registers).map_err(failed("set registers"))?;
        Ok(Self { vcpu, _vm: vm })
    }

    /// Frequency of the time stamp counter in Hz.
    pub(super) fn frequency(&self) -> Result<u64, Error> {
        let khz = self.vcpu.get_tsc_khz().map_err(|error| match errno(error) {
            Errno::IO => Error::KvmLacks("a stable time stamp counter"),
            error => Error::Host { what: "ask KVM for the clock frequency", error },
        })?;
        Ok(u64::from(khz) * 1000)
    }

    /// The descriptor through which the CPU is run.
    pub(super) fn descriptor(&self) -> RawFd {
        self.vcpu.as_raw_fd()
    }

    /// Runs the guest until it wants something. It has its memory for that time.
    pub(super) fn run(&mut self, memory: &mut GuestMemory) -> Result<Event, Error> {
        loop {
            let what = match self.vcpu.run() {
                Ok(VcpuExit::IoOut(port, data)) => {
                    return Ok(match <[u8; 4]>::try_from(data) {
                        Ok(value) => Event::Out { port, value: u32::from_le_bytes(value) },
                        Err(_) => Event::InvalidPort(port),
                    });
                }
                Ok(VcpuExit::IoIn(port, _)) => return Ok(Event::InvalidPort(port)),
                // Where KVM emulates its guests, a write to a read-only page is taken for one to
                // a device.
                Ok(VcpuExit::MmioRead(address, _) | VcpuExit::MmioWrite(address, _))
                    if address < memory.end() =>
                {
                    return Ok(Event::TranslationFault(self.rip()?));
                }
                Ok(VcpuExit::FailEntry(reason, _)) => format!("entry failed ({reason:#x})"),
                Ok(VcpuExit::InternalError) => {
                    let suberror = exit::suberror(self.vcpu.get_kvm_run());
                    format!("internal error exit: suberror={suberror:#x}")
                }
                Ok(_) => {
                    let reason = self.vcpu.get_kvm_run().exit_reason;
                    format!("unhandled exit: exit_reason={reason:#x}")
                }
                Err(error) => match errno(error) {
                    Errno::INTR | Errno::AGAIN => continue,
                    Errno::FAULT => return Ok(Event::TranslationFault(self.rip()?)),
                    error => return Err(Error::Host { what: "run the virtual CPU", error }),
                },
            };
            return Err(Error::Vcpu { what, rip: self.rip()? });
        }
    }

    fn rip(&self) -> Result<u64, Error> {
        Ok(self.vcpu.get_regs().map_err(failed("read registers"))?.rip)
    }

    /// What it holds.
    pub(super) fn registers(&self) -> Result<Registers, Error> {
        Ok(Registers {
            general: self.vcpu.get_regs().map_err(failed("read registers"))?,
            special: self.vcpu.get_sregs().map_err(failed("read control registers"))?,
        })
    }
}

fn check_abilities(kvm: &Kvm) -> Result<(), Error> {
    let version = kvm.get_api_version();
    if version != KVM_API_VERSION {
        return Err(Error::KvmVersion(version));
    }
    for (ability, name) in [
        (Cap::UserMemory, "user memory (KVM_CAP_USER_MEMORY)"),
        (Cap::GetTscKhz, "the clock frequency (KVM_CAP_GET_TSC_KHZ)"),
    ] {
        if !kvm.check_extension(ability) {
            return Err(Error::KvmLacks(name));
        }
    }
    Ok(())
}

fn special_registers() -> kvm_sregs {
    let segment = kvm_segment { limit: u32::MAX, present: 1, s: 1, g: 1, ..kvm_segment::default() };
    let code = kvm_segment { selector: CODE_SELECTOR, type_: 9, l: 1, ..segment };
    let data = kvm_segment { selector: DATA_SELECTOR, type_: 3, db: 1, ..segment };
    let task = kvm_segment { type_: 11, present: 1, ..kvm_segment::default() };
    let limit = u16::try_from(size_of_val(&GDT) - 1).unwrap_or(u16::MAX);
    kvm_sregs {
        cs: code,
        ds: data,
        es: data,
        fs: data,
        gs: data,
        ss: data,
        tr: task,
        ldt: kvm_segment { unusable: 1, ..kvm_segment::default() },
        gdt: kvm_dtable { base: GDT_ADDRESS, limit, ..kvm_dtable::default() },
        cr0: CR0,
        cr3: PML4_ADDRESS,
        cr4: CR4,
        efer: EFER,
        ..kvm_sregs::default()
    }
}

fn errno(error: kvm_ioctls::Error) -> Errno {
    Errno::from_raw_os_error(error.errno())
}

fn failed(what: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Error {
    move |error| Error::Host { what, error: errno(error) }
}
