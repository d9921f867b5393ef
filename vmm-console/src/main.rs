//! `vmm-console`: see the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use vmm_service::options::Common;

/// Serves the console output of all machines, history and live
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    let Options { common } = Options::parse();
    vmm_service::run::daemon("vmm-console", &common, || vmm_console::run(common.dirs()))
}
