//! `vmm-ca`: see the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    vmm_ca::command::main()
}
