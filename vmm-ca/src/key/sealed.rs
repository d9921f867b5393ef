//! Private keys under a passphrase: PKCS#8 `EncryptedPrivateKeyInfo` (RFC 5958, 3) by PBES2 (RFC
//! 8018).
//!
//! Written with PBKDF2 (HMAC-SHA-256) and AES-256-CBC, which openssl and others read. What others
//! wrote may also use scrypt, or AES with shorter keys.

use pkcs8::der::asn1::OctetString;
use pkcs8::der::{Decode as _, Encode as _};
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{Kdf, Parameters};
use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};

use crate::{Error, Refusal};

/// Rounds of PBKDF2 with SHA-256: what OWASP recommended in 2023.
const ROUNDS: u32 = 600_000;

/// More rounds are not computed: a file that asks for them would take minutes.
const MAX_ROUNDS: u32 = 20_000_000;

/// More memory for scrypt is not taken, in bytes: 1 GiB.
const MAX_MEMORY: u64 = 1 << 30;

/// The shortest passphrase that is taken for a new key, in characters.
pub const MIN_PASSPHRASE: usize = 8;

/// Encrypts a PKCS#8 key; returns it in DER.
///
/// # Errors
/// [`Error::Crypto`]
pub fn seal(pkcs8: &[u8], passphrase: &str) -> Result<Vec<u8>, Error> {
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    aws_lc_rs::rand::fill(&mut salt)?;
    aws_lc_rs::rand::fill(&mut iv)?;
    let sealed = || {
        let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS, &salt, iv)?;
        let encrypted_data = OctetString::new(parameters.encrypt(passphrase, pkcs8)?)?;
        let encryption_algorithm = EncryptionScheme::from(parameters);
        let sealed = EncryptedPrivateKeyInfo { encryption_algorithm, encrypted_data };
        Ok::<_, pkcs8::Error>(sealed.to_der()?)
    };
    sealed().map_err(|error| Error::Crypto(error.to_string()))
}

/// Decrypts what [`seal`] or another program made.
///
/// # Errors
/// [`Error::Malformed`] for what is none, or asks for too much; [`Refusal::Passphrase`].
pub fn open(der: &[u8], passphrase: &str) -> Result<SecretDocument, Error> {
    let sealed = EncryptedPrivateKeyInfo::<OctetString>::from_der(der).map_err(|error| {
        Error::Malformed(format!("not an encrypted private key that can be read here: {error}"))
    })?;
    check_cost(&sealed.encryption_algorithm)?;
    // A wrong passphrase shows itself by bad padding, or rarely by noise that is no key.
    sealed.decrypt(passphrase).map_err(|_| Refusal::Passphrase.into())
}

fn check_cost(scheme: &EncryptionScheme) -> Result<(), Error> {
    let affordable = match scheme {
        EncryptionScheme::Pbes2(Parameters { kdf: Kdf::Pbkdf2(params), .. }) => {
            params.iteration_count <= MAX_ROUNDS
        }
        EncryptionScheme::Pbes2(Parameters { kdf: Kdf::Scrypt(params), .. }) => {
            let block = 128 * u64::from(params.block_size);
            let memory = params.cost_parameter.checked_mul(block);
            memory.is_some_and(|memory| memory <= MAX_MEMORY) && params.parallelization <= 16
        }
        _ => return Err(Error::Malformed("the key is not encrypted by PBES2".to_owned())),
    };
    if affordable {
        return Ok(());
    }
    Err(Error::Malformed(
        "opening this key would take too much time or memory: encrypt it anew (openssl pkcs8 -topk8)"
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Algorithm, Key};

    #[test]
    fn what_was_sealed_opens_with_its_passphrase_alone() {
        let key = Key::generate(Algorithm::Ed25519).unwrap();
        let sealed = seal(key.to_pkcs8().secret_pkcs8_der(), "correct horse").unwrap();
        let opened = open(&sealed, "correct horse").unwrap();
        assert_eq!(opened.as_bytes(), key.to_pkcs8().secret_pkcs8_der());
        for wrong in ["", "correct horsf", "correct horse "] {
            let error = open(&sealed, wrong).unwrap_err();
            assert!(matches!(error, Error::Refused(Refusal::Passphrase)), "{error}");
        }
        assert_ne!(seal(key.to_pkcs8().secret_pkcs8_der(), "correct horse").unwrap(), sealed);
    }

    #[test]
    fn a_file_that_asks_for_too_much_is_refused_at_once() {
        let parameters =
            Parameters::generate_pbkdf2_sha256_aes256cbc(MAX_ROUNDS + 1, &[1; 16], [2; 16])
                .unwrap();
        let sealed = EncryptedPrivateKeyInfo {
            encryption_algorithm: EncryptionScheme::from(parameters),
            encrypted_data: OctetString::new([0; 16]).unwrap(),
        };
        let error = open(&sealed.to_der().unwrap(), "x").unwrap_err();
        assert!(error.to_string().contains("too much"), "{error}");
        assert!(matches!(open(b"noise", "x"), Err(Error::Malformed(_))));
    }
}
