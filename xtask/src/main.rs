//! The front door for tasks: `cargo xtask TASK`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

/// Tasks of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// The whole walkthrough, typed and checked, in a fresh directory
    Demo,
    /// The same, and the daemons go on until Enter is pressed
    Up,
    /// What a user waits for and what a host pays, as a table
    Bench {
        #[command(subcommand)]
        what: Option<Bench>,
    },
    /// Build the sample unikernels into target/guests
    Guests,
    /// Run every fuzz target for a while
    Fuzz {
        /// Seconds for each
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Build them, and run none
        #[arg(long, conflicts_with = "seconds")]
        build: bool,
    },
    /// Download the kernel for tests in an emulated PC (Debian; installs nothing)
    Kernel,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// Our tender beside Solo5's own, on the same images
    Tender {
        /// A directory with solo5-hvt, solo5-spt and Solo5's test images (`test_hello.spt`, …)
        #[arg(long, value_name = "DIR")]
        against: PathBuf,
        /// How often each thing is measured; what is short, ten times that
        #[arg(long, default_value_t = 21)]
        rounds: usize,
    },
}

fn main() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent")?;
    match Task::parse() {
        Task::Demo => xtask::demo::demo(root, false),
        Task::Up => xtask::demo::demo(root, true),
        Task::Bench { what: None } => xtask::bench::bench(root),
        Task::Bench { what: Some(Bench::Tender { against, rounds }) } => {
            xtask::bench::tender::bench(root, &against, rounds)
        }
        Task::Guests => xtask::guests::build_guests(root).map(|()| ExitCode::SUCCESS),
        Task::Fuzz { build: true, .. } => xtask::fuzz::build(root).map(|()| ExitCode::SUCCESS),
        Task::Fuzz { seconds, .. } => xtask::fuzz::fuzz(root, Duration::from_secs(seconds)),
        Task::Kernel => {
            println!("{}", vmm_emulated::fetch_kernel(root)?.release());
            Ok(ExitCode::SUCCESS)
        }
    }
}
