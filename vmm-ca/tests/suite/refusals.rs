//! What is not signed, and what is left untouched.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::desk::Desk;
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, KeyPair};
use vmm_ca::key::{Algorithm, Key};
use vmm_ca::{Exit, pem, profile, request};
use vmm_proto::authority::Validity;
use vmm_proto::grant::Grant;
use vmm_proto::permission::{Permission, Permissions};
use vmm_proto::resource::{Bridges, Delegation};

const DAY: i64 = 86_400;

/// A desk with `dev` and a request for a permission leaf of it.
fn with_request() -> Desk {
    let desk = Desk::with_delegation();
    desk.run("request permissions admin --permission info").done();
    desk
}

fn info() -> Grant {
    Grant::Permissions(Permissions::of([Permission::Info]))
}

/// A foreign request in PEM: subjects and extensions as given.
fn foreign_request(subject: &[&str], extensions: Vec<CustomExtension>) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let types = [DnType::CommonName, DnType::OrganizationName];
    for (name, kind) in subject.iter().zip(types) {
        params.distinguished_name.push(kind, *name);
    }
    params.custom_extensions = extensions;
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

fn extension(arcs: &[u64], content: Vec<u8>) -> CustomExtension {
    CustomExtension::from_oid_content(arcs, content)
}

#[test]
fn an_authority_is_never_written_over() {
    for name in ["ca.key", "cacert.pem", "ca.db", "server.key", "server.pem"] {
        let desk = Desk::new();
        desk.write(name, "precious");
        desk.run("init ca ca.db --server localhost").ended(Exit::Failed, name);
        assert_eq!(desk.files(), [name], "nothing else was written");
        assert_eq!(desk.read(name), b"precious");
    }
}

#[test]
fn private_keys_are_for_their_owner_alone() {
    let desk = with_request();
    for name in ["ca.key", "server.key", "dev.key", "admin.key"] {
        let mode = std::fs::metadata(desk.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_key_of_someone_else_does_not_sign() {
    let desk = with_request();
    desk.run("sign dev.db dev.bundle ca.key admin.req").refused("not that of the issuer");
    desk.run("sign ca.db cacert.pem dev.key admin.req").refused("not that of the issuer");
    assert!(!desk.has("admin.pem") && !desk.has("dev.db"));
}

#[test]
fn a_database_of_another_issuer_is_refused() {
    let desk = with_request();
    desk.run("sign ca.db dev.bundle dev.key admin.req").refused("another issuer key");
    assert!(!desk.has("admin.pem"));
}

#[test]
fn what_the_command_is_given_is_not_written_over() {
    let desk = with_request();
    desk.run("sign admin.pem dev.bundle dev.key admin.req").ended(Exit::Failed, "needs it");
    desk.run("sign admin.bundle dev.bundle dev.key admin.req").ended(Exit::Failed, "needs it");
    assert!(!desk.has("admin.pem") && !desk.has("admin.bundle"));
    // A delegation that gives a share to one of its own name would lose its bundle.
    let before = desk.read("dev.bundle");
    desk.remove("dev.req");
    desk.run("request delegation dev 1 1 --cpu 0 --key dev.key").done();
    desk.run("sign dev.db dev.bundle dev.key dev.req").ended(Exit::Failed, "dev.");
    assert_eq!(desk.read("dev.bundle"), before);
}

#[test]
fn a_leaf_and_a_server_sign_nothing() {
    let desk = with_request();
    desk.run("sign dev.db dev.bundle dev.key admin.req").done();
    desk.run("request permissions eve --permission all").done();
    for (certificate, key) in [("admin.bundle", "admin.key"), ("server.pem", "server.key")] {
        desk.run(&format!("sign x.db {certificate} {key} eve.req"))
            .ended(Exit::Usage, "issues nothing");
    }
    assert!(!desk.has("eve.pem") && !desk.has("x.db"));
}

#[test]
fn an_issuer_that_may_not_be_used_now_signs_nothing() {
    let mut desk = with_request();
    desk.now += 365 * DAY;
    desk.run("sign dev.db dev.bundle dev.key admin.req").done();
    desk.now += 1;
    desk.run("sign dev.db dev.bundle dev.key admin.req").refused("renew it first");
    desk.now -= 400 * DAY;
    desk.run("sign dev.db dev.bundle dev.key admin.req").refused("is valid from");
}

#[test]
fn a_path_is_at_most_six_deep() {
    let desk = Desk::with_authority();
    let mut issuer = ("cacert.pem".to_owned(), "ca.key".to_owned());
    for depth in 1..=7 {
        let label = format!("d{depth}");
        desk.run(&format!("request delegation {label} 1 1 --cpu 0")).done();
        let (certificate, key) = &issuer;
        let outcome = desk.run(&format!("sign {certificate}.db {certificate} {key} {label}.req"));
        if depth == 7 {
            outcome.refused("at most 6 delegations");
            break;
        }
        outcome.done();
        issuer = (format!("{label}.bundle"), format!("{label}.key"));
    }
    desk.run("request permissions admin --permission all").done();
    desk.run("sign d6.db d6.bundle d6.key admin.req").done();
    assert_eq!(pem::read_certificates(&desk.path("admin.bundle")).unwrap().len(), 7);
}

/// `dev/alice` and a request below it.
fn two_deep() -> Desk {
    let desk = Desk::with_delegation();
    desk.run("request delegation alice 1 64 --cpu 0").done();
    desk.run("sign dev.db dev.bundle dev.key alice.req").done();
    desk.run("request permissions admin --permission all").done();
    desk
}

#[test]
fn a_bundle_is_the_whole_chain_in_order() {
    let desk = two_deep();
    let files = |names: &[&str]| -> Vec<u8> { names.iter().flat_map(|n| desk.read(n)).collect() };
    for (bundle, because) in [
        (vec!["alice.pem"], "\"dev\" is missing"),
        (vec!["alice.pem", "alice.pem"], "not issued by"),
        (vec!["alice.pem", "dev.pem", "dev.pem"], "not issued by"),
        (vec!["alice.pem", "cacert.pem"], "is missing"),
    ] {
        desk.write("x.bundle", files(&bundle));
        desk.run("sign alice.db x.bundle alice.key admin.req").refused(because);
    }
    desk.write("x.bundle", files(&["dev.pem", "alice.pem"]));
    desk.run("sign alice.db x.bundle alice.key admin.req").refused("not that of the issuer");
    assert!(!desk.has("admin.pem"));
    // The root may stand at the end; it is left out of what is written.
    desk.write("x.bundle", files(&["alice.pem", "dev.pem", "cacert.pem"]));
    desk.run("sign alice.db x.bundle alice.key admin.req").done();
    assert_eq!(pem::read_certificates(&desk.path("admin.bundle")).unwrap().len(), 3);
}

#[test]
fn a_chain_whose_top_is_larger_below_is_refused() {
    // Made by hand, as `sign` would not: alice has more than dev.
    let desk = Desk::with_delegation();
    let validity = Validity { not_before: desk.now, not_after: desk.now + DAY };
    let certificates = pem::read_certificates(&desk.path("dev.bundle")).unwrap();
    let dev = Key::from_der(&pem::read_key(&desk.path("dev.key")).unwrap()).unwrap();
    let pair = KeyPair::try_from(dev.to_pkcs8().secret_pkcs8_der()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&certificates[0], pair).unwrap();
    let alice = KeyPair::generate().unwrap();
    let label = "alice".parse().unwrap();
    let params = profile::granted(&label, &Grant::Delegation(share(5)), validity).unwrap();
    let made = params.signed_by(&alice, &issuer).unwrap();
    desk.write("alice.bundle", [made.pem().into_bytes(), desk.read("dev.pem")].concat());
    desk.write("alice.key", alice.serialize_pem());
    desk.run("request permissions admin --permission all").done();
    desk.run("sign alice.db alice.bundle alice.key admin.req").refused("machines 5 is more than");
}

#[test]
fn an_issuer_with_a_path_length_keeps_to_it() {
    // Made by hand, as `sign` would not: a delegation that may not delegate.
    let desk = Desk::with_authority();
    let validity = Validity { not_before: desk.now, not_after: desk.now + DAY };
    let root = pem::read_certificates(&desk.path("cacert.pem")).unwrap();
    let ca = Key::from_der(&pem::read_key(&desk.path("ca.key")).unwrap()).unwrap();
    let pair = KeyPair::try_from(ca.to_pkcs8().secret_pkcs8_der()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&root[0], pair).unwrap();
    let short = KeyPair::generate().unwrap();
    let label = "short".parse().unwrap();
    let mut params = profile::granted(&label, &Grant::Delegation(share(5)), validity).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    desk.write("short.bundle", params.signed_by(&short, &issuer).unwrap().pem());
    desk.write("short.key", short.serialize_pem());
    desk.run("request delegation dev 1 1 --cpu 0").done();
    desk.run("sign short.db short.bundle short.key dev.req").refused("path length");
    desk.run("request permissions admin --permission all").done();
    desk.run("sign short.db short.bundle short.key admin.req").done();
}

/// A share of so many machines, of 1 MiB and CPU 0.
fn share(machines: u16) -> Delegation {
    Delegation {
        generation: 1,
        machines,
        memory_mib: 1,
        cpus: [0].into_iter().collect(),
        storage_mib: 0,
        bridges: Bridges::default(),
        hosts: None,
    }
}

#[test]
fn a_request_is_signed_by_its_own_key() {
    let desk = with_request();
    let mut der = pem::request(&desk.read("admin.req")).unwrap();
    let last = der.len() - 1;
    der[last] ^= 1;
    desk.write("admin.req", pem::encode("CERTIFICATE REQUEST", &der));
    desk.run("sign dev.db dev.bundle dev.key admin.req").refused("not signed by its own key");
    assert!(!desk.has("dev.db"));
}

#[test]
fn foreign_requests_are_held_to_the_profile() {
    let desk = Desk::with_delegation();
    let arcs = profile::GRANT_ARCS;
    let good = || extension(&arcs, info().to_der());
    for (request, exit, because) in [
        (foreign_request(&["admin"], vec![]), Exit::Usage, "carries no grant"),
        (foreign_request(&["admin"], vec![good(), good()]), Exit::Usage, "more than one grant"),
        (foreign_request(&["Admin"], vec![good()]), Exit::Refused, "is not a label"),
        (foreign_request(&["../../x"], vec![good()]), Exit::Refused, "is not a label"),
        (foreign_request(&["ca root"], vec![good()]), Exit::Refused, "is not a label"),
        (foreign_request(&["a", "b"], vec![good()]), Exit::Usage, "exactly one commonName"),
        (foreign_request(&[], vec![good()]), Exit::Usage, "exactly one commonName"),
        (
            foreign_request(
                &["admin"],
                vec![extension(&arcs, [info().to_der(), vec![0]].concat())],
            ),
            Exit::Usage,
            "the grant",
        ),
        (
            foreign_request(
                &["admin"],
                vec![extension(&[arcs[0], arcs[1], arcs[2], 2], vec![5, 0])],
            ),
            Exit::Usage,
            "another version",
        ),
    ] {
        desk.write("admin.req", request);
        desk.run("sign dev.db dev.bundle dev.key admin.req").ended(exit, because);
    }
    // Anything else that is asked for is left out, and that is said.
    let other = extension(&[1, 2, 3], vec![5, 0]);
    desk.write("admin.req", foreign_request(&["admin"], vec![other, good()]));
    let outcome = desk.run("sign dev.db dev.bundle dev.key admin.req").done();
    assert!(outcome.err.contains("1.2.3"), "{outcome:?}");
}

#[test]
fn the_signer_sets_the_generation() {
    let desk = Desk::with_authority();
    let share = Delegation {
        generation: u64::MAX >> 1,
        machines: 1,
        memory_mib: 1,
        cpus: [0].into_iter().collect(),
        storage_mib: 0,
        bridges: Bridges::default(),
        hosts: None,
    };
    let key = Key::generate(Algorithm::Ed25519).unwrap();
    let label = "dev".parse().unwrap();
    let der = request::Request::build(&label, &Grant::Delegation(share), &key).unwrap();
    desk.write("dev.req", pem::encode("CERTIFICATE REQUEST", &der));
    let mut last = 0;
    for expected in [desk.now, desk.now + 1] {
        desk.run("sign ca.db cacert.pem ca.key dev.req --renew").done();
        let json = desk.run("inspect dev.pem --format json").done().out;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        last = json[0]["items"][0]["grant"]["delegation"]["generation"].as_i64().unwrap();
        assert_eq!(last, expected);
    }
    assert!(last > 0);
}

#[test]
fn an_embedded_image_must_leave_room_for_the_chain() {
    let desk = Desk::with_delegation();
    let mut noise = vec![0; vmm_ca::image::MAX_EMBEDDED + 1];
    aws_lc_rs::rand::fill(&mut noise).unwrap();
    desk.write("large.spt", &noise);
    desk.run("request machine large large.spt 1 --cpu 0 --embed")
        .ended(Exit::Usage, "by digest (without --embed)");
    assert!(!desk.has("large.key") && !desk.has("large.req"));
    desk.write("small.spt", &noise[1..]);
    desk.run("request machine small small.spt 1 --cpu 0 --embed").done();
    desk.run("sign dev.db dev.bundle dev.key small.req").done();
    // Named by digest, both are fine.
    desk.run("request machine large large.spt 1 --cpu 0").done();
    desk.run("sign dev.db dev.bundle dev.key large.req").done();
}

#[test]
fn a_host_is_named_by_a_servers_certificate() {
    let desk = Desk::with_delegation();
    desk.run("request delegation a 1 1 --cpu 0 --host dev.pem")
        .ended(Exit::Usage, "where a server's is taken");
    desk.run("request delegation a 1 1 --cpu 0 --host server.pem --host server.pem")
        .ended(Exit::Usage, "different keys");
    assert!(!desk.has("a.key") && !desk.has("a.req"));
}

/// `dev` names a server, `alice` below it none and so inherits it, and `bob` below her asks for
/// another one.
#[test]
fn hosts_that_a_delegation_does_not_name_are_those_above_it() {
    let desk = Desk::with_authority();
    let other = Desk::with_authority();
    desk.write("other.pem", other.read("server.pem"));
    desk.run("request delegation dev 1 1 --cpu 0 --host server.pem").done();
    desk.run("sign ca.db cacert.pem ca.key dev.req").done();
    desk.run("request delegation alice 1 1 --cpu 0").done();
    desk.run("sign dev.db dev.bundle dev.key alice.req").done();
    desk.run("request delegation bob 1 1 --cpu 0 --host other.pem").done();
    desk.run("sign alice.db alice.bundle alice.key bob.req").refused("host key");
    desk.remove("bob.req");
    desk.run("request delegation bob 1 1 --cpu 0 --host server.pem --key bob.key").done();
    desk.run("sign alice.db alice.bundle alice.key bob.req").done();
}

#[test]
fn a_valid_certificate_is_not_given_a_second_one_unasked() {
    let desk = with_request();
    let sign = "sign dev.db dev.bundle dev.key admin.req";
    desk.run(sign).done();
    let (first, database) = (desk.read("admin.pem"), desk.read("dev.db"));
    desk.run(sign).refused("--renew");
    assert_eq!((desk.read("admin.pem"), desk.read("dev.db")), (first.clone(), database));
    desk.run(&format!("{sign} --renew")).done();
    assert_ne!(desk.read("admin.pem"), first);
    // Of another kind it is another thing.
    desk.remove("admin.req");
    desk.write("image", "an image");
    desk.run("request machine admin image 1 --cpu 0 --key admin.key").done();
    desk.remove("admin.pem");
    desk.remove("admin.bundle");
    desk.run(sign).done();
    desk.run("revoke dev.db dev.bundle dev.key admin").done();
    desk.run(sign).done();
}

#[test]
fn whoever_answers_no_leaves_no_trace() {
    let desk = with_request();
    for answer in ["no\n", "\n", "", "yesterday\n"] {
        desk.run_with("sign dev.db dev.bundle dev.key admin.req", Some(answer))
            .ended(Exit::Failed, "the answer was no");
        assert!(!desk.has("dev.db") && !desk.has("admin.pem") && !desk.has("admin.bundle"));
    }
    desk.run_with("sign dev.db dev.bundle dev.key admin.req", Some("Y\n")).done();
}

#[test]
fn a_certificate_of_a_torn_database_is_signed_with_a_warning() {
    let desk = with_request();
    desk.run("sign dev.db dev.bundle dev.key admin.req").done();
    let mut bytes = desk.read("dev.db");
    bytes.extend(b"{\"issued\":{\"ser");
    desk.write("dev.db", bytes);
    let listed = desk.run("list dev.db").done();
    assert!(listed.err.contains("middle of a line"), "{listed:?}");
    let signed = desk.run("sign dev.db dev.bundle dev.key admin.req --renew").done();
    assert!(signed.err.contains("middle of a line"), "{signed:?}");
    assert!(desk.run("list dev.db").done().err.is_empty());
}

/// The shell's file size limit stands in for a full disk.
#[test]
fn a_full_disk_leaves_the_database_as_it_was_and_hands_out_nothing() {
    let desk = Desk::in_the_present();
    desk.run("request permissions admin --permission info").done();
    while desk.read("ca.db").len() <= 2048 {
        desk.run("sign ca.db cacert.pem ca.key admin.req --renew").done();
    }
    let before = desk.read("ca.db");
    for name in ["admin.pem", "admin.bundle"] {
        desk.remove(name);
    }
    let binary = env!("CARGO_BIN_EXE_vmm-ca");
    // A block has 512 or 1024 bytes, as the shell likes; the file is beyond either limit.
    let script = format!(
        "trap '' XFSZ; ulimit -f 1; exec {binary} sign ca.db cacert.pem ca.key admin.req --renew --yes"
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(desk.path(""))
        .output()
        .expect("there is a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("cannot write ca.db"), "{said}");
    assert_eq!(desk.read("ca.db"), before);
    assert!(!desk.has("admin.pem") && !desk.has("admin.bundle"));
}
