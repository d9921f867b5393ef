//! `cargo xtask fuzz`: builds every fuzz target that there is and runs each for a while.
//! `cargo xtask fuzz --build`: only builds them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The line of libFuzzer's statistics that counts.
const EXECUTIONS: &str = "stat::number_of_executed_units:";

/// Runs each target of the workspace in `fuzz/` for as long as said.
///
/// Each begins with what it has found to be of interest before, in `fuzz/corpus/TARGET`, and what
/// is kept for it in `fuzz/seeds/TARGET`, if there is such a directory; `tender-image` also with
/// the guests in `target/guests`, if they are built.
///
/// # Errors
/// Something does not compile, there is no C++ compiler, or a target finds something.
pub fn fuzz(root: &Path, each: Duration) -> Result<ExitCode> {
    build(root)?;
    let (programs, targets) = targets(&root.join("fuzz"))?;
    ensure!(!targets.is_empty(), "there are no fuzz targets");
    let mut findings = Vec::new();
    for target in targets {
        if !run(root, &programs, &target, each)? {
            findings.push(target);
        }
    }
    ensure!(findings.is_empty(), "findings, or no runs at all, of: {}", findings.join(", "));
    Ok(ExitCode::SUCCESS)
}

/// Builds each target.
///
/// # Errors
/// Something does not compile, or there is no C++ compiler.
pub fn build(root: &Path) -> Result<()> {
    println!("Building the fuzz targets …");
    let arguments = ["build", "--quiet", "--release", "--bins", "--locked"];
    let built = cargo(&root.join("fuzz"), &arguments)
        .stdin(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    ensure!(built.success(), "the fuzz targets do not build (libFuzzer wants g++)");
    Ok(())
}

/// Where the programs are, and their names.
fn targets(directory: &Path) -> Result<(PathBuf, Vec<String>)> {
    let arguments = ["metadata", "--no-deps", "--format-version=1", "--locked"];
    let output = cargo(directory, &arguments).output().context("cannot run cargo")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let target = metadata["target_directory"].as_str().context("cargo names no directory")?;
    let all = metadata["packages"][0]["targets"].as_array().context("cargo names no targets")?;
    let programs =
        all.iter().filter(|it| it["kind"][0] == "bin").filter_map(|it| it["name"].as_str());
    // The compilation target of `fuzz/.cargo/config.toml`.
    let release = Path::new(target).join("x86_64-unknown-linux-gnu/release");
    Ok((release, programs.map(str::to_owned).collect()))
}

/// Whether a target ran and found nothing.
fn run(root: &Path, programs: &Path, target: &str, each: Duration) -> Result<bool> {
    let directory = root.join("fuzz");
    let corpus = directory.join("corpus").join(target);
    let artifacts = directory.join("artifacts").join(target);
    for directory in [&corpus, &artifacts] {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    let guests = (target == "tender-image").then(|| root.join("target/guests"));
    let seeds = [Some(directory.join("seeds").join(target)), guests];
    let seeds = seeds.into_iter().flatten().filter(|directory| directory.is_dir());
    let output = Command::new(programs.join(target))
        .arg(format!("-max_total_time={}", each.as_secs()))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-print_final_stats=1", "-timeout=10"])
        .arg(&corpus)
        .args(seeds)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {target}"))?;
    let protocol = String::from_utf8_lossy(&output.stderr);
    let mut lines = protocol.lines();
    let executions = lines.find_map(|line| line.strip_prefix(EXECUTIONS)).map_or("0", str::trim);
    let clean = output.status.success() && executions != "0";
    if clean {
        println!("{target}: {executions} executions, no finding");
    } else {
        println!("{target}: {}\n{protocol}", output.status);
    }
    Ok(clean)
}

fn cargo(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(directory).args(arguments);
    // The flags for coverage come from a file that these would hide.
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR"] {
        command.env_remove(variable);
    }
    command
}
