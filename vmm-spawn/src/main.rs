//! See the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    vmm_spawn::main()
}
