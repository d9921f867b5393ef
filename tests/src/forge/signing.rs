//! How certificates and revocation lists are signed, rightly or wrongly.

use super::der;
use super::key::{Key, bit_string};

/// A change to finished bytes.
pub type Edit = fn(&mut Vec<u8>);

/// How something is signed: each step of it can be anything. The default is what is right.
#[derive(Debug, Clone, Default)]
pub struct Signing {
    /// The AlgorithmIdentifier that is signed; `None`: that of the signer.
    pub inner_algorithm: Option<Vec<u8>>,
    /// The AlgorithmIdentifier beside the signature; `None`: that of the signer.
    pub outer_algorithm: Option<Vec<u8>>,
    /// `None`: the issuer's key, for a root its own.
    pub signer: Option<Key>,
    /// A change to the contents of what is signed before they are.
    pub edit_signed: Option<Edit>,
    /// A change to the signature.
    pub edit_signature: Option<Edit>,
    /// A change to the finished certificate or list.
    pub edit: Option<Edit>,
}

impl Signing {
    /// Whatever signs, both AlgorithmIdentifiers are of these elements.
    pub fn claim(&mut self, algorithm: &[Vec<u8>]) {
        self.inner_algorithm = Some(der::sequence(algorithm));
        self.outer_algorithm = Some(der::sequence(algorithm));
    }

    /// The AlgorithmIdentifier that is to stand among the signed fields.
    pub(super) fn inner(&self, issuer: &Key) -> Vec<u8> {
        self.inner_algorithm.clone().unwrap_or_else(|| self.signer(issuer).algorithm())
    }

    /// The certificate or list of these contents: what is signed, the algorithm, the signature.
    pub fn sign(&self, mut contents: Vec<u8>, issuer: &Key) -> Vec<u8> {
        let key = self.signer(issuer);
        let algorithm = self.outer_algorithm.clone().unwrap_or_else(|| key.algorithm());
        edited(self.edit_signed, &mut contents);
        let signed = der::tlv(der::SEQUENCE, &contents);
        let mut signature = key.sign(&signed);
        edited(self.edit_signature, &mut signature);
        let mut whole = der::sequence(&[signed, algorithm, bit_string(&signature)]);
        edited(self.edit, &mut whole);
        whole
    }

    fn signer<'k>(&'k self, issuer: &'k Key) -> &'k Key {
        self.signer.as_ref().unwrap_or(issuer)
    }
}

fn edited(edit: Option<Edit>, bytes: &mut Vec<u8>) {
    if let Some(edit) = edit {
        edit(bytes);
    }
}
