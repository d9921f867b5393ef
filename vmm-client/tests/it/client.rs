//! The program under test.

use std::process::{Command, Output, Stdio};

use crate::authority::{Authority, Files};
use crate::server::Server;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The program with an environment in which nothing is set.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmm-client"));
    for variable in ["VMM_CA", "VMM_SERVER", "VMM_BUNDLE", "VMM_KEY", "XDG_CONFIG_HOME"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The program, about to speak to that server.
pub(crate) fn to(authority: &Authority, server: &Server, files: &Files) -> Command {
    let mut command = program();
    command
        .arg("--ca")
        .arg(authority.path("cacert.pem"))
        .args(["--server", &format!("127.0.0.1:{}", server.port)])
        .arg("--bundle")
        .arg(&files.bundle)
        .arg("--key")
        .arg(&files.key);
    command
}

/// Runs it to its end, while the test's server goes on.
pub(crate) async fn run(mut command: Command) -> Ran {
    let run = move || command.output().unwrap();
    let Output { status, stdout, stderr } = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// Adds words to a command line.
pub(crate) fn with(mut command: Command, words: &[&str]) -> Command {
    command.args(words);
    command
}
