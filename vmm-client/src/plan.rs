//! From a command to a request: everything that is done before there is a connection.

use std::path::{Path, PathBuf};

use vmm_proto::chain::crl::pem::CrlFile;
use vmm_proto::grant::Grant;
use vmm_proto::id::Digest;
use vmm_proto::message::ConsoleStart;
use vmm_proto::message::client::{Described, Doorkeeping, NetworkDeed, Request};
use vmm_proto::message::spawn::HostNetwork;
use vmm_proto::message::why;
use vmm_proto::permission::Permissions;
use vmm_proto::resource::{Image, Machine};
use vmm_proto::verb::Verb;

use crate::credentials::Speaker;
use crate::failure::Failure;
use crate::list;
use crate::options::{self, Attach, Command, Deed, Deploy, Ending, HostDeed, Probation, Run};

/// What will be asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) request: Request,
    /// What a leaf must be allowed to do for it.
    pub(crate) needs: Permissions,
    /// The bytes that the server may ask for.
    pub(crate) image: ImageSource,
    /// The revocation list that the server will ask for.
    pub(crate) list: Vec<u8>,
}

/// Where the bytes of an image would come from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ImageSource {
    /// No image is part of this.
    Nowhere,
    /// This file. It has so many bytes, and the digest that the machine names.
    File(PathBuf, u32),
    /// The machine names this one, and no file was given.
    NotGiven(Digest, u32),
}

impl Plan {
    /// Makes the plan for a command.
    pub(crate) fn of(command: Command, speaker: &Speaker, now_ms: u64) -> Result<Self, Failure> {
        let request = match command {
            Command::Deploy(deploy) => return Self::deploy(deploy, speaker),
            Command::Run(run) => return Self::run(run),
            Command::Why { deed } => return Self::why(deed, speaker),
            Command::Revoke { file } => return Self::revoke(&file),
            Command::Info { name } => Request::Info { name },
            Command::Attach(attach) => attach_request(attach, now_ms),
            Command::Detach { name } => Request::Detach { name },
            Command::Statistics { name, follow } => Request::Statistics { name, follow },
            Command::Log { name, since, follow } => {
                Request::Log { name, since_ms: since.map(|since| since.unix_ms(now_ms)), follow }
            }
            Command::Quota => Request::Quota,
            Command::Host { deed: HostDeed::Drain { wait } } => {
                Request::Host(Doorkeeping::Drain { wait })
            }
            Command::Host { deed: HostDeed::Open } => Request::Host(Doorkeeping::Open),
            Command::Host { deed: HostDeed::Network { deed } } => host_network(deed)?,
            Command::Start { name } => Request::Start { name },
            Command::Stop(Ending { name, timeout }) => {
                Request::Stop { name, timeout_ms: milliseconds(timeout) }
            }
            Command::Restart(Ending { name, timeout }) => {
                Request::Restart { name, timeout_ms: milliseconds(timeout) }
            }
            Command::Destroy { name } => Request::Destroy { name },
        };
        let needs = Permissions::of([request.verb().permission()]);
        Ok(Self { request, needs, image: ImageSource::Nowhere, list: Vec::new() })
    }

    /// Asking takes `info`, and what the command itself would take: otherwise the answer would be
    /// that the leaf lacks it.
    fn why(deed: Deed, speaker: &Speaker) -> Result<Self, Failure> {
        let plan = match deed {
            Deed::Deploy(deploy) => Self::deploy(deploy, speaker)?,
            Deed::Run(run) => Self::run(run)?,
            Deed::Start { name } => Self::of(Command::Start { name }, speaker, 0)?,
        };
        let deed = match plan.request {
            Request::Deploy { described, attach, .. } => why::Deed::Deploy { described, attach },
            Request::Start { name } => why::Deed::Start { name },
            other => {
                return Err(Failure::usage(format!("why does not answer for {}", other.verb())));
            }
        };
        let request = Request::Why(deed);
        let asking = [request.verb().permission()];
        let needs = Permissions::of(plan.needs.iter().chain(asking));
        Ok(Self { request, needs, image: ImageSource::Nowhere, list: Vec::new() })
    }

    fn deploy(deploy: Deploy, speaker: &Speaker) -> Result<Self, Failure> {
        let Deploy { image, attach, probation: Probation { probation } } = deploy;
        let image = match speaker {
            Speaker::Machine(machine) => own_image(machine, image)?,
            // What is wrong with the leaf is for the server to say.
            Speaker::Unknown => match image {
                Some(file) => {
                    let (_, size) = vmm_ca::image::digest(&file).map_err(Failure::usage)?;
                    ImageSource::File(file, size)
                }
                None => ImageSource::Nowhere,
            },
            Speaker::Local | Speaker::Issuer | Speaker::Permissions => {
                return Err(Failure::usage(
                    "deploy needs the bundle and key of a machine (`vmm-ca request machine`); to \
                     describe one here, use `run NAME IMAGE --memory MIB --cpu N`",
                ));
            }
        };
        let request =
            Request::Deploy { described: None, attach, probation_ms: milliseconds(probation) };
        Ok(Self { request, needs: Permissions::default(), image, list: Vec::new() })
    }

    fn run(run: Run) -> Result<Self, Failure> {
        let Run { name, image: file, memory, attach, machine, probation } = run;
        let probation_ms = milliseconds(probation.probation);
        let (sha256, size) = vmm_ca::image::digest(&file).map_err(Failure::usage)?;
        let image = Image::Digest { sha256, size };
        let machine = machine.machine(image, memory).map_err(Failure::usage)?;
        let mut needs = vec![Verb::Deploy.permission()];
        if machine.replace {
            needs.push(Verb::Replace.permission());
        }
        if attach {
            needs.push(Verb::Attach.permission());
        }
        let described = Some(Described { name, grant: Grant::Machine(machine).to_der() });
        Ok(Self {
            request: Request::Deploy { described, attach, probation_ms },
            needs: Permissions::of(needs),
            image: ImageSource::File(file, size),
            list: Vec::new(),
        })
    }

    /// The file must be one; everything else about it is for the server to judge.
    fn revoke(file: &Path) -> Result<Self, Failure> {
        let CrlFile { der: list, chain } = list::read(file)?;
        let size = u32::try_from(list.len()).map_err(Failure::usage)?;
        let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
        let request = Request::Revoke { size, chain };
        let needs = Permissions::of([request.verb().permission()]);
        Ok(Self { request, needs, image: ImageSource::Nowhere, list })
    }
}

/// The file for a machine's own image, held against what its leaf says.
fn own_image(machine: &Machine, file: Option<PathBuf>) -> Result<ImageSource, Failure> {
    match (&machine.image, file) {
        // It is not needed; but whoever names another image means another machine.
        (embedded @ Image::Embedded { .. }, Some(file)) => {
            if vmm_ca::image::is(&file, embedded).map_err(Failure::usage)? {
                return Ok(ImageSource::Nowhere);
            }
            Err(Failure::usage(format!(
                "{} is not the image that is embedded in this machine's certificate: leave out \
                 --image, or have the other one signed",
                file.display()
            )))
        }
        (Image::Embedded { .. }, None) => Ok(ImageSource::Nowhere),
        (Image::Digest { sha256, size }, None) => Ok(ImageSource::NotGiven(*sha256, *size)),
        (Image::Digest { sha256, size }, Some(file)) => {
            same_image(&file, *sha256, *size)?;
            Ok(ImageSource::File(file, *size))
        }
    }
}

fn same_image(file: &Path, sha256: Digest, size: u32) -> Result<(), Failure> {
    let (found, found_size) = vmm_ca::image::digest(file).map_err(Failure::usage)?;
    if (found, found_size) == (sha256, size) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} is not the image that was signed: it has SHA-256 {found} and {found_size} bytes, the \
         machine's certificate names SHA-256 {sha256} and {size} bytes",
        file.display()
    )))
}

/// All of a console that is there, unless it is said where to begin.
fn attach_request(attach: Attach, now_ms: u64) -> Request {
    let Attach { name, count, since, no_follow } = attach;
    let start = match (count, since) {
        (Some(lines), _) => ConsoleStart::Lines(lines),
        (None, Some(since)) => ConsoleStart::Since(since.unix_ms(now_ms)),
        (None, None) => ConsoleStart::Position(0),
    };
    Request::Attach { name, start, follow: !no_follow }
}

/// What is no host network is not asked for.
fn host_network(deed: options::NetworkDeed) -> Result<Request, Failure> {
    Ok(Request::HostNetwork(match deed {
        options::NetworkDeed::Add { name, nat: (address, prefix), uplink } => {
            let network = HostNetwork { name, address, prefix, uplink };
            network.checked().map_err(Failure::usage)?;
            NetworkDeed::Add(network)
        }
        options::NetworkDeed::List => NetworkDeed::List,
        options::NetworkDeed::Remove { name } => NetworkDeed::Remove { name },
    }))
}

fn milliseconds(seconds: Option<u32>) -> Option<u32> {
    seconds.map(|seconds| seconds.saturating_mul(1000))
}

#[cfg(test)]
mod tests;
