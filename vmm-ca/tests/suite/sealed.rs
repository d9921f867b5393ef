//! Keys under a passphrase, and other programs that read and write them.

use std::fmt::Write as _;

use crate::desk::Desk;
use crate::others::{has_openssl, has_python, openssl, openssl_likes, python_likes};
use vmm_ca::Exit;

const PASSPHRASE: &str = "correct horse battery staple";

/// An authority whose key is under the passphrase in the file `pass`.
fn authority() -> Desk {
    let desk = Desk::new_in_the_present();
    desk.write("pass", format!("{PASSPHRASE}\n"));
    desk.run("init ca ca.db --server localhost --encrypt --passphrase-file pass").done();
    desk
}

#[test]
fn an_authority_under_a_passphrase_signs_and_takes_back_with_it_alone() {
    let desk = authority();
    assert!(desk.read("ca.key").starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    assert!(desk.read("server.key").starts_with(b"-----BEGIN PRIVATE KEY-----"), "for a daemon");
    desk.run("request delegation dev 1 1 --cpu 0 --encrypt --passphrase-file pass").done();
    desk.write("wrong", "correct horse\n");
    for line in ["sign ca.db cacert.pem ca.key dev.req", "revoke ca.db cacert.pem ca.key server"] {
        desk.run(line).ended(Exit::Usage, "--passphrase-file");
        desk.run(&format!("{line} --passphrase-file wrong")).refused("does not open the key");
        desk.run(&format!("{line} --passphrase-file pass")).done();
    }
    desk.run("request permissions admin --permission all").done();
    desk.run("sign dev.db dev.bundle dev.key admin.req --passphrase-file pass").done();
}

#[test]
fn a_passphrase_is_not_too_short_and_not_missing() {
    let desk = Desk::with_authority();
    desk.write("short", "1234567\n");
    desk.write("empty", "\n12345678\n");
    let ask = "request permissions admin --permission info --encrypt --passphrase-file";
    desk.run(&format!("{ask} short")).ended(Exit::Usage, "at least 8 characters");
    desk.run(&format!("{ask} empty")).ended(Exit::Usage, "first line is empty");
    desk.run(&format!("{ask} missing")).ended(Exit::Failed, "cannot open");
    assert!(!desk.has("admin.key") && !desk.has("admin.req"));
}

#[test]
fn openssl_opens_what_is_sealed_here_and_seals_what_is_opened_here() {
    if !has_openssl() {
        return;
    }
    for (algorithm, how) in [
        ("ed25519", "-scrypt"),
        ("p256", "-v2 aes-256-cbc"),
        ("p384", "-v2 aes-128-cbc -v2prf hmacWithSHA512"),
    ] {
        let desk = authority();
        desk.run(&format!(
            "request permissions admin --permission all --algorithm {algorithm} --encrypt \
             --passphrase-file pass"
        ))
        .done();
        openssl_likes(&desk, "pkey -in admin.key -passin file:pass -noout -check");
        desk.write("wrong", "wrong");
        assert!(!openssl(&desk, "pkey -in admin.key -passin file:wrong").status.success());
        openssl_likes(&desk, "pkey -in admin.key -passin file:pass -out plain.key");
        let seal = format!("pkcs8 -topk8 -in plain.key {how} -passout file:pass -out sealed.key");
        openssl_likes(&desk, &seal);
        desk.run(
            "request permissions leaf --permission info --key sealed.key --passphrase-file pass",
        )
        .done();
        openssl_likes(&desk, "req -in leaf.req -noout -verify");
    }
}

const READ_SEALED: &str = r#"
import subprocess
from cryptography.hazmat.primitives import serialization as s
phrase = open("pass", "rb").read().strip()
key = s.load_pem_private_key(open("ca.key", "rb").read(), phrase)
try:
    s.load_pem_private_key(open("ca.key", "rb").read(), b"wrong")
    raise SystemExit("a wrong passphrase opened it")
except ValueError:
    pass
sealed = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(phrase))
open("ca2.key", "wb").write(sealed)
subprocess.run([VMM_CA, "crl", "ca.db", "cacert.pem", "ca2.key", "--passphrase-file", "pass"], check=True)
"#;

#[test]
fn python_opens_what_is_sealed_here_and_seals_what_is_opened_here() {
    if has_python() {
        let program = format!("VMM_CA = {:?}\n", env!("CARGO_BIN_EXE_vmm-ca"));
        python_likes(&authority(), &(program + READ_SEALED));
    }
}

/// A terminal of its own, at which a script answers questions; what the terminal showed is `shown`.
const AT_A_TERMINAL: &str = r#"
import os, pty, select, termios, time

def session(words, answers):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(words[0], words)
    shown, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        try:
            ready, _, _ = select.select([terminal], [], [], 0.1)
            piece = os.read(terminal, 1000) if ready else None
        except OSError:
            break
        if piece == b"":
            break
        shown += piece or b""
        # Whatever is typed before the program turns the echo off is shown by the terminal.
        quiet = not termios.tcgetattr(terminal)[3] & termios.ECHO
        if answers and quiet and answers[0][0] in shown.split(b"\n")[-1]:
            os.write(terminal, answers.pop(0)[1] + b"\n")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert not answers, (answers, shown)
    return os.waitstatus_to_exitcode(status), shown

phrase, other = b"from the keyboard", b"something else"
request = [VMM_CA, "request", "permissions", "admin", "--permission", "info", "--encrypt"]
code, shown = session(request, [(b"New passphrase", phrase), (b"Once more", other)])
assert code == 2 and b"not the same" in shown and not os.path.exists("admin.key"), shown
code, shown = session(request, [(b"New passphrase", phrase), (b"Once more", phrase)])
assert code == 0 and phrase not in shown, shown
again = [VMM_CA, "request", "permissions", "eve", "--permission", "info", "--key", "admin.key"]
code, shown = session(again, [(b"Passphrase of", other)])
assert code == 3 and other not in shown and b"does not open" in shown, shown
code, shown = session(again, [(b"Passphrase of", phrase)])
assert code == 0 and phrase not in shown and os.path.exists("eve.req"), shown
"#;

#[test]
fn a_passphrase_is_asked_for_on_the_terminal_and_not_shown_there() {
    if has_python() {
        let mut script = String::new();
        writeln!(script, "VMM_CA = {:?}", env!("CARGO_BIN_EXE_vmm-ca")).unwrap();
        python_likes(&Desk::in_the_present(), &(script + AT_A_TERMINAL));
    }
}
