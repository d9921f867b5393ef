//! A machine as a leaf or a request describes it.

use super::{BridgeName, CpuSet, DeviceName, ResourceError};
use crate::id::Digest;
use crate::name::Label;

/// How an embedded image is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// zstd (RFC 8878).
    Zstd,
}

/// Which image a machine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// It travels inside the certificate.
    Embedded {
        /// How `data` is packed.
        encoding: Encoding,
        /// Bytes when unpacked: 1 to [`Image::MAX_EMBEDDED`].
        size: u32,
        /// The packed bytes.
        data: Vec<u8>,
    },
    /// It is named, and is sent to the server apart from the certificate.
    Digest {
        /// SHA-256 of the image.
        sha256: Digest,
        /// Bytes: 1 to [`Image::MAX_NAMED`].
        size: u32,
    },
}

impl Image {
    /// The largest embedded image, unpacked, in bytes: 16 MiB.
    pub const MAX_EMBEDDED: u32 = 16 << 20;

    /// The largest image named by digest, in bytes: 1 GiB.
    pub const MAX_NAMED: u32 = 1 << 30;

    /// Bytes of the unpacked image.
    pub const fn size(&self) -> u32 {
        match self {
            Self::Embedded { size, .. } | Self::Digest { size, .. } => *size,
        }
    }
}

/// A network device of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The name the guest knows it by.
    pub device: DeviceName,
    /// The bridge it is put on.
    pub bridge: BridgeName,
    /// A fixed unicast address; `None`: derived by the server.
    pub mac: Option<[u8; 6]>,
}

impl Network {
    /// A network with a unicast MAC address, or none.
    ///
    /// # Errors
    /// [`ResourceError::Mac`]
    pub fn new(
        device: DeviceName,
        bridge: BridgeName,
        mac: Option<[u8; 6]>,
    ) -> Result<Self, ResourceError> {
        match mac {
            Some(mac) if mac[0] & 1 != 0 || mac == [0; 6] => Err(ResourceError::Mac),
            _ => Ok(Self { device, bridge, mac }),
        }
    }
}

/// Bytes of a sector: a power of two from 512 to 32768.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectorSize(u16);

impl SectorSize {
    /// A sector size of that many bytes.
    ///
    /// # Errors
    /// [`ResourceError::SectorSize`]
    pub fn new(bytes: u64) -> Result<Self, ResourceError> {
        match u16::try_from(bytes) {
            Ok(size) if (512..=32768).contains(&size) && size.is_power_of_two() => Ok(Self(size)),
            _ => Err(ResourceError::SectorSize(bytes)),
        }
    }

    /// In bytes.
    pub const fn bytes(self) -> u16 {
        self.0
    }
}

/// A block device of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The name the guest knows it by.
    pub device: DeviceName,
    /// A volume under the machine's own path.
    pub volume: Label,
    /// `None`: 512 bytes.
    pub sector_size: Option<SectorSize>,
}

/// The devices of a machine: at most [`Devices::MAX`] together, device names unique.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Devices {
    networks: Vec<Network>,
    volumes: Vec<Volume>,
}

impl Devices {
    /// A Solo5 manifest holds no more.
    pub const MAX: usize = 63;

    /// Devices in the order given.
    ///
    /// # Errors
    /// [`ResourceError::TooManyDevices`], [`ResourceError::DeviceTwice`]
    pub fn new(networks: Vec<Network>, volumes: Vec<Volume>) -> Result<Self, ResourceError> {
        let count = networks.len() + volumes.len();
        if count > Self::MAX {
            return Err(ResourceError::TooManyDevices(count));
        }
        let mut names: Vec<&DeviceName> = networks.iter().map(|network| &network.device).collect();
        names.extend(volumes.iter().map(|volume| &volume.device));
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ResourceError::DeviceTwice(pair[0].clone()));
        }
        Ok(Self { networks, volumes })
    }

    /// The network devices.
    pub fn networks(&self) -> &[Network] {
        &self.networks
    }

    /// The block devices.
    pub fn volumes(&self) -> &[Volume] {
        &self.volumes
    }
}

/// The arguments of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arguments(Vec<String>);

impl Arguments {
    /// At most so many.
    pub const MAX: usize = 256;

    /// Joined by single spaces, at most so many bytes: what the Solo5 ABI has room for.
    pub const MAX_BYTES: usize = 8191;

    /// Arguments without control characters.
    ///
    /// # Errors
    /// [`ResourceError::Arguments`]
    pub fn new(arguments: Vec<String>) -> Result<Self, ResourceError> {
        let spaces = arguments.len().saturating_sub(1);
        let bytes = arguments.iter().map(String::len).sum::<usize>() + spaces;
        let plain = !arguments.iter().any(|argument| argument.chars().any(char::is_control));
        if arguments.len() <= Self::MAX && bytes <= Self::MAX_BYTES && plain {
            Ok(Self(arguments))
        } else {
            Err(ResourceError::Arguments)
        }
    }

    /// The words, in order.
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

/// What happens after a machine has ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Restart {
    /// It stays ended.
    #[default]
    Never,
    /// It is started again after a failure: a signal, out of memory, or one of these exit codes.
    OnFailure {
        /// Exit codes that count as failure; empty: every code but 0. No code stands twice.
        codes: Vec<u8>,
        /// At most so many restarts in a row; 0: no limit.
        limit: u16,
    },
    /// It is started again whatever its exit.
    Always,
}

impl Restart {
    /// Restart after a failure.
    ///
    /// # Errors
    /// [`ResourceError::RestartCodes`] when a code stands twice.
    pub fn on_failure(codes: Vec<u8>, limit: u16) -> Result<Self, ResourceError> {
        let mut sorted = codes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() == codes.len() {
            Ok(Self::OnFailure { codes, limit })
        } else {
            Err(ResourceError::RestartCodes)
        }
    }
}

/// A virtual machine as a leaf or a request describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What it runs.
    pub image: Image,
    /// MiB of guest memory, 1 or more.
    pub memory_mib: u32,
    /// The CPUs it may run on, at least one.
    pub cpus: CpuSet,
    /// Its networks and volumes.
    pub devices: Devices,
    /// What its guest is told.
    pub arguments: Arguments,
    /// What happens when it ends by itself.
    pub restart: Restart,
    /// Whether it may take the place of a live machine of its name.
    pub replace: bool,
    /// Start order after a reboot: 0 (first) to 100.
    pub priority: u8,
}

impl Machine {
    /// The same machine, if it keeps the rules that no part of it can keep alone.
    ///
    /// # Errors
    /// [`ResourceError::NoMemory`], [`ResourceError::NoCpu`], [`ResourceError::Priority`],
    /// [`ResourceError::ImageSize`], [`ResourceError::EmbeddedSize`]
    pub fn checked(self) -> Result<Self, ResourceError> {
        if self.memory_mib == 0 {
            return Err(ResourceError::NoMemory);
        }
        if self.cpus.is_empty() {
            return Err(ResourceError::NoCpu);
        }
        if self.priority > 100 {
            return Err(ResourceError::Priority(self.priority.into()));
        }
        let limit = match self.image {
            Image::Embedded { .. } => Image::MAX_EMBEDDED,
            Image::Digest { .. } => Image::MAX_NAMED,
        };
        let size = self.image.size();
        if !(1..=limit).contains(&size) {
            return Err(ResourceError::ImageSize { size: size.into(), limit: limit.into() });
        }
        // One that is packed is unpacked before it is used, and judged then.
        if let Image::Embedded { encoding: Encoding::Identity, size, data } = &self.image
            && data.len() as u64 != u64::from(*size)
        {
            return Err(ResourceError::EmbeddedSize { said: *size, found: data.len() });
        }
        Ok(self)
    }
}
