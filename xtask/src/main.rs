//! The front door for tasks: `cargo xtask TASK`.

use std::path::Path;
use std::process::ExitCode;

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
    Bench,
    /// Build the sample unikernels into target/guests
    Guests,
}

fn main() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent")?;
    match Task::parse() {
        Task::Demo => xtask::demo::demo(root, false),
        Task::Up => xtask::demo::demo(root, true),
        Task::Bench => xtask::bench::bench(root),
        Task::Guests => xtask::guests::build_guests(root).map(|()| ExitCode::SUCCESS),
    }
}
