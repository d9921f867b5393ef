//! `vmm-log`: see the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use vmm_service::options::Common;

/// Keeps the event log: durable, and chained so that tampering shows
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Check the chain of the log in DIR and say whether it is intact, instead of serving it
    #[arg(long)]
    verify: bool,
}

fn main() -> ExitCode {
    let Options { common, verify } = Options::parse();
    if verify {
        return vmm_log::verify::command(&common.dirs());
    }
    vmm_service::run::daemon("vmm-log", &common, || vmm_log::run(common.dirs()))
}
