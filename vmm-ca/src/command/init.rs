//! `vmm-ca init`

use std::path::{Path, PathBuf};

use clap::Args;
use vmm_proto::authority::Validity;
use vmm_proto::chain::{self, Root};
use zeroize::Zeroizing;

use super::keys::{Keeping, Opening, as_uri};
use super::{World, days};
use crate::database::Database;
use crate::file::{NewFiles, none_exists};
use crate::issue::Issuer;
use crate::key::uri::TokenUri;
use crate::key::{Algorithm, Key, Signer};
use crate::profile::{self, ServerName};
use crate::time::{DAY, Moment, within};
use crate::{Error, pem};

/// Sets up an authority.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The authority's name; its certificate is called "NAME root"
    name: String,
    /// The database to create, like ca.db
    database: PathBuf,
    /// How long the authority is valid
    #[arg(long, default_value_t = 3650, value_parser = days())]
    days: u32,
    /// A DNS name or an IP address by which the server is dialled; may be repeated
    #[arg(long = "server", value_name = "HOST", required = true)]
    servers: Vec<String>,
    /// How long the server's certificate is valid
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = days())]
    server_days: u32,
    /// The kind of both keys
    #[arg(long, value_enum, default_value_t)]
    algorithm: Algorithm,
    /// Make the authority's key in a token instead of ca.key, by pkcs11:… (RFC 7512); a key that is
    /// there already is used
    #[arg(long, value_name = "URI", conflicts_with = "encrypt")]
    key: Option<PathBuf>,
    #[command(flatten)]
    keeping: Keeping,
    #[command(flatten)]
    opening: Opening,
}

impl Init {
    pub(super) fn run(self, world: &mut World<'_>) -> Result<(), Error> {
        let names: Vec<ServerName> =
            self.servers.iter().map(|name| ServerName::parse(name)).collect::<Result<_, _>>()?;
        let uri = self.key.as_deref().map(token_uri).transpose()?;
        let [ca_key, ca_cert, server_key, server_cert] =
            ["ca.key", "cacert.pem", "server.key", "server.pem"].map(|name| world.path(name));
        let database_path = world.path(&self.database);
        none_exists(
            [&ca_key, &ca_cert, &server_key, &server_cert, &database_path].map(PathBuf::as_path),
            "init in another directory, or move it away",
        )?;

        let validity = within(Validity::ALWAYS, world.now, i64::from(self.days) * DAY);
        let root = profile::root(&self.name, validity)?;
        let (key, key_pem) = self.authority_key(uri.as_ref(), world)?;
        let key_digest = key.digest();
        let certificate = root.self_signed(&key)?;
        let root = certificate.der().clone();
        let issuer = Issuer::new(vec![root.clone()], key)?;
        issuer.check(world.now)?;
        let own_key = Key::generate(self.algorithm)?;
        let server_validity = within(validity, world.now, i64::from(self.server_days) * DAY);
        let server = issuer.certify_server(&names, &own_key, server_validity)?;
        self_test(&server, &root, &names, world.now)?;

        let mut files = NewFiles::default();
        if let Some(key_pem) = &key_pem {
            files.secret(&ca_key, key_pem)?;
        }
        files.secret(&server_key, &own_key.to_pem())?;
        let mut database = Database::create(&database_path, key_digest)?;
        files.adopt(&database_path);
        database.record(&root)?;
        database.record(&server)?;
        files.public(&ca_cert, &pem::encode_certificates([&root]))?;
        files.public(&server_cert, &pem::encode_certificates([&server]))?;
        files.keep();
        self.report(world, validity, server_validity)
    }

    /// The authority's key, and what goes into ca.key: nothing when it is in a token.
    fn authority_key(
        &self,
        uri: Option<&TokenUri>,
        world: &mut World<'_>,
    ) -> Result<(Signer, Option<Zeroizing<String>>), Error> {
        let Some(uri) = uri else {
            let key = Key::generate(self.algorithm)?;
            let pem = self.keeping.to_pem(&key, "ca.key", &self.opening, world)?;
            return Ok((Signer::Key(key), Some(pem)));
        };
        Ok((self.opening.load_or_generate(uri, self.algorithm, world)?, None))
    }

    fn report(
        &self,
        world: &mut World<'_>,
        validity: Validity,
        server: Validity,
    ) -> Result<(), Error> {
        let (root_end, server_end) = (Moment(validity.not_after), Moment(server.not_after));
        if i64::from(self.server_days) > i64::from(self.days) {
            world.warn(format_args!(
                "the server's certificate ends with the authority's, after {} days",
                self.days
            ))?;
        }
        world.say(match &self.key {
            None => "ca.key       the authority's private key: keep it offline",
            Some(_) => "The authority's private key is in the token: keep that offline.",
        })?;
        world.say(format_args!(
            "cacert.pem   \"{} root\", until {root_end}: for every server and client",
            self.name
        ))?;
        world.say(format_args!(
            "{:<12} what the authority has issued: keep it with ca.key",
            self.database.display()
        ))?;
        world.say(format_args!("server.key   the server's private key"))?;
        let names = self.servers.join(", ");
        world.say(format_args!("server.pem   the server {names}, until {server_end}"))
    }
}

fn token_uri(key: &Path) -> Result<TokenUri, Error> {
    as_uri(key)?.ok_or_else(|| {
        Error::Usage("--key takes pkcs11:…: a key in a file is made as ca.key".to_owned())
    })
}

/// Reads the server's certificate with the eyes of a client.
pub(super) fn self_test(
    server: &rustls_pki_types::CertificateDer<'static>,
    root: &rustls_pki_types::CertificateDer<'_>,
    names: &[ServerName],
    now: i64,
) -> Result<(), Error> {
    let failed = |problem: String| Error::SelfTest(problem);
    let root = Root::from_der(root).map_err(|error| failed(error.to_string()))?;
    for name in names {
        let dialled = rustls_pki_types::ServerName::try_from(name.to_string())
            .map_err(|error| failed(error.to_string()))?;
        chain::verify_server(std::slice::from_ref(server), &root, &dialled, now)
            .map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}
