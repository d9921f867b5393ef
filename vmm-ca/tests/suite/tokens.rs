//! Keys in a PKCS#11 token. `SoftHSM` stands in for one; where it is missing, these tests say SKIPPED
//! on standard error, or fail when `CI=true`.

use std::path::Path;
use std::process::{Command, Output};

use crate::desk::Desk;
use crate::others::{has, has_openssl, openssl_likes};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A desk with a token called `vmm test`.
struct TokenDesk(Desk);

impl TokenDesk {
    fn new() -> Option<Self> {
        if !has("softhsm2-util", &["--version"]) {
            return None;
        }
        assert!(Path::new(MODULE).exists(), "{MODULE} comes with softhsm2-util");
        let desk = Self(Desk::new_in_the_present());
        std::fs::create_dir(desk.0.path("tokens")).unwrap();
        let tokens = desk.0.path("tokens");
        let config = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        desk.0.write("softhsm.conf", config);
        desk.0.write("pin", "1234\n");
        desk.0.write("wrong", "4321\n");
        desk.token("vmm test");
        Some(desk)
    }

    fn token(&self, label: &str) {
        let output = self
            .command("softhsm2-util")
            .args(["--init-token", "--free", "--label", label, "--so-pin", "5678", "--pin", "1234"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SOFTHSM2_CONF", self.0.path("softhsm.conf")).current_dir(self.0.path(""));
        command
    }

    /// Runs the program itself: a module is told where its tokens are by the environment.
    fn run(&self, line: &str) -> Output {
        let mut command = self.command(env!("CARGO_BIN_EXE_vmm-ca"));
        command.args(line.split_whitespace()).output().unwrap()
    }

    #[track_caller]
    fn done(&self, line: &str) -> String {
        let output = self.run(line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[track_caller]
    fn fails(&self, line: &str, code: i32, because: &str) {
        let output = self.run(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(because), "{line}: {said}");
    }
}

/// An authority with its key in the token, and all that it does.
fn lives_in_a_token(algorithm: &str) {
    let Some(desk) = TokenDesk::new() else { return };
    let key = format!("pkcs11:token=vmm%20test;object=ca-{algorithm}?module-path={MODULE}");
    let pin = "--passphrase-file pin";
    desk.done(&format!(
        "init ca ca.db --server localhost --key {key} --algorithm {algorithm} {pin}"
    ));
    assert!(!desk.0.has("ca.key"));
    desk.done("request delegation dev 1 64 --cpu 0");
    let sign = format!("sign ca.db cacert.pem {key} dev.req");
    desk.fails(&format!("{sign} --passphrase-file wrong"), 3, "does not take this PIN");
    desk.fails(&sign, 2, "no terminal to ask on");
    assert!(!desk.0.has("dev.pem"));
    desk.done(&format!("{sign} {pin}"));
    let below = format!("pkcs11:object=alice-{algorithm};type=private?pin-source=file:pin");
    let module = format!("--pkcs11-module {MODULE}");
    desk.fails(
        &format!("request delegation alice 1 1 --cpu 0 --key {below} {module}"),
        2,
        "there is no such key",
    );
    desk.done("request permissions admin --permission all");
    desk.done("sign dev.db dev.bundle dev.key admin.req");
    desk.done("verify admin.bundle --root cacert.pem");
    desk.done(&format!("revoke ca.db cacert.pem {key} server {pin}"));
    desk.fails("verify server.pem --root cacert.pem --crl ca.crl", 3, "took it back");
    if has_openssl() {
        let verify = "verify -x509_strict -crl_check -CAfile cacert.pem -CRLfile ca.crl";
        openssl_likes(&desk.0, &format!("{verify} dev.pem"));
        openssl_likes(&desk.0, "crl -in ca.crl -noout -CAfile cacert.pem");
    }
}

#[test]
fn an_authority_on_p256_lives_in_a_token() {
    lives_in_a_token("p256");
}

#[test]
fn an_authority_on_p384_lives_in_a_token() {
    lives_in_a_token("p384");
}

#[test]
fn an_authority_on_ed25519_lives_in_a_token() {
    lives_in_a_token("ed25519");
}

#[test]
fn a_uri_means_one_token_and_one_key_or_is_refused() {
    let Some(desk) = TokenDesk::new() else { return };
    let init = |key: &str| {
        format!(
            "init ca ca.db --server localhost --algorithm p256 --passphrase-file pin --key {key}"
        )
    };
    let module = format!("module-path={MODULE}");
    desk.fails(&init("pkcs11:object=ca"), 2, "--pkcs11-module");
    desk.fails(&init("pkcs11:object=ca?module-path=/nowhere.so"), 1, "cannot load /nowhere.so");
    desk.fails(&init(&format!("pkcs11:token=other;object=ca?{module}")), 2, "no such token");
    desk.fails(&init(&format!("pkcs11:token=vmm%20test?{module}")), 2, "object=NAME");
    desk.fails(&init("ca2.key"), 2, "pkcs11:");
    desk.token("second");
    desk.fails(&init(&format!("pkcs11:object=ca?{module}")), 2, "several tokens");
    for name in ["ca.db", "cacert.pem", "server.key", "server.pem"] {
        assert!(!desk.0.has(name), "{name}");
    }
    desk.done(&init(&format!("pkcs11:token=second;object=ca?{module}")));
}
