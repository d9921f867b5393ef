//! A root, and what it vouches for, in a directory of its own.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::KeyPair;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use vmm_ca::key::{Algorithm, Key};
use vmm_ca::profile::{self, ServerName};
use vmm_proto::authority::Validity;
use vmm_proto::chain::Root;
use vmm_proto::grant::Grant;
use vmm_proto::name::Label;
use vmm_proto::permission::{Permission, Permissions};
use vmm_proto::resource::{Arguments, Bridges, Delegation, Devices, Image, Machine, Restart};

/// A CA: its signing half, and its certificate with those above it, the root left out.
pub(crate) struct Ca {
    issuer: rcgen::Issuer<'static, KeyPair>,
    chain: Vec<CertificateDer<'static>>,
}

/// A root and a place for files.
pub(crate) struct Authority {
    directory: TempDir,
    root: Ca,
    pub(crate) root_der: CertificateDer<'static>,
}

/// The files of a client.
pub(crate) struct Files {
    pub(crate) bundle: PathBuf,
    pub(crate) key: PathBuf,
}

pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// From an hour ago for another hour.
pub(crate) fn valid() -> Validity {
    Validity { not_before: now() - 3600, not_after: now() + 3600 }
}

fn pair(key: &Key) -> KeyPair {
    KeyPair::from_pem(&key.to_pem()).unwrap()
}

fn new_key() -> Key {
    Key::generate(Algorithm::Ed25519).unwrap()
}

impl Authority {
    /// Makes the root and writes `cacert.pem`.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = pair(&new_key());
        let root = profile::root("ca", valid()).unwrap().self_signed(&key).unwrap();
        let root_der = root.der().clone();
        let issuer = rcgen::Issuer::from_ca_cert_der(&root_der, key).unwrap();
        let new = Self { directory, root: Ca { issuer, chain: Vec::new() }, root_der };
        new.write("cacert.pem", vmm_ca::pem::encode_certificates([&new.root_der]));
        new
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file into the directory.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// The root as a verifier wants it.
    pub(crate) fn root(&self) -> Root {
        Root::from_der(&self.root_der).unwrap()
    }

    /// A server's certificate and key.
    pub(crate) fn server(&self, name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = new_key();
        let names = [ServerName::parse(name).unwrap()];
        let params = profile::server(&names, valid()).unwrap();
        let certificate = params.signed_by(&pair(&key), &self.root.issuer).unwrap();
        (certificate.der().clone(), key.to_pkcs8().into())
    }

    fn granted(
        &self,
        above: Option<&Ca>,
        label: &str,
        grant: &Grant,
        validity: Validity,
    ) -> (Vec<CertificateDer<'static>>, Key) {
        let above = above.unwrap_or(&self.root);
        let key = new_key();
        let label = Label::parse(label).unwrap();
        let params = profile::granted(&label, grant, validity).unwrap();
        let certificate = params.signed_by(&pair(&key), &above.issuer).unwrap();
        let chain = [certificate.der().clone()].into_iter().chain(above.chain.clone()).collect();
        (chain, key)
    }

    fn write_pair(&self, label: &str, chain: &[CertificateDer<'static>], key: &Key) -> Files {
        Files {
            bundle: self.write(&format!("{label}.bundle"), vmm_ca::pem::encode_certificates(chain)),
            key: self.write(&format!("{label}.key"), key.to_pem()),
        }
    }

    /// A leaf below `above` (the root), and its files.
    pub(crate) fn leaf(
        &self,
        above: Option<&Ca>,
        label: &str,
        grant: &Grant,
        validity: Validity,
    ) -> Files {
        let (chain, key) = self.granted(above, label, grant, validity);
        self.write_pair(label, &chain, &key)
    }

    /// A leaf below the root that may do anything.
    pub(crate) fn admin(&self) -> Files {
        self.leaf(None, "admin", &all(), valid())
    }

    /// A delegation below the root, and its files.
    pub(crate) fn delegation(&self, label: &str) -> (Ca, Files) {
        let grant = Grant::Delegation(Delegation {
            generation: 1,
            machines: 2,
            memory_mib: 1024,
            cpus: [1].into_iter().collect(),
            storage_mib: 0,
            bridges: Bridges::default(),
            hosts: None,
        });
        let (chain, key) = self.granted(None, label, &grant, valid());
        let files = self.write_pair(label, &chain, &key);
        let issuer = rcgen::Issuer::from_ca_cert_der(&chain[0], pair(&key)).unwrap();
        (Ca { issuer, chain }, files)
    }
}

/// Every permission.
pub(crate) fn all() -> Grant {
    Grant::Permissions(Permissions::of([Permission::All]))
}

/// A machine that runs the image in `file`.
pub(crate) fn machine(file: &Path) -> Grant {
    let (sha256, size) = vmm_ca::image::digest(file).unwrap();
    Grant::Machine(Machine {
        image: Image::Digest { sha256, size },
        memory_mib: 1,
        cpus: [1].into_iter().collect(),
        devices: Devices::default(),
        arguments: Arguments::default(),
        restart: Restart::Never,
        replace: false,
        priority: 50,
    })
}
