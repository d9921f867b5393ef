//! Other programs that look at what is made here.

use std::process::{Command, Output};
use vmm_testkit::skipped;

use crate::desk::Desk;

/// Whether a program is there; `probe` are arguments with which it should succeed.
pub(crate) fn has(program: &str, probe: &[&str]) -> bool {
    let there = Command::new(program).args(probe).output().is_ok_and(|out| out.status.success());
    if !there {
        skipped(&format!("{program} {probe:?} does not work here"));
    }
    there
}

pub(crate) fn has_openssl() -> bool {
    has("openssl", &["version"])
}

pub(crate) fn openssl(desk: &Desk, line: &str) -> Output {
    let words = line.split_whitespace();
    Command::new("openssl").args(words).current_dir(desk.path("")).output().unwrap()
}

#[track_caller]
pub(crate) fn openssl_likes(desk: &Desk, line: &str) -> String {
    let output = openssl(desk, line);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "openssl {line}: {said}");
    said
}

pub(crate) fn has_python() -> bool {
    has("python3", &["-c", "import cryptography"])
}

/// Runs a Python script at the desk.
#[track_caller]
pub(crate) fn python_likes(desk: &Desk, script: &str) {
    let output =
        Command::new("python3").args(["-c", script]).current_dir(desk.path("")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
