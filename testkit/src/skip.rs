//! What is not tested for want of something.

use std::io::Write;

/// Whether this runs on CI, which has all that any test needs.
pub fn on_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| ci == "true")
}

/// Says on the terminal, also where the output of tests that pass is not shown, what is not tested, and
/// for want of what.
///
/// # Panics
/// On CI: nothing is skipped there.
#[track_caller]
pub fn skipped(what: &str) {
    assert!(!on_ci(), "with CI=true nothing is skipped: {what}");
    untested_here(what);
}

/// Says so of what cannot be had everywhere, and is tested elsewhere.
pub fn untested_here(what: &str) {
    // Unlike `eprintln!`, which a test's harness takes for itself. Who cannot be told is not told.
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED: {what}");
}
