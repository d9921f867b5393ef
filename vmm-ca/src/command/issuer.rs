//! What every command that signs is given: a database, the issuer's certificate, its key.

use std::path::{Path, PathBuf};

use clap::Args;

use super::World;
use super::keys::Opening;
use crate::database::{Database, PATIENCE};
use crate::issue::Issuer;
use crate::{Error, pem};

/// Who signs.
#[derive(Debug, Args)]
pub(super) struct IssuerFiles {
    /// What this issuer has issued; created by its first use
    pub(super) database: PathBuf,
    /// The issuer's certificate, then those above it: cacert.pem, or a delegation's .bundle
    pub(super) issuer: PathBuf,
    /// The issuer's private key: a file, or pkcs11:… for a key in a token (RFC 7512)
    pub(super) issuer_key: PathBuf,
    #[command(flatten)]
    opening: Opening,
}

impl IssuerFiles {
    /// The issuer, found fit to sign now.
    pub(super) fn load(&self, world: &mut World<'_>) -> Result<Issuer, Error> {
        let chain_file = world.path(&self.issuer);
        let chain = pem::read_certificates(&chain_file)?;
        let key = self.opening.load(&self.issuer_key, world)?;
        let issuer = Issuer::new(chain, key).map_err(|error| error.in_file(&chain_file))?;
        issuer.check(world.now)?;
        Ok(issuer)
    }

    pub(super) fn open_database(
        &self,
        issuer: &Issuer,
        world: &mut World<'_>,
    ) -> Result<Database, Error> {
        let path = world.path(&self.database);
        let name = self.database.display();
        let err = &mut *world.err;
        let database = Database::open(&path, issuer.key(), PATIENCE, || {
            // If this cannot be said, waiting is still right.
            let _ = writeln!(err, "waiting for {name}, which another vmm-ca is using");
        })?;
        if database.was_torn() {
            world.warn(format_args!(
                "{name} ended in the middle of a line, as a crash leaves it; what that line is about \
                 was never handed out, and it is dropped{}",
                if database.issued().is_empty() {
                    ". No other line is left: if it held certificates before, restore it from a copy"
                } else {
                    ""
                }
            ))?;
        }
        Ok(database)
    }

    /// None of the files that a command is given may be written over by what it makes.
    pub(super) fn spare(&self, outputs: &[&Path], world: &World<'_>) -> Result<(), Error> {
        spare([&self.issuer, &self.issuer_key, &self.database], outputs, world)
    }
}

/// None of `inputs` may be one of `outputs`.
pub(super) fn spare<'i>(
    inputs: impl IntoIterator<Item = &'i PathBuf>,
    outputs: &[&Path],
    world: &World<'_>,
) -> Result<(), Error> {
    for input in inputs {
        let input = world.path(input);
        for output in outputs {
            // A database may not be there yet, and then has only a name.
            let same = match (input.canonicalize(), output.canonicalize()) {
                (Ok(input), Ok(output)) => input == output,
                _ => input == *output,
            };
            if same {
                let way_out = "this command needs it: work in another directory".to_owned();
                return Err(Error::Exists { file: output.to_path_buf(), way_out });
            }
        }
    }
    Ok(())
}
