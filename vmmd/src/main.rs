//! `vmmd`: see [`vmmd`].

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let options = vmmd::options::Options::parse();
    vmm_service::run::daemon("vmmd", &options.common, || vmmd::serve(&options))
}
