//! The command line of the suite; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    vmm_client::main()
}
