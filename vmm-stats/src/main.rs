//! `vmm-stats`: see the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use vmm_service::options::Common;

/// Samples what machines use, each second
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    let Options { common } = Options::parse();
    vmm_service::run::daemon("vmm-stats", &common, || vmm_stats::run(common.dirs()))
}
