//! What a guest's CPU held when its machine had to be ended, for whoever has to find out why.

use std::fmt;

use kvm_bindings::kvm_regs;

/// The registers of a CPU, five lines of text.
#[derive(Clone, PartialEq, Debug)]
pub struct Registers(kvm_regs);

impl Registers {
    pub(super) fn new(registers: kvm_regs) -> Self {
        Self(registers)
    }

    /// The instruction pointer.
    pub fn rip(&self) -> u64 {
        self.0.rip
    }
}

impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registers = &self.0;
        let lines: [&[(&str, u64)]; 5] = [
            &[
                ("rax", registers.rax),
                ("rbx", registers.rbx),
                ("rcx", registers.rcx),
                ("rdx", registers.rdx),
            ],
            &[
                ("rsi", registers.rsi),
                ("rdi", registers.rdi),
                ("rbp", registers.rbp),
                ("rsp", registers.rsp),
            ],
            &[
                ("r8 ", registers.r8),
                ("r9 ", registers.r9),
                ("r10", registers.r10),
                ("r11", registers.r11),
            ],
            &[
                ("r12", registers.r12),
                ("r13", registers.r13),
                ("r14", registers.r14),
                ("r15", registers.r15),
            ],
            &[("rip", registers.rip), ("rflags", registers.rflags)],
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
        let registers = kvm_regs { rip: 0x10_0000, r9: 9, rflags: 2, ..kvm_regs::default() };
        let text = Registers::new(registers).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[2].starts_with("  r8 =0000000000000000  r9 =0000000000000009  r10="));
        assert_eq!(lines[4], "  rip=0000000000100000  rflags=0000000000000002");
    }
}
