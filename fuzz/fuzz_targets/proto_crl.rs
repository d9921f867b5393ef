//! Revocation lists: in DER by themselves, with the chain of an issuer, and as a file in PEM.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use vmm_proto::chain::Root;
use vmm_proto::chain::crl::pem::CrlFile;
use vmm_proto::chain::crl::{Crl, CrlError, authorize_crl};
use vmm_proto::revocation::{CrlNumber, Serials};

static KNOWN: LazyLock<(Root, CrlFile)> = LazyLock::new(|| {
    let pem = include_bytes!("../../proto/tests/vectors/crls/root.pem");
    let file = include_bytes!("../../proto/tests/vectors/crls/alice.crl");
    let root = Root::from_der(&CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    (root, CrlFile::parse(file).unwrap())
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(list) = Crl::parse(bytes) {
        assert!(list.this_update() < list.next_update());
        assert_eq!(CrlNumber::from_der(list.number().to_der()), Some(list.number()));
        if let Ok(serials) = Serials::collect::<CrlError>(list.entries()) {
            assert!(list.entries().all(|serial| serials.contains(serial.unwrap())));
        }
    }
    let (root, known) = &*KNOWN;
    let _ = authorize_crl(bytes, &known.chain, root, None, 1_780_272_000);
    let _ = CrlFile::parse(bytes);
});
