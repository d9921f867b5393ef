use proptest::prelude::*;
use vmm_proto::permission::{Permission, Permissions};

use super::*;
use crate::key::{Algorithm, Key};

fn request() -> Vec<u8> {
    let grant = Grant::Permissions(Permissions::of([Permission::Info]));
    let key = Key::generate(Algorithm::Ed25519).unwrap();
    Request::build(&"dev".parse().unwrap(), &grant, &key).unwrap()
}

fn certificate() -> Vec<u8> {
    let key = Key::generate(Algorithm::P384).unwrap();
    let validity = Validity { not_before: 0, not_after: 10 };
    crate::profile::root("ca", validity).unwrap().self_signed(&key).unwrap().der().to_vec()
}

#[test]
fn der_is_as_good_as_pem() {
    for (der, label) in [(request(), "CERTIFICATE REQUEST"), (certificate(), "CERTIFICATE")] {
        let pem = pem::encode(label, &der);
        let text = |bytes: &[u8]| to_text("file", &Contents::of(bytes).unwrap(), 5);
        assert_eq!(text(&der), text(pem.as_bytes()));
    }
}

#[test]
fn a_broken_part_does_not_hide_the_others() {
    let bad = pem::encode("CERTIFICATE", b"no certificate");
    let good = pem::encode("CERTIFICATE", &certificate());
    let contents = Contents::of(format!("{bad}{good}").as_bytes()).unwrap();
    assert!(contents.is_broken());
    let text = to_text("file", &contents, 11);
    assert!(text.contains("a broken certificate: not an X.509 certificate"), "{text}");
    assert!(text.contains("\"ca root\"") && text.contains("(expired)"), "{text}");
    assert!(text.contains("not a chain"), "{text}");
}

#[test]
fn a_certificate_outside_the_profile_is_shown_with_what_is_wrong() {
    let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "two\u{1b}[2J\nlines");
    let key = rcgen::KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    let contents = Contents::of(&der).unwrap();
    let text = to_text("file", &contents, 0);
    assert!(text.contains("not of the profile"), "{text}");
    assert!(text.contains("a.example"), "{text}");
    assert!(!text.contains('\u{1b}'), "nothing of it reaches a terminal as it is: {text}");
    let json = to_json("file", &contents, 0).to_string();
    assert!(json.contains("\"kind\":null") && !json.contains('\u{1b}'), "{json}");
}

#[test]
fn a_request_that_someone_changed_is_broken() {
    let mut der = request();
    let last = der.len() - 1;
    der[last] ^= 1;
    let pem = pem::encode("CERTIFICATE REQUEST", &der);
    let contents = Contents::of(pem.as_bytes()).unwrap();
    assert!(contents.is_broken());
    assert!(to_text("file", &contents, 0).contains("not signed by its own key"));
}

proptest! {
    #[test]
    fn no_change_of_a_good_file_makes_it_panic(
        of_request in any::<bool>(),
        place in any::<prop::sample::Index>(),
        with in prop::collection::vec(any::<u8>(), 0..4),
        gone in 0_usize..4,
    ) {
        let mut der = if of_request { request() } else { certificate() };
        let place = place.index(der.len());
        let end = (place + gone).min(der.len());
        der.splice(place..end, with);
        let label = if of_request { "CERTIFICATE REQUEST" } else { "CERTIFICATE" };
        for bytes in [pem::encode(label, &der).into_bytes(), der] {
            if let Ok(contents) = Contents::of(&bytes) {
                let _ = to_text("file", &contents, 0);
                let _ = to_json("file", &contents, 0);
            }
        }
    }

    #[test]
    fn no_bytes_at_all_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Contents::of(&bytes);
    }
}
