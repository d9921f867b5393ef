//! `vmmd`: see [`vmmd`].

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let options = vmmd::options::Options::parse();
    let sockets = [vmmd::LOCAL, vmmd::TLS];
    vmm_service::run::daemon("vmmd", &options.common, &sockets, |passed| {
        vmmd::serve(&options, passed)
    })
}
