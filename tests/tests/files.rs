//! The files that `vmmd` is started with: what stands in them beside what is wanted is not passed
//! over.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Read;
use std::process::Stdio;

use vmm_tests::setup::Setup;
use xtask::house::wait_until;

/// Writes one file of several.
fn join(setup: &Setup, from: &[&str], to: &str) {
    let text: String =
        from.iter().map(|name| std::fs::read_to_string(setup.file(name)).unwrap()).collect();
    std::fs::write(setup.file(to), text).unwrap();
}

/// What a `vmmd` complains of that does not start.
fn complaint(setup: &Setup, ca: &str, cert: &str) -> String {
    let files = ["--dir", "run", "--ca", ca, "--cert", cert, "--key", "server.key"];
    let arguments = [&files[..], &["--listen", "127.0.0.1:0"]].concat();
    let mut command = setup.house.command("vmmd", &arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = wait_until("the end of vmmd", || child.try_wait().unwrap().is_some());
    if ended.is_err() {
        child.kill().unwrap();
    }
    assert!(!child.wait().unwrap().success(), "{ca} {cert}");
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn more_certificates_than_are_wanted_are_refused() {
    let setup = Setup::without_daemons();
    setup.delegate("ca.db", "cacert.pem", "ca.key", "dev", &["2", "1024", "--cpu", "0"]);
    join(&setup, &["cacert.pem", "server.pem"], "roots.pem");
    let said = complaint(&setup, "roots.pem", "server.pem");
    assert!(said.contains("roots.pem holds 2 certificates"), "{said}");
    join(&setup, &["server.pem", "dev.pem"], "chain.pem");
    let said = complaint(&setup, "cacert.pem", "chain.pem");
    assert!(said.contains("every client would refuse chain.pem"), "{said}");
    std::fs::write(setup.file("none.pem"), "nothing\n").unwrap();
    let said = complaint(&setup, "cacert.pem", "none.pem");
    assert!(said.contains("none.pem holds no certificate"), "{said}");
}

#[test]
fn a_server_may_present_the_root_too() {
    let setup = Setup::without_daemons();
    setup.delegate("ca.db", "cacert.pem", "ca.key", "dev", &["2", "1024", "--cpu", "0"]);
    join(&setup, &["server.pem", "cacert.pem"], "both.pem");
    std::fs::rename(setup.file("both.pem"), setup.file("server.pem")).unwrap();
    let setup = setup.started(&[]);
    setup.client("dev", &["info"]).expect(0);
}
