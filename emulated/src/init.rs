//! The first process of the machine: building it on the host.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Builds the program `emulated-init` of the workspace at `root` and says where it is.
///
/// # Errors
/// It does not compile.
pub fn build_init(root: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["build", "--quiet", "--locked"]);
    cargo.args(["--package", "vmm-emulated", "--bin", "emulated-init"]);
    ensure!(cargo.status().context("cannot run cargo")?.success(), "building init failed");
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(root.join(target).join("debug/emulated-init"))
}
