//! `vmm-stats`: see the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use vmm_service::options::{Access, Common};
use vmm_service::socket::Door;

/// Samples what machines use, each second
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    access: Access,
}

fn main() -> ExitCode {
    let Options { common, access } = Options::parse();
    vmm_service::run::daemon("vmm-stats", &common, &["stats"], |passed| {
        vmm_stats::run(common.dirs(), Door { passed, access })
    })
}
