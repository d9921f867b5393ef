//! Revocation lists as other programs see them, and what never gets lost of them.

use std::collections::BTreeSet;

use crate::desk::Desk;
use crate::others::{has_openssl, has_python, openssl, openssl_likes, python_likes};
use vmm_ca::database::Database;
use vmm_ca::{Exit, pem};

const ALGORITHMS: [&str; 3] = ["ed25519", "p256", "p384"];

/// An authority and `dev` with a machine and two permission leaves, with keys of one kind, by the
/// real clock.
fn tree(algorithm: &str) -> Desk {
    let desk = Desk::new_in_the_present();
    let run = |line: &str| desk.run(line).done();
    run(&format!("init ca ca.db --server localhost --algorithm {algorithm}"));
    let ask = |what: &str| run(&format!("request {what} --algorithm {algorithm}"));
    ask("delegation dev 2 64 --cpu 0,1");
    ask("permissions admin --permission all");
    ask("permissions eve --permission all");
    desk.write("hello.spt", "the image");
    ask("machine hello hello.spt 16 --cpu 1");
    run("sign ca.db cacert.pem ca.key dev.req");
    for leaf in ["admin", "eve", "hello"] {
        run(&format!("sign dev.db dev.bundle dev.key {leaf}.req"));
    }
    desk
}

/// The serial numbers that a list names, and its number.
fn named(desk: &Desk, file: &str) -> (BTreeSet<String>, u64) {
    let shown = desk.run(&format!("inspect {file} --format json")).done().out;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let list = &shown[0]["items"][0];
    let serials = list["revoked"].as_array().unwrap().iter();
    let serials = serials.map(|one| one["serial"].as_str().unwrap().to_owned()).collect();
    (serials, list["number"].as_str().unwrap().parse().unwrap())
}

fn serial(desk: &Desk, file: &str) -> String {
    let shown = desk.run(&format!("inspect {file} --format json")).done().out;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    shown[0]["items"][0]["serial"].as_str().unwrap().to_owned()
}

#[test]
fn openssl_refuses_what_a_list_names_and_nothing_else() {
    if !has_openssl() {
        return;
    }
    for algorithm in ALGORITHMS {
        let desk = tree(algorithm);
        desk.run("crl ca.db cacert.pem ca.key").done();
        desk.run("revoke dev.db dev.bundle dev.key hello").done();
        openssl_likes(&desk, "crl -in dev.crl -noout -text -CAfile dev.pem");
        desk.write("all.crl", [desk.read("ca.crl"), desk.read("dev.crl")].concat());
        let verify = "verify -x509_strict -crl_check_all -CAfile cacert.pem -CRLfile all.crl \
                      -untrusted dev.pem";
        openssl_likes(&desk, &format!("{verify} admin.pem"));
        let refused = openssl(&desk, &format!("{verify} hello.pem"));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("revoked"), "{said}");

        desk.run("revoke ca.db cacert.pem ca.key dev").done();
        desk.write("all.crl", [desk.read("ca.crl"), desk.read("dev.crl")].concat());
        let refused = openssl(&desk, &format!("{verify} admin.pem"));
        assert!(!refused.status.success(), "dev itself was taken back");
    }
}

const READ_LISTS: &str = r#"
import datetime, subprocess
from cryptography import x509
from cryptography.x509.oid import ExtensionOID as E

def load(name):
    pem = open(name, "rb").read()
    return x509.load_pem_x509_crl(pem), x509.load_pem_x509_certificates(pem)

def cert(name):
    return x509.load_pem_x509_certificate(open(name, "rb").read())

last = {}
def check(name, issuer, chain, revoked):
    crl, certs = load(name)
    assert certs == [cert(c) for c in chain], name
    issuer = cert(issuer)
    assert crl.is_signature_valid(issuer.public_key())
    assert crl.issuer == issuer.subject
    number = crl.extensions.get_extension_for_oid(E.CRL_NUMBER)
    assert not number.critical and number.value.crl_number > last.get(name, 0)
    last[name] = number.value.crl_number
    aki = crl.extensions.get_extension_for_oid(E.AUTHORITY_KEY_IDENTIFIER)
    ski = issuer.extensions.get_extension_for_oid(E.SUBJECT_KEY_IDENTIFIER)
    assert not aki.critical and aki.value.key_identifier == ski.value.digest
    # Full and direct: no delta, no distribution point, no entry of another issuer.
    assert len(crl.extensions) == 2, list(crl.extensions)
    now = datetime.datetime.now(datetime.timezone.utc)
    assert crl.last_update_utc <= now < crl.next_update_utc <= now + datetime.timedelta(days=30)
    assert sorted(r.serial_number for r in crl) == sorted(cert(c).serial_number for c in revoked)
    assert all(len(r.extensions) == 0 for r in crl)

def run(*words):
    subprocess.run([VMM_CA, *words], check=True, stdout=subprocess.DEVNULL)

run("crl", "dev.db", "dev.bundle", "dev.key")
check("dev.crl", "dev.pem", ["dev.pem"], [])
run("revoke", "dev.db", "dev.bundle", "dev.key", "hello")
check("dev.crl", "dev.pem", ["dev.pem"], ["hello.pem"])
run("revoke", "dev.db", "dev.bundle", "dev.key", "eve.pem", "--days", "3")
check("dev.crl", "dev.pem", ["dev.pem"], ["hello.pem", "eve.pem"])
run("revoke", "dev.db", "dev.bundle", "dev.key", "--serial", "%X" % cert("admin.pem").serial_number)
check("dev.crl", "dev.pem", ["dev.pem"], ["hello.pem", "eve.pem", "admin.pem"])
run("revoke", "ca.db", "cacert.pem", "ca.key", "dev", "server")
check("ca.crl", "cacert.pem", ["cacert.pem"], ["dev.pem", "server.pem"])
"#;

#[test]
fn python_reads_and_verifies_every_list() {
    if !has_python() {
        return;
    }
    for algorithm in ALGORITHMS {
        let program = format!("VMM_CA = {:?}\n", env!("CARGO_BIN_EXE_vmm-ca"));
        python_likes(&tree(algorithm), &(program + READ_LISTS));
    }
}

#[test]
fn every_unexpired_certificate_of_a_label_is_taken_back() {
    let mut desk = Desk::with_delegation();
    desk.run("request permissions admin --permission info").done();
    let sign = "sign dev.db dev.bundle dev.key admin.req --renew";
    let mut serials = Vec::new();
    for days in [1, 30, 30] {
        desk.run(&format!("{sign} --days {days}")).done();
        serials.push(serial(&desk, "admin.pem"));
    }
    desk.now += 2 * 86_400;
    desk.run("revoke dev.db dev.bundle dev.key admin").done();
    let expected: BTreeSet<String> = serials[1..].iter().cloned().collect();
    assert_eq!(named(&desk, "dev.crl").0, expected, "the first one has expired");
}

#[test]
fn a_list_names_all_that_was_taken_back_until_it_expires_and_its_number_grows() {
    let mut desk = Desk::with_delegation();
    let mut expected = BTreeSet::new();
    let mut last = 0;
    for (label, days) in [("a", 1), ("b", 30), ("c", 30)] {
        desk.run(&format!("request permissions {label} --permission info")).done();
        desk.run(&format!("sign dev.db dev.bundle dev.key {label}.req --days {days}")).done();
        desk.run(&format!("revoke dev.db dev.bundle dev.key {label}")).done();
        expected.insert(serial(&desk, &format!("{label}.pem")));
        let (serials, number) = named(&desk, "dev.crl");
        assert_eq!(serials, expected);
        assert!(number > last);
        last = number;
    }
    // A clock that was set back does not make the number smaller.
    desk.now -= 100;
    desk.run("crl dev.db dev.bundle dev.key").done();
    assert_eq!(named(&desk, "dev.crl"), (expected.clone(), last + 1));
    desk.now += 2 * 86_400;
    expected.remove(&serial(&desk, "a.pem"));
    desk.run("crl dev.db dev.bundle dev.key").done();
    assert_eq!(named(&desk, "dev.crl").0, expected);
}

#[test]
fn a_database_restored_from_an_old_copy_forgets_nothing_that_the_list_names() {
    let desk = Desk::with_delegation();
    for label in ["a", "b"] {
        desk.run(&format!("request permissions {label} --permission info")).done();
        desk.run(&format!("sign dev.db dev.bundle dev.key {label}.req")).done();
    }
    let copy = desk.read("dev.db");
    desk.run("revoke dev.db dev.bundle dev.key a").done();
    let (_, number) = named(&desk, "dev.crl");
    desk.write("dev.db", copy);
    let outcome = desk.run("revoke dev.db dev.bundle dev.key b").done();
    assert!(outcome.err.contains("lost records"), "{outcome:?}");
    let (serials, next) = named(&desk, "dev.crl");
    assert_eq!(serials, BTreeSet::from([serial(&desk, "a.pem"), serial(&desk, "b.pem")]));
    assert!(next > number);
}

#[test]
fn a_list_is_for_one_key_and_written_over_by_that_key_alone() {
    let desk = Desk::with_delegation();
    desk.run("request delegation eve 1 1 --cpu 0").done();
    desk.run("sign ca.db cacert.pem ca.key eve.req").done();
    desk.run("crl dev.db dev.bundle dev.key").done();
    let before = desk.read("dev.crl");
    std::fs::create_dir(desk.path("eve")).unwrap();
    desk.run("crl eve/dev.db eve.bundle eve.key").ended(Exit::Failed, "not an older revocation");
    desk.run("crl dev.db eve.bundle eve.key").ended(Exit::Failed, "not an older revocation");
    desk.remove("dev.crl");
    desk.run("crl dev.db eve.bundle eve.key").refused("another issuer key");
    desk.write("dev.crl", &before);
    desk.run("crl dev.crl dev.bundle dev.key").ended(Exit::Failed, "needs it");
    assert_eq!(desk.read("dev.crl"), before);
    assert!(!desk.path("eve/dev.db").exists());
}

#[test]
fn what_cannot_be_written_is_recorded_and_comes_with_the_next_list() {
    let desk = Desk::with_delegation();
    desk.run("request permissions admin --permission info").done();
    desk.run("sign dev.db dev.bundle dev.key admin.req").done();
    // A list is renamed into its place; a directory there lets nothing be renamed onto it.
    std::fs::create_dir(desk.path("dev.crl")).unwrap();
    desk.run("revoke dev.db dev.bundle dev.key admin").ended(Exit::Failed, "dev.crl");
    std::fs::remove_dir(desk.path("dev.crl")).unwrap();
    assert!(Database::list(&desk.path("dev.db")).unwrap().revoked().is_empty(), "seen at once");
    desk.run("revoke dev.db dev.bundle dev.key admin").done();
    assert_eq!(Database::list(&desk.path("dev.db")).unwrap().revoked().len(), 1);
}

#[test]
fn an_unknown_serial_stays_on_the_list_as_long_as_the_issuer() {
    let mut desk = Desk::with_delegation();
    desk.run("revoke dev.db dev.bundle dev.key --serial 00:AB:cd").done();
    desk.now += 300 * 86_400;
    desk.run("crl dev.db dev.bundle dev.key").done();
    let expected = BTreeSet::from(["00abcd".to_owned()]);
    assert_eq!(named(&desk, "dev.crl").0, expected);
}

#[test]
fn a_list_is_followed_by_its_issuers_chain() {
    let desk = Desk::with_delegation();
    desk.run("request delegation alice 1 1 --cpu 0").done();
    desk.run("sign dev.db dev.bundle dev.key alice.req").done();
    desk.run("crl alice.db alice.bundle alice.key").done();
    let chain = pem::read_certificates(&desk.path("alice.crl")).unwrap();
    assert_eq!(chain, pem::read_certificates(&desk.path("alice.bundle")).unwrap());
    assert!(desk.read("alice.crl").starts_with(b"-----BEGIN X509 CRL-----"));
}
