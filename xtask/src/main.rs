//! The front door for tasks: `cargo xtask TASK`.

use std::path::Path;

use anyhow::{Context, Result};
use clap::Parser;

/// Tasks of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Build the sample unikernels into target/guests
    Guests,
}

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent")?;
    match Task::parse() {
        Task::Guests => xtask::guests::build_guests(root),
    }
}
