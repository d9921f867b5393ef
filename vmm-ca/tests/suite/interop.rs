//! Other programs read what is made here, and what they make is read here: openssl, and Python's
//! cryptography.
//!
//! Where such a program is missing, its tests say SKIPPED on standard error, or fail when `CI=true`.

use crate::desk::Desk;
use crate::others::{has_openssl, has_python, openssl, openssl_likes, python_likes};
use vmm_ca::Exit;
use vmm_proto::grant::Grant;
use vmm_proto::permission::{Permission, Permissions};

const ALGORITHMS: [&str; 3] = ["ed25519", "p256", "p384"];

/// An authority, `dev`, `dev/alice` and leaves of it, all with keys of one kind.
fn tree(algorithm: &str) -> Desk {
    let desk = Desk::new_in_the_present();
    let run = |line: &str| desk.run(line).done();
    run(&format!("init ca ca.db --server localhost --server 127.0.0.1 --algorithm {algorithm}"));
    let ask = |what: &str| run(&format!("request {what} --algorithm {algorithm}"));
    ask(
        "delegation dev 2 64 --cpu 0,1 --bridge ext/10.0.0.2/10.0.0.5/10.0.0.1/24 --host server.pem",
    );
    ask("delegation alice 1 32 --cpu 1");
    ask("permissions admin --permission all");
    desk.write("hello.spt", "the image");
    ask("machine hello hello.spt 16 --cpu 1");
    run("sign ca.db cacert.pem ca.key dev.req");
    run("sign dev.db dev.bundle dev.key alice.req");
    run("sign alice.db alice.bundle alice.key admin.req");
    run("sign alice.db alice.bundle alice.key hello.req");
    desk
}

#[test]
fn openssl_reads_keys_requests_and_certificates() {
    if !has_openssl() {
        return;
    }
    for algorithm in ALGORITHMS {
        let desk = tree(algorithm);
        for name in ["ca", "server", "dev", "alice", "admin", "hello"] {
            openssl_likes(&desk, &format!("pkey -in {name}.key -noout -check"));
        }
        for name in ["dev", "alice", "admin", "hello"] {
            let said = openssl_likes(&desk, &format!("req -in {name}.req -noout -verify -text"));
            assert!(said.contains("2.25.2342026648582221423.1"), "{said}");
        }
        for name in ["cacert", "server", "dev", "alice", "admin", "hello"] {
            openssl_likes(&desk, &format!("x509 -in {name}.pem -noout -text"));
        }
    }
}

#[test]
fn openssl_verifies_chains_for_their_purpose_and_no_other() {
    if !has_openssl() {
        return;
    }
    for algorithm in ALGORITHMS {
        let desk = tree(algorithm);
        let verify = "verify -x509_strict -CAfile cacert.pem -purpose";
        openssl_likes(&desk, &format!("{verify} sslserver server.pem"));
        for leaf in ["admin", "hello"] {
            openssl_likes(&desk, &format!("{verify} sslclient -untrusted alice.bundle {leaf}.pem"));
            let wrong = format!("{verify} sslserver -untrusted alice.bundle {leaf}.pem");
            assert!(!openssl(&desk, &wrong).status.success(), "a leaf is no server");
        }
        assert!(!openssl(&desk, &format!("{verify} sslclient server.pem")).status.success());
        let incomplete = format!("{verify} sslclient -untrusted dev.pem admin.pem");
        assert!(!openssl(&desk, &incomplete).status.success(), "alice is missing");
    }
}

/// What `openssl` needs to ask for these permissions: the extension in hexadecimal.
fn robot(permissions: &[Permission]) -> String {
    let der = Grant::Permissions(Permissions::of(permissions.iter().copied())).to_der();
    let hex: Vec<String> = der.iter().map(|octet| format!("{octet:02x}")).collect();
    format!(
        "[req]\nprompt=no\ndistinguished_name=dn\nreq_extensions=ext\n[dn]\nCN=robot\n\
         [ext]\n2.25.2342026648582221423.1=DER:{}\n",
        hex.join(":")
    )
}

/// The profile alone is enough to make a request.
#[test]
fn a_request_that_openssl_made_is_signed() {
    if !has_openssl() {
        return;
    }
    let desk = Desk::in_the_present();
    desk.write("robot.cnf", robot(&[Permission::Info, Permission::Log]));
    for kind in
        ["ED25519", "EC -pkeyopt ec_paramgen_curve:P-256", "EC -pkeyopt ec_paramgen_curve:P-384"]
    {
        openssl_likes(&desk, &format!("genpkey -algorithm {kind} -out robot.key"));
        openssl_likes(&desk, "req -new -key robot.key -config robot.cnf -out robot.req");
        desk.run("sign ca.db cacert.pem ca.key robot.req --renew").done();
        openssl_likes(&desk, "verify -x509_strict -CAfile cacert.pem -purpose sslclient robot.pem");
        let said = desk.run("inspect robot.pem").done().out;
        assert!(said.contains("info, log"), "{said}");
    }
}

#[test]
fn a_request_for_an_rsa_key_is_refused() {
    if !has_openssl() {
        return;
    }
    let desk = Desk::in_the_present();
    desk.write("robot.cnf", robot(&[Permission::Info]));
    openssl_likes(&desk, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out robot.key");
    openssl_likes(&desk, "req -new -key robot.key -config robot.cnf -out robot.req");
    desk.run("sign ca.db cacert.pem ca.key robot.req").ended(Exit::Usage, "Ed25519, ECDSA P-256");
    desk.run("request permissions other --permission info --key robot.key")
        .ended(Exit::Usage, "Ed25519, ECDSA P-256");
}

/// Keys that others made are used: PKCS#8, and the older form of elliptic curve keys (SEC 1).
#[test]
fn a_key_that_openssl_made_is_used() {
    if !has_openssl() {
        return;
    }
    let desk = Desk::in_the_present();
    for (name, make) in [
        ("a", "genpkey -algorithm ED25519 -out a.key"),
        ("b", "ecparam -name prime256v1 -genkey -noout -out b.key"),
        ("c", "ecparam -name secp384r1 -genkey -noout -out c.key"),
    ] {
        openssl_likes(&desk, make);
        let before = desk.read(&format!("{name}.key"));
        desk.run(&format!("request delegation {name} 1 1 --cpu 0 --key {name}.key")).done();
        desk.run(&format!("sign ca.db cacert.pem ca.key {name}.req")).done();
        assert_eq!(desk.read(&format!("{name}.key")), before);
        desk.run(&format!("request permissions leaf-{name} --permission all")).done();
        desk.run(&format!("sign {name}.db {name}.bundle {name}.key leaf-{name}.req")).done();
        let verify = format!(
            "verify -CAfile cacert.pem -purpose sslclient -untrusted {name}.pem leaf-{name}.pem"
        );
        openssl_likes(&desk, &verify);
    }
}

const READ_ALL: &str = r#"
import datetime, sys
from cryptography import x509
from cryptography.hazmat.primitives import serialization as s
from cryptography.x509.oid import ExtendedKeyUsageOID as EKU, ExtensionOID as E

OID = x509.ObjectIdentifier("2.25.2342026648582221423.1")
cert = {n: x509.load_pem_x509_certificate(open(n + ".pem", "rb").read())
        for n in ["cacert", "server", "dev", "alice", "admin", "hello"]}

def public(key):
    return key.public_bytes(s.Encoding.DER, s.PublicFormat.SubjectPublicKeyInfo)

for below, above in [("cacert", "cacert"), ("server", "cacert"), ("dev", "cacert"),
                     ("alice", "dev"), ("admin", "alice"), ("hello", "alice")]:
    c, issuer = cert[below], cert[above]
    c.verify_directly_issued_by(issuer)
    assert c.version == x509.Version.v3
    assert c.serial_number.bit_length() == 127  # 16 octets, positive
    ext = c.extensions
    if below != above:
        aki = ext.get_extension_for_oid(E.AUTHORITY_KEY_IDENTIFIER).value.key_identifier
        assert aki == issuer.extensions.get_extension_for_oid(E.SUBJECT_KEY_IDENTIFIER).value.digest
    basic = ext.get_extension_for_oid(E.BASIC_CONSTRAINTS)
    usage = ext.get_extension_for_oid(E.KEY_USAGE)
    assert basic.critical and usage.critical
    is_ca = below in ("cacert", "dev", "alice")
    assert basic.value.ca == is_ca
    assert usage.value.key_cert_sign == usage.value.crl_sign == is_ca
    assert usage.value.digital_signature == (not is_ca)
    ekus = [list(e.value) for e in ext if e.oid == E.EXTENDED_KEY_USAGE]
    expected = {"cacert": [], "server": [[EKU.SERVER_AUTH]]}.get(below, [[EKU.CLIENT_AUTH]])
    assert ekus == expected, (below, ekus)
    grants = [e for e in ext if e.oid == OID]
    assert len(grants) == (0 if below in ("cacert", "server") else 1)
    assert all(not e.critical for e in grants)

names = cert["server"].extensions.get_extension_for_oid(E.SUBJECT_ALTERNATIVE_NAME).value
assert names.get_values_for_type(x509.DNSName) == ["localhost"]
assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]

for n in ["ca", "server", "dev", "alice", "admin", "hello"]:
    key = s.load_pem_private_key(open(n + ".key", "rb").read(), None)
    c = cert["cacert" if n == "ca" else n]
    assert public(key.public_key()) == public(c.public_key()), n

for n in ["dev", "alice", "admin", "hello"]:
    r = x509.load_pem_x509_csr(open(n + ".req", "rb").read())
    assert r.is_signature_valid
    assert [e.critical for e in r.extensions if e.oid == OID] == [False]

bundle = x509.load_pem_x509_certificates(open("hello.bundle", "rb").read())
assert bundle == [cert["hello"], cert["alice"], cert["dev"]]
"#;

#[test]
fn python_reads_and_verifies_everything() {
    if !has_python() {
        return;
    }
    for algorithm in ALGORITHMS {
        python_likes(&tree(algorithm), READ_ALL);
    }
}
