//! Keys that stay in a PKCS#11 token, and sign there.
//!
//! ECDSA is signed over a digest made here (`CKM_ECDSA`), which every token can; Ed25519 over the
//! message (`CKM_EDDSA`), which some can.

use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as TokenError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};
use sha2::{Digest as _, Sha256, Sha384};

use super::Algorithm;
use super::uri::TokenUri;
use crate::{Error, Refusal};

/// id-Ed25519, as it stands in `CKA_EC_PARAMS`: as an object identifier, or by its name (PKCS#11 2.40).
const ED25519: [&[u8]; 2] = [&[6, 3, 0x2b, 0x65, 0x70], b"\x13\x0cedwards25519"];
/// secp256r1 and secp384r1.
const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x22];

/// A token that was found and can be asked for keys.
pub struct Token {
    uri: TokenUri,
    session: Session,
}

/// A private key in a token, with its public half.
pub struct TokenKey {
    session: Session,
    private: ObjectHandle,
    algorithm: Algorithm,
    public: Vec<u8>,
}

impl Token {
    /// Loads the module, finds the one token that `uri` means, and logs in with the PIN.
    ///
    /// # Errors
    /// [`Error::Usage`] when no one token is meant; [`Error::Token`]; [`Refusal::Pin`].
    pub fn open(uri: &TokenUri, module: &Path, pin: &str) -> Result<Self, Error> {
        let failed = |error: TokenError| Error::Token(format!("{uri}: {error}"));
        let context = Pkcs11::new(module)
            .map_err(|error| Error::Token(format!("cannot load {}: {error}", module.display())))?;
        context
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(failed)?;
        let slot = the_slot(&context, uri)?;
        let session = context.open_rw_session(slot).or_else(|_| context.open_ro_session(slot));
        let session = session.map_err(failed)?;
        match session.login(UserType::User, Some(&AuthPin::from(pin))) {
            Ok(()) => Ok(Self { uri: uri.clone(), session }),
            Err(TokenError::Pkcs11(
                RvError::PinIncorrect | RvError::PinLenRange | RvError::PinInvalid,
                _,
            )) => Err(Refusal::Pin.into()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether there is the one key that the URI means.
    ///
    /// # Errors
    /// [`Error::Usage`] when there are several; [`Error::Token`].
    pub fn has_key(&self) -> Result<bool, Error> {
        Ok(self.find(ObjectClass::PRIVATE_KEY)?.is_some())
    }

    /// The one key that the URI means.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is none or several; [`Error::Malformed`] for a kind of key that the
    /// profile does not allow; [`Error::Token`].
    pub fn key(self) -> Result<TokenKey, Error> {
        let private = self
            .find(ObjectClass::PRIVATE_KEY)?
            .ok_or_else(|| Error::Usage(format!("{}: there is no such key", self.uri)))?;
        self.with(private)
    }

    /// Makes a new key by the label in the URI, which never leaves the token.
    ///
    /// # Errors
    /// [`Error::Usage`] when the URI has no label, or there is such a key; [`Error::Token`].
    pub fn generate(self, algorithm: Algorithm) -> Result<TokenKey, Error> {
        let label = self.uri.object.clone().ok_or_else(|| {
            Error::Usage(format!("{}: a new key needs a label (object=NAME)", self.uri))
        })?;
        if self.find(ObjectClass::PRIVATE_KEY)?.is_some() {
            let problem = format!("{}: there is such a key, and it is not replaced", self.uri);
            return Err(Error::Usage(problem));
        }
        let mut id = vec![0; 16];
        aws_lc_rs::rand::fill(&mut id)?;
        let named = [
            Attribute::Token(true),
            Attribute::Label(label.into_bytes()),
            Attribute::Id(self.uri.id.clone().unwrap_or(id)),
        ];
        let (mechanism, curve) = match algorithm {
            Algorithm::Ed25519 => (Mechanism::EccEdwardsKeyPairGen, ED25519[0]),
            Algorithm::P256 => (Mechanism::EccKeyPairGen, P256),
            Algorithm::P384 => (Mechanism::EccKeyPairGen, P384),
        };
        let public =
            [&named[..], &[Attribute::EcParams(curve.to_vec()), Attribute::Verify(true)]].concat();
        let private = [
            &named[..],
            &[
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Sign(true),
            ],
        ]
        .concat();
        let pair = self.session.generate_key_pair(&mechanism, &public, &private);
        let (_, private) = pair.map_err(|error| self.failed(&error))?;
        self.with(private)
    }

    fn with(self, private: ObjectHandle) -> Result<TokenKey, Error> {
        let public = self.public_half(private)?;
        let [parameters, point] =
            self.read(public, [AttributeType::EcParams, AttributeType::EcPoint])?;
        let algorithm = algorithm(&parameters).ok_or_else(|| {
            Error::Malformed("keys must be Ed25519, ECDSA P-256 or P-384".to_owned())
        })?;
        let public = public_key(algorithm, &point)
            .ok_or_else(|| Error::Token(format!("{}: its public key cannot be read", self.uri)))?;
        Ok(TokenKey { session: self.session, private, algorithm, public })
    }

    /// The public key with the same id.
    fn public_half(&self, private: ObjectHandle) -> Result<ObjectHandle, Error> {
        let [id] = self.read(private, [AttributeType::Id])?;
        let template = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(id)];
        let found = self.session.find_objects(&template).map_err(|error| self.failed(&error))?;
        match &found[..] {
            [one] => Ok(*one),
            _ => Err(Error::Usage(format!(
                "{}: beside the private key there must be one public key of the same id in the \
                 token, and there are {}",
                self.uri,
                found.len()
            ))),
        }
    }

    fn find(&self, class: ObjectClass) -> Result<Option<ObjectHandle>, Error> {
        let mut template = vec![Attribute::Class(class)];
        template.extend(self.uri.object.iter().map(|label| Attribute::Label(label.clone().into())));
        template.extend(self.uri.id.iter().map(|id| Attribute::Id(id.clone())));
        let found = self.session.find_objects(&template).map_err(|error| self.failed(&error))?;
        match &found[..] {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            many => Err(Error::Usage(format!(
                "{}: {} keys answer to it: name one by object=LABEL or id=%01%02",
                self.uri,
                many.len()
            ))),
        }
    }

    fn read<const N: usize>(
        &self,
        object: ObjectHandle,
        kinds: [AttributeType; N],
    ) -> Result<[Vec<u8>; N], Error> {
        let found =
            self.session.get_attributes(object, &kinds).map_err(|error| self.failed(&error))?;
        let octets: Vec<Vec<u8>> = found
            .into_iter()
            .filter_map(|attribute| match attribute {
                Attribute::Id(octets)
                | Attribute::EcParams(octets)
                | Attribute::EcPoint(octets) => Some(octets),
                _ => None,
            })
            .collect();
        octets.try_into().map_err(|_| {
            Error::Token(format!("{}: the token does not tell what key it is", self.uri))
        })
    }

    fn failed(&self, error: &TokenError) -> Error {
        Error::Token(format!("{}: {error}", self.uri))
    }
}

/// The one slot whose token is meant.
fn the_slot(context: &Pkcs11, uri: &TokenUri) -> Result<Slot, Error> {
    let failed = |error: TokenError| Error::Token(format!("{uri}: {error}"));
    let mut meant = Vec::new();
    for slot in context.get_slots_with_initialized_token().map_err(failed)? {
        let info = context.get_token_info(slot).map_err(failed)?;
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found.trim_end())
        };
        if is(&uri.token, info.label())
            && is(&uri.serial, info.serial_number())
            && is(&uri.manufacturer, info.manufacturer_id())
            && is(&uri.model, info.model())
            && uri.slot.is_none_or(|wanted| wanted == slot.id())
        {
            meant.push((slot, info.label().trim_end().to_owned()));
        }
    }
    match &meant[..] {
        [(slot, _)] => Ok(*slot),
        [] => Err(Error::Usage(format!("{uri}: there is no such token"))),
        many => {
            let labels: Vec<&str> = many.iter().map(|(_, label)| label.as_str()).collect();
            Err(Error::Usage(format!(
                "{uri}: several tokens answer to it ({}): name one by token=LABEL",
                labels.join(", ")
            )))
        }
    }
}

fn algorithm(parameters: &[u8]) -> Option<Algorithm> {
    match parameters {
        P256 => Some(Algorithm::P256),
        P384 => Some(Algorithm::P384),
        other if ED25519.contains(&other) => Some(Algorithm::Ed25519),
        _ => None,
    }
}

/// The point as a certificate has it. `CKA_EC_POINT` is an OCTET STRING around it, but some tokens
/// leave that out.
fn public_key(algorithm: Algorithm, point: &[u8]) -> Option<Vec<u8>> {
    let length = match algorithm {
        Algorithm::Ed25519 => 32,
        Algorithm::P256 => 65,
        Algorithm::P384 => 97,
    };
    let inner = match point {
        [4, octets, rest @ ..] if usize::from(*octets) == length && rest.len() == length => rest,
        whole if whole.len() == length => whole,
        _ => return None,
    };
    (algorithm == Algorithm::Ed25519 || inner[0] == 4).then(|| inner.to_vec())
}

impl TokenKey {
    /// Which kind of key it is.
    pub const fn kind(&self) -> Algorithm {
        self.algorithm
    }
}

impl PublicKeyData for TokenKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm.of_signatures()
    }
}

impl SigningKey for TokenKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let sign = |mechanism: Mechanism<'_>, data: &[u8]| {
            self.session
                .sign(&mechanism, self.private, data)
                .map_err(|_| rcgen::Error::RemoteKeyError)
        };
        match self.algorithm {
            Algorithm::Ed25519 => {
                sign(Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519)), message)
            }
            Algorithm::P256 => ecdsa(&sign(Mechanism::Ecdsa, &Sha256::digest(message))?),
            Algorithm::P384 => ecdsa(&sign(Mechanism::Ecdsa, &Sha384::digest(message))?),
        }
    }
}

/// `Ecdsa-Sig-Value` (RFC 3279, 2.2.3) of the two halves that a token gives.
fn ecdsa(halves: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
    if halves.is_empty() || !halves.len().is_multiple_of(2) || halves.len() > 96 {
        return Err(rcgen::Error::RemoteKeyError);
    }
    let (r, s) = halves.split_at(halves.len() / 2);
    let contents = [integer(r), integer(s)].concat();
    // At most 2 * (2 + 49) octets: the length has one.
    let length = u8::try_from(contents.len()).map_err(|_| rcgen::Error::RemoteKeyError)?;
    Ok([&[0x30, length][..], &contents].concat())
}

/// A positive INTEGER of fewer than 128 octets in DER.
fn integer(octets: &[u8]) -> Vec<u8> {
    let first = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len() - 1);
    let octets = &octets[first..];
    let zero: &[u8] = if octets[0] & 0x80 == 0 { &[] } else { &[0] };
    #[allow(clippy::cast_possible_truncation, reason = "at most 49 octets, by the caller")]
    let length = (zero.len() + octets.len()) as u8;
    [&[2, length][..], zero, octets].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_halves_of_a_signature_become_integers() {
        assert_eq!(ecdsa(&[1, 0x80]).unwrap(), [0x30, 7, 2, 1, 1, 2, 2, 0, 0x80]);
        assert_eq!(ecdsa(&[0, 5, 0, 0]).unwrap(), [0x30, 6, 2, 1, 5, 2, 1, 0]);
        assert!(ecdsa(&[]).is_err() && ecdsa(&[1, 2, 3]).is_err());
        assert_eq!(ecdsa(&[0xff; 96]).unwrap().len(), 2 + 2 * 51);
    }

    #[test]
    fn a_point_is_read_with_or_without_its_octet_string() {
        let point = [&[4][..], &[7; 64]].concat();
        let wrapped = [&[4, 65][..], &point].concat();
        assert_eq!(public_key(Algorithm::P256, &point), Some(point.clone()));
        assert_eq!(public_key(Algorithm::P256, &wrapped), Some(point));
        assert_eq!(public_key(Algorithm::P256, &[4; 10]), None);
        assert_eq!(public_key(Algorithm::P256, &[2; 65]), None, "a compressed point, or noise");
        assert_eq!(public_key(Algorithm::Ed25519, &[9; 32]), Some(vec![9; 32]));
    }
}
