//! Certificates in DER, one behind the other: each by itself, then as a chain of a known root.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use vmm_proto::chain::certificate::Certificate;
use vmm_proto::chain::{Root, authorize, verify_server_path};

static ROOT: LazyLock<Root> = LazyLock::new(|| {
    let pem = include_bytes!("../../proto/tests/vectors/crls/root.pem");
    Root::from_der(&CertificateDer::from_pem_slice(pem).unwrap()).unwrap()
});

fuzz_target!(|bytes: &[u8]| {
    let (mut list, mut rest) = (Vec::new(), bytes);
    while let [0x30, 0x82, high, low, ..] = *rest {
        let end = (4 + usize::from(u16::from_be_bytes([high, low]))).min(rest.len());
        list.push(CertificateDer::from(&rest[..end]));
        rest = &rest[end..];
    }
    list.push(rest.into());
    for certificate in &list {
        let _ = Certificate::parse(certificate);
        let _ = Root::from_der(certificate);
    }
    list.pop_if(|last| last.is_empty());
    let _ = authorize(&list, &ROOT, None, 1_780_272_000);
    let _ = verify_server_path(&list, &ROOT, 1_780_272_000);
});
