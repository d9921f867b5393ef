//! `cargo xtask guests`: builds the sample unikernels for both targets and puts them at
//! `target/guests/NAME.spt` and `target/guests/NAME.hvt`, and some of them, built with SSE as on
//! ordinary hosts they may be, at `target/guests/NAME-sse.hvt`.
//!
//! Cargo decides what is to be rebuilt; a result that is the same as before is left alone, so
//! that a second run costs little and changes nothing.

mod instructions;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The sample unikernels, by the names of their binaries.
const SAMPLES: [&str; 10] =
    ["abi", "chatter", "crasher", "disk", "echo", "echoes", "hello", "liar", "sender", "ticker"];

/// Those that need floating-point numbers.
const WITH_SSE: &str = "fpu";

/// Those that are built with SSE for hvt too.
const SSE_SAMPLES: [&str; 3] = ["disk", WITH_SSE, "hello"];

/// The target that every Rust installation on a Linux PC has.
const HOST_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The soft-float target, which fits hvt guests without a warning where it is installed.
const BARE_TARGET: &str = "x86_64-unknown-none";

/// Variables by which a user, or the cargo that runs this program, would change how guests are
/// built.
const FOREIGN_VARIABLES: [&str; 6] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
];

/// What guests are built for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Build {
    Spt,
    Hvt,
    HvtWithSse,
}

impl Build {
    /// How the directory of what is built is called, and the file with the compiler's flags.
    fn name(self) -> &'static str {
        match self {
            Self::Spt => "spt",
            Self::Hvt => "hvt",
            Self::HvtWithSse => "hvt-sse",
        }
    }

    /// How the names of the results end.
    fn ending(self) -> &'static str {
        match self {
            Self::Spt => ".spt",
            Self::Hvt => ".hvt",
            Self::HvtWithSse => "-sse.hvt",
        }
    }

    fn samples(self) -> Vec<&'static str> {
        match self {
            Self::Spt => SAMPLES.into_iter().chain([WITH_SSE]).collect(),
            Self::Hvt => SAMPLES.into(),
            Self::HvtWithSse => SSE_SAMPLES.into(),
        }
    }
}

/// Builds all guests below `root`, the directory of the main workspace, which may be done by
/// several processes at once.
///
/// # Errors
/// A guest does not compile, an hvt guest has an instruction that it must not have, or a file
/// cannot be written.
pub fn build_guests(root: &Path) -> Result<()> {
    let results = root.join("target/guests");
    fs::create_dir_all(&results).with_context(|| format!("cannot create {}", results.display()))?;
    for what in [Build::Spt, Build::Hvt, Build::HvtWithSse] {
        let built = build(root, what)?;
        for sample in what.samples() {
            let result = results.join(format!("{sample}{}", what.ending()));
            deliver(&built.join(sample), &result, what)?;
        }
    }
    Ok(())
}

/// Builds the samples and tells where the binaries are.
fn build(root: &Path, what: Build) -> Result<PathBuf> {
    let guests = root.join("guests");
    let bare = what == Build::Hvt && has_target(BARE_TARGET);
    let (target, config) =
        if bare { (BARE_TARGET, "hvt-bare") } else { (HOST_TARGET, what.name()) };
    let target_dir = guests.join("target").join(what.name());
    let mut command = Command::new(program("CARGO", "cargo"));
    command
        .current_dir(&guests)
        .args(["build", "--quiet", "--release", "--locked", "--package", "samples"])
        .arg(format!("--config=.cargo/{config}.toml"))
        .arg(format!("--target-dir={}", target_dir.display()));
    if what != Build::Hvt {
        command.arg("--features=sse");
    }
    for sample in what.samples() {
        command.args(["--bin", sample]);
    }
    for variable in FOREIGN_VARIABLES {
        command.env_remove(variable);
    }
    // The compiler warns of target features that docs/adr/0003-guest-build-flags.md explains;
    // its output is shown only when something is wrong.
    let output = command.output().context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "building the {} guests failed:\n{}",
        what.name(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(target_dir.join(target).join("release"))
}

/// Whether the compiler has the core library for `target`.
fn has_target(target: &str) -> bool {
    let output = Command::new(program("RUSTC", "rustc"))
        .args(["--print", "target-libdir", "--target", target])
        .output();
    output.is_ok_and(|output| {
        let directory = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success() && Path::new(directory.trim()).is_dir()
    })
}

/// Cargo tells the programs that it runs which tools are its own.
fn program(variable: &str, default: &str) -> std::ffi::OsString {
    std::env::var_os(variable).unwrap_or_else(|| default.into())
}

/// Puts `built` at `result`, if it is another file than what is there, in one step: whoever runs
/// the old one at this moment is not disturbed.
fn deliver(built: &Path, result: &Path, what: Build) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    if fs::read(result).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    if what == Build::Hvt {
        instructions::check(built)?;
    }
    let partial = result.with_extension(format!("{}.{}", what.name(), std::process::id()));
    fs::write(&partial, &bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, result).with_context(|| format!("cannot replace {}", result.display()))
}
