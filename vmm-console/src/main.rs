//! `vmm-console`: see the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use vmm_service::options::{Access, Common};
use vmm_service::socket::Door;

/// Serves the console output of all machines, history and live
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
    vmm_service::run::daemon("vmm-console", &common, &["console"], |passed| {
        vmm_console::run(common.dirs(), Door { passed, access })
    })
}
