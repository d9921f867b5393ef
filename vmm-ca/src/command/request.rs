//! `vmm-ca request`

use std::path::PathBuf;

use clap::{Args, Subcommand, value_parser};
use vmm_proto::grant::Grant;
use vmm_proto::id::Digest;
use vmm_proto::name::Label;
use vmm_proto::permission::{Permission, Permissions};
use vmm_proto::resource::{Delegation, Hosts};

use super::World;
use super::keys::{Keeping, Opening};
use super::verify::server_key;
use crate::file::{NewFiles, none_exists};
use crate::key::{Algorithm, Key, Signer};
use crate::options::{DelegationOptions, MachineOptions, permission};
use crate::{Error, image, pem, request};

/// What is asked for.
#[derive(Debug, Subcommand)]
pub(super) enum Request {
    /// Ask for a share of a host
    Delegation(DelegationRequest),
    /// Ask for interactive use
    Permissions(PermissionsRequest),
    /// Ask for exactly one machine
    Machine(MachineRequest),
}

/// Which key the request is for.
#[derive(Debug, Args)]
struct KeyOptions {
    /// The kind of key to make
    #[arg(long, value_enum, default_value_t, conflicts_with = "key")]
    algorithm: Algorithm,
    /// Use this existing key instead of making LABEL.key: a file, or pkcs11:… for one in a token
    #[arg(long, value_name = "FILE", conflicts_with = "encrypt")]
    key: Option<PathBuf>,
    #[command(flatten)]
    keeping: Keeping,
    #[command(flatten)]
    opening: Opening,
}

/// Asks for a share of a host.
#[derive(Debug, Args)]
pub(super) struct DelegationRequest {
    /// Its name: a part of the path of everything below it
    label: Label,
    /// How many machines may run at the same time
    machines: u16,
    /// How much memory they may have together
    memory_mib: u32,
    #[command(flatten)]
    options: DelegationOptions,
    #[command(flatten)]
    key: KeyOptions,
}

/// Asks for interactive use.
#[derive(Debug, Args)]
pub(super) struct PermissionsRequest {
    /// The name of the person or robot
    label: Label,
    /// What shall be allowed; repeat the option, or separate them by commas
    #[arg(
        long = "permission",
        value_name = "P",
        required = true,
        value_delimiter = ',',
        value_parser = permission
    )]
    permissions: Vec<Permission>,
    #[command(flatten)]
    key: KeyOptions,
}

/// Asks for exactly one machine.
#[derive(Debug, Args)]
pub(super) struct MachineRequest {
    /// The machine's name
    label: Label,
    /// Its image
    image: PathBuf,
    /// Its memory
    #[arg(value_parser = value_parser!(u32).range(1..))]
    memory_mib: u32,
    /// Put the image into the certificate (small ones only), instead of its digest
    #[arg(long)]
    embed: bool,
    #[command(flatten)]
    options: MachineOptions,
    #[command(flatten)]
    key: KeyOptions,
}

impl Request {
    pub(super) fn run(&self, world: &mut World<'_>) -> Result<(), Error> {
        let (label, key, grant) = match self {
            Self::Delegation(asked) => (asked.label.clone(), &asked.key, asked.grant(world)?),
            Self::Permissions(asked) => {
                let permissions = Permissions::of(asked.permissions.iter().copied());
                (asked.label.clone(), &asked.key, Grant::Permissions(permissions))
            }
            Self::Machine(asked) => (asked.label.clone(), &asked.key, asked.grant(world)?),
        };
        Output::of(&label, key, world)?.write(&label, &grant, key, world)
    }
}

impl DelegationRequest {
    fn grant(&self, world: &World<'_>) -> Result<Grant, Error> {
        let keys: Vec<Digest> = self
            .options
            .hosts
            .iter()
            .map(|file| server_key(&world.path(file)))
            .collect::<Result<_, _>>()?;
        Ok(Grant::Delegation(Delegation {
            generation: 0,
            machines: self.machines,
            memory_mib: self.memory_mib,
            cpus: self.options.cpus()?,
            storage_mib: self.options.storage,
            bridges: self.options.bridges()?,
            hosts: if keys.is_empty() { None } else { Some(Hosts::new(keys)?) },
        }))
    }
}

impl MachineRequest {
    fn grant(&self, world: &World<'_>) -> Result<Grant, Error> {
        let path = world.path(&self.image);
        let image = if self.embed { image::embedded(&path)? } else { image::named(&path)? };
        Ok(Grant::Machine(self.options.clone().machine(image, self.memory_mib)?))
    }
}

/// The files to write, found free before anything is made.
struct Output {
    request: PathBuf,
    key_file: KeyFile,
}

enum KeyFile {
    New(PathBuf, Algorithm),
    Used(PathBuf),
}

impl Output {
    fn of(label: &Label, options: &KeyOptions, world: &World<'_>) -> Result<Self, Error> {
        let request = world.path(format!("{label}.req"));
        let key_file = if let Some(file) = &options.key {
            KeyFile::Used(file.clone())
        } else {
            let file = world.path(format!("{label}.key"));
            let way_out = format!(
                "a private key is never replaced; --key {label}.key asks for a certificate on that \
                 key again"
            );
            none_exists([file.as_path()], &way_out)?;
            KeyFile::New(file, options.algorithm)
        };
        none_exists([request.as_path()], "remove it, or ask in another directory")?;
        Ok(Self { request, key_file })
    }

    fn write(
        self,
        label: &Label,
        grant: &Grant,
        options: &KeyOptions,
        world: &mut World<'_>,
    ) -> Result<(), Error> {
        let mut files = NewFiles::default();
        let key = match &self.key_file {
            KeyFile::Used(file) => options.opening.load(file, world)?,
            KeyFile::New(file, algorithm) => {
                let key = Key::generate(*algorithm)?;
                let name = format!("{label}.key");
                files
                    .secret(file, &options.keeping.to_pem(&key, &name, &options.opening, world)?)?;
                Signer::Key(key)
            }
        };
        let der = request::Request::build(label, grant, &key)?;
        // What its own reader refuses must not leave the house.
        request::Request::parse(&der)?;
        files.public(&self.request, &pem::encode("CERTIFICATE REQUEST", &der))?;
        files.keep();
        world.say(format_args!(
            "{label}.req   to be signed: vmm-ca sign DB ISSUER KEY {label}.req"
        ))?;
        match self.key_file {
            KeyFile::New(..) => world.say(format_args!("{label}.key   its private key: keep it")),
            KeyFile::Used(_) => Ok(()),
        }
    }
}
