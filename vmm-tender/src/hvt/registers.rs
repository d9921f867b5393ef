//! What a guest's CPU held when its machine had to be ended, for whoever has to find out why.

use std::fmt;

use kvm_bindings::{kvm_regs, kvm_sregs};

/// The registers of a CPU, five lines of text.
#[derive(Clone, PartialEq, Debug)]
pub struct Registers {
    pub(super) general: kvm_regs,
    pub(super) special: kvm_sregs,
}

impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let general = &self.general;
        let lines: [&[(&str, u64)]; 5] = [
            &[
                ("rax", general.rax),
                ("rbx", general.rbx),
                ("rcx", general.rcx),
                ("rdx", general.rdx),
            ],
            &[
                ("rsi", general.rsi),
                ("rdi", general.rdi),
                ("rbp", general.rbp),
                ("rsp", general.rsp),
            ],
            &[("r8 ", general.r8), ("r9 ", general.r9), ("r10", general.r10), ("r11", general.r11)],
            &[
                ("r12", general.r12),
                ("r13", general.r13),
                ("r14", general.r14),
                ("r15", general.r15),
            ],
            &[("rip", general.rip), ("rflags", general.rflags), ("cr2", self.special.cr2)],
        ];
        for (index, line) in lines.into_iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            for (name, value) in line {
                write!(f, "  {name}={value:016x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_register_has_its_place() {
        let general = kvm_regs { rip: 0x10_0000, r9: 9, rflags: 2, ..kvm_regs::default() };
        let special = kvm_sregs { cr2: 0xFFF, ..kvm_sregs::default() };
        let text = Registers { general, special }.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[2].starts_with("  r8 =0000000000000000  r9 =0000000000000009  r10="));
        let last = "  rip=0000000000100000  rflags=0000000000000002  cr2=0000000000000fff";
        assert_eq!(lines[4], last);
    }
}
