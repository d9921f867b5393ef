//! `vmm-log`: see the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use vmm_service::options::{Access, Common};
use vmm_service::socket::Door;

/// Keeps the event log: durable, and chained so that tampering shows
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    access: Access,
    /// Check the chain of the log in DIR and say whether it is intact, instead of serving it
    #[arg(long)]
    verify: bool,
}

fn main() -> ExitCode {
    let Options { common, access, verify } = Options::parse();
    if verify {
        return vmm_log::verify::command(&common.dirs());
    }
    vmm_service::run::daemon("vmm-log", &common, &["log"], |passed| {
        vmm_log::run(common.dirs(), Door { passed, access })
    })
}
