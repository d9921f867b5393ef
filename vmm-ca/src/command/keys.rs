//! Where keys come from: a file, plain or under a passphrase, or a token.

use std::path::{Path, PathBuf};

use clap::Args;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::World;
use crate::key::token::Token;
use crate::key::uri::{SCHEME, TokenUri};
use crate::key::{Algorithm, Key, Signer, sealed};
use crate::{Error, file, pem};

/// The longest passphrase or PIN in bytes.
const MAX_SECRET: u64 = 1024;

/// How a key is opened that is not plain.
#[derive(Debug, Args)]
pub(super) struct Opening {
    /// A file whose first line is the passphrase of the key, or the PIN of its token (default: ask)
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The PKCS#11 library of a key that is named as pkcs11:… (default: module-path in there)
    #[arg(long, value_name = "FILE")]
    pkcs11_module: Option<PathBuf>,
}

impl Opening {
    /// The key of a file, or of a token when it is named by a URI (RFC 7512).
    pub(super) fn load(&self, key: &Path, world: &mut World<'_>) -> Result<Signer, Error> {
        match as_uri(key)? {
            Some(uri) => {
                let key = self.token(&uri, world)?.key()?;
                Ok(Signer::Token(Box::new(key)))
            }
            None => self.read(&world.path(key), world).map(Signer::Key),
        }
    }

    /// The key that the URI means; one that is not there is made in the token.
    pub(super) fn load_or_generate(
        &self,
        uri: &TokenUri,
        algorithm: Algorithm,
        world: &mut World<'_>,
    ) -> Result<Signer, Error> {
        let token = self.token(uri, world)?;
        let key = if token.has_key()? { token.key()? } else { token.generate(algorithm)? };
        Ok(Signer::Token(Box::new(key)))
    }

    fn read(&self, path: &Path, world: &mut World<'_>) -> Result<Key, Error> {
        let text = Zeroizing::new(file::read(path, pem::MAX_FILE)?);
        let in_file = |error: Error| error.in_file(path);
        let Some(sealed) = pem::sealed_key(&text).map_err(in_file)? else {
            return pem::key(&text).and_then(|key| Key::from_der(&key)).map_err(in_file);
        };
        let passphrase = self.secret(&format!("Passphrase of {}", path.display()), world)?;
        let opened = sealed::open(&sealed, &passphrase).map_err(in_file)?;
        let der = PrivatePkcs8KeyDer::from(opened.as_bytes());
        Key::from_der(&PrivateKeyDer::Pkcs8(der)).map_err(in_file)
    }

    fn token(&self, uri: &TokenUri, world: &mut World<'_>) -> Result<Token, Error> {
        let module = self.pkcs11_module.as_ref().or(uri.module.as_ref()).ok_or_else(|| {
            Error::Usage(format!(
                "{uri}: which library speaks to the token? --pkcs11-module FILE, or module-path in \
                 the URI, like pkcs11:object=ca?module-path=/usr/lib/softhsm/libsofthsm2.so"
            ))
        })?;
        let pin = match (&uri.pin_value, &uri.pin_source) {
            (Some(pin), _) => Zeroizing::new(pin.clone()),
            (None, Some(file)) if self.passphrase_file.is_none() => first_line(&world.path(file))?,
            (None, _) => self.secret(&format!("PIN of {uri}"), world)?,
        };
        Token::open(uri, &world.path(module), &pin)
    }

    fn secret(&self, what: &str, world: &mut World<'_>) -> Result<Zeroizing<String>, Error> {
        match &self.passphrase_file {
            Some(file) => first_line(&world.path(file)),
            None => ask(what, world),
        }
    }

    /// The passphrase for a new key: asked for twice.
    fn new_secret(&self, what: &str, world: &mut World<'_>) -> Result<Zeroizing<String>, Error> {
        let passphrase = self.secret(&format!("New passphrase of {what}"), world)?;
        if self.passphrase_file.is_none() && ask("Once more", world)? != passphrase {
            return Err(Error::Usage("the two passphrases are not the same".to_owned()));
        }
        if passphrase.chars().count() < sealed::MIN_PASSPHRASE {
            let problem =
                format!("a passphrase has at least {} characters", sealed::MIN_PASSPHRASE);
            return Err(Error::Usage(problem));
        }
        Ok(passphrase)
    }
}

/// How a new key is kept.
#[derive(Debug, Args)]
pub(super) struct Keeping {
    /// Encrypt the new key by a passphrase
    #[arg(long)]
    encrypt: bool,
}

impl Keeping {
    /// A new key as it stands in its file. `what` is the file's name, for the question.
    pub(super) fn to_pem(
        &self,
        key: &Key,
        what: &str,
        opening: &Opening,
        world: &mut World<'_>,
    ) -> Result<Zeroizing<String>, Error> {
        if !self.encrypt {
            return Ok(key.to_pem().into());
        }
        let passphrase = opening.new_secret(what, world)?;
        Ok(key.to_sealed_pem(&passphrase)?.into())
    }
}

/// The URI, if that is what the name of a key is.
pub(super) fn as_uri(key: &Path) -> Result<Option<TokenUri>, Error> {
    match key.to_str().filter(|text| text.starts_with(SCHEME)) {
        Some(text) => TokenUri::parse(text).map(Some),
        None => Ok(None),
    }
}

fn ask(what: &str, world: &mut World<'_>) -> Result<Zeroizing<String>, Error> {
    let Some(secret) = &mut world.secret else {
        return Err(Error::Usage(format!(
            "{what}: there is no terminal to ask on, so --passphrase-file must name a file"
        )));
    };
    let failed = Error::io("ask on", Path::new("the terminal"));
    secret(&format!("{what}: ")).map(Zeroizing::new).map_err(failed)
}

fn first_line(path: &Path) -> Result<Zeroizing<String>, Error> {
    let content = Zeroizing::new(file::read(path, MAX_SECRET)?);
    let wrong =
        |problem: &str| Error::Unreadable { file: path.to_owned(), problem: problem.to_owned() };
    let text = std::str::from_utf8(&content).map_err(|_| wrong("not text in UTF-8"))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned().into()),
        _ => Err(wrong("its first line is empty, and should be a passphrase or PIN")),
    }
}
