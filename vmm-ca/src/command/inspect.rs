//! `vmm-ca inspect`

use std::path::PathBuf;

use clap::Args;

use super::{Format, World, json};
use crate::inspect::{Contents, to_json, to_text};
use crate::{Error, Exit};

/// Says what files are.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// PEM, or one certificate or request in DER
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How to write it; JSON is an array with one object for each file
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Inspect {
    pub(super) fn run(&self, world: &mut World<'_>) -> Result<Exit, Error> {
        let mut exit = Exit::Done;
        let mut objects = Vec::new();
        for file in &self.files {
            match Contents::read(&world.path(file)) {
                Ok(contents) => {
                    if contents.is_broken() {
                        exit = Exit::Usage;
                    }
                    let name = file.display().to_string();
                    match self.format {
                        Format::Text => {
                            let text = to_text(&name, &contents, world.now);
                            world.say(text.trim_end())?;
                        }
                        Format::Json => objects.push(to_json(&name, &contents, world.now)),
                    }
                }
                Err(error) => {
                    exit = error.exit();
                    world.complain(&error)?;
                }
            }
        }
        if self.format == Format::Json {
            world.say(json(&objects)?)?;
        }
        Ok(exit)
    }
}
