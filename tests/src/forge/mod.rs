//! A forge for certificates and chains, right ones and wrong ones.
//!
//! It is written from the certificate profile alone and shares no code with the suite: its own
//! writer of DER ([`der`]), its own grants ([`grant`]), its own certificates ([`certificate`]) and
//! revocation lists ([`crl`]). So what the suite accepts of it was understood twice, and each field
//! can be broken by itself.
//!
//! ```
//! use vmm_tests::forge::{Forge, grant};
//!
//! let root = Forge::root("ca root");
//! let chain = root
//!     .clone()
//!     .delegation("dev", |c| c.fields().number("memory", 512))
//!     .permissions("alice", &[0], |_| {})
//!     .sign();
//! assert_eq!(chain.chain_der().len(), 2); // leaf first, without the root
//! let server = root.server("host", &["localhost"], &[&[127, 0, 0, 1]], |_| {}).sign();
//! assert_eq!(server.root_der(), chain.root_der());
//! ```
//!
//! Default keys are Ed25519 and follow from the names above them, so the same chain is forged to
//! the same bytes each time. ECDSA signatures are random: sign such a chain once.

pub mod certificate;
pub mod crl;
pub mod der;
pub mod extensions;
pub mod grant;
pub mod key;
pub mod names;
pub mod signing;
pub mod times;

use certificate::Draft;
use grant::Grant;
use key::Key;

/// A chain before it is signed, the root first.
#[derive(Debug, Clone)]
pub struct Forge {
    /// The drafts: the root, the delegations from the outermost on, and the leaf or server.
    pub drafts: Vec<Draft>,
    /// The names of the drafts, from which the keys follow.
    names: String,
}

impl Forge {
    /// A root of that common name.
    pub fn root(name: &str) -> Self {
        Self { drafts: vec![Draft::root(name)], names: name.to_owned() }
    }

    fn push(
        mut self,
        label: &str,
        make: impl FnOnce(&str) -> Draft,
        change: impl FnOnce(&mut Draft),
    ) -> Self {
        self.names = format!("{}/{label}", self.names);
        let mut draft = make(&self.names);
        change(&mut draft);
        self.drafts.push(draft);
        self
    }

    /// A delegation ([`grant::delegation`]) below the last certificate.
    #[must_use]
    pub fn delegation(self, label: &str, change: impl FnOnce(&mut Draft)) -> Self {
        let grant = Grant::Delegation(grant::delegation());
        self.push(label, |key| Draft::delegation(label, key, grant), change)
    }

    /// A leaf with the permissions of these bits.
    #[must_use]
    pub fn permissions(self, label: &str, bits: &[usize], change: impl FnOnce(&mut Draft)) -> Self {
        let grant = Grant::Permissions(der::bits(bits));
        self.push(label, |key| Draft::leaf(label, key, grant), change)
    }

    /// A leaf that is a machine ([`grant::machine`]).
    #[must_use]
    pub fn machine(self, label: &str, change: impl FnOnce(&mut Draft)) -> Self {
        let grant = Grant::Machine(grant::machine());
        self.push(label, |key| Draft::leaf(label, key, grant), change)
    }

    /// A server with these names.
    #[must_use]
    pub fn server(
        self,
        label: &str,
        dns: &[&str],
        addresses: &[&[u8]],
        change: impl FnOnce(&mut Draft),
    ) -> Self {
        let names = extensions::alternative_names(dns, addresses);
        self.push(label, |key| Draft::server(label, key, names), change)
    }

    /// The last draft: the leaf or server, when there is one.
    pub fn last(&mut self) -> &mut Draft {
        self.drafts.last_mut().expect("a forge begins with a root")
    }

    /// Signs each by the one above it.
    pub fn sign(&self) -> Forged {
        let sign =
            |(index, draft): (usize, &Draft)| draft.sign(&self.drafts[index.saturating_sub(1)]);
        let certificates = self.drafts.iter().enumerate().map(sign).collect();
        let key = self.drafts.last().expect("a forge begins with a root").key.clone();
        Forged { certificates, key }
    }
}

/// A signed chain, with the private key of its last certificate.
#[derive(Debug, Clone)]
pub struct Forged {
    /// In DER, the root first.
    pub certificates: Vec<Vec<u8>>,
    /// The key of the last one.
    pub key: Key,
}

impl Forged {
    /// The root.
    pub fn root_der(&self) -> &[u8] {
        &self.certificates[0]
    }

    /// What is presented: leaf first, each issuer after it, the root left out.
    pub fn chain_der(&self) -> Vec<Vec<u8>> {
        self.certificates.iter().skip(1).rev().cloned().collect()
    }

    /// The private key of the leaf or server, as PKCS#8 version 1.
    pub fn key_pkcs8(&self) -> Vec<u8> {
        self.key.pkcs8()
    }

    /// [`Forged::root_der`] as PEM.
    pub fn root_pem(&self) -> String {
        der::pem("CERTIFICATE", self.root_der())
    }

    /// [`Forged::chain_der`] as PEM.
    pub fn chain_pem(&self) -> String {
        self.chain_der().iter().map(|certificate| der::pem("CERTIFICATE", certificate)).collect()
    }

    /// [`Forged::key_pkcs8`] as PEM.
    pub fn key_pem(&self) -> String {
        der::pem("PRIVATE KEY", &self.key_pkcs8())
    }
}
