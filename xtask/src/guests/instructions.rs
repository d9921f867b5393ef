//! Hvt guests have to do without SSE, MMX and x87: a KVM that emulates its guests (as nested
//! ones do) ends them at the first such instruction.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Disassembles the unikernel at `path`.
///
/// # Errors
/// It has an instruction that it must not have, which is shown, or there is no `objdump` (part
/// of binutils, like the linker).
pub(super) fn check(path: &Path) -> Result<()> {
    let name = path.display();
    let output = Command::new("objdump")
        .args(["--disassemble", "--no-show-raw-insn"])
        .arg(path)
        .output()
        .context("cannot run objdump (it comes with binutils)")?;
    ensure!(output.status.success(), "objdump cannot disassemble {name}");
    let listing = String::from_utf8_lossy(&output.stdout);
    ensure!(listing.lines().any(|line| instruction(line).is_some()), "{name} has no code");
    let mut function = "";
    for line in listing.lines() {
        if line.ends_with(">:") {
            function = line;
        }
        if instruction(line).is_some_and(is_forbidden) {
            bail!("{name} has a vector or floating-point instruction in {function}\n{line}");
        }
    }
    Ok(())
}

/// The instruction in a line like `  100210:\tmov    %rsp,%rdi`.
fn instruction(line: &str) -> Option<&str> {
    let (address, instruction) = line.split_once(":\t")?;
    let address = address.trim_start();
    let is_address = !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_address.then_some(instruction)
}

fn is_forbidden(instruction: &str) -> bool {
    const REGISTERS: [&str; 5] = ["%xmm", "%ymm", "%zmm", "%mm", "%st"];
    // These name no register.
    const MNEMONICS: [&str; 6] = ["emms", "ldmxcsr", "stmxcsr", "vldmxcsr", "vstmxcsr", "vzero"];
    if REGISTERS.iter().any(|register| instruction.contains(register)) {
        return true;
    }
    let mut words = instruction.split_whitespace();
    let prefixes = ["rep", "repz", "repnz", "lock", "data16", "cs", "ds", "es", "fs", "gs", "ss"];
    let mnemonic = words.find(|word| !prefixes.contains(word)).unwrap_or_default();
    // All of x87 begins with f, and nothing else does.
    mnemonic.starts_with('f') || MNEMONICS.iter().any(|name| mnemonic.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_and_floating_point_instructions_are_found() {
        for line in [
            "  100210:\tmovaps %xmm0,(%rsp)",
            "  100210:\tfldcw  (%rsp)",
            "  100210:\tfwait",
            "  100210:\temms",
            "  100210:\tmovq   %rax,%mm0",
            "  100210:\tldmxcsr (%rsp)",
            "  100210:\tfxsave (%rsp)",
            "  100210:\tvzeroupper",
        ] {
            assert!(instruction(line).is_some_and(is_forbidden), "{line}");
        }
    }

    #[test]
    fn ordinary_lines_are_left_alone() {
        for line in [
            "  100210:\tmov    %rsp,%rdi",
            "  100210:\trep stos %rax,%es:(%rdi)",
            "  100210:\tfs mov 0x0,%rax",
            "0000000000100210 <_ZN4core3fmt9formatter17h0E>:",
            "target/fxsave:     file format elf64-x86-64",
            "",
        ] {
            assert!(!instruction(line).is_some_and(is_forbidden), "{line}");
        }
    }
}
