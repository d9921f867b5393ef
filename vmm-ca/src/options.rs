//! Options that describe a machine or a delegation, shared by `vmm-ca request` and
//! `vmm-client run`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, value_parser};
use vmm_proto::name::Label;
use vmm_proto::permission::Permission;
use vmm_proto::resource::{
    AddressRange, Arguments, Bridge, BridgeName, Bridges, CpuSet, DeviceName, Devices, Family,
    Image, MAX_CPU, Machine, Network, ResourceError, Restart, SectorSize, Volume,
};

/// What a machine has beside its image and its memory.
#[derive(Debug, Clone, Args)]
pub struct MachineOptions {
    /// A CPU that it may run on; repeat the option, or separate ids by commas
    #[arg(
        long = "cpu",
        value_name = "N",
        required = true,
        value_delimiter = ',',
        value_parser = value_parser!(u16).range(0..=i64::from(MAX_CPU))
    )]
    pub cpus: Vec<u16>,
    /// A network device: the name the guest knows it by, the bridge it is put on, and perhaps its
    /// address (02:00:00:00:00:01)
    #[arg(long = "network", value_name = "NAME=BRIDGE[=MAC]", value_parser = network)]
    pub networks: Vec<Network>,
    /// A block device: the name the guest knows it by, the volume, and perhaps bytes per sector
    #[arg(long = "volume", value_name = "NAME=VOLUME[=SECTORSIZE]", value_parser = volume)]
    pub volumes: Vec<Volume>,
    /// What happens when it ends by itself: never, always, on-failure, on-failure:1,2 (these exit
    /// codes), on-failure:1,2:5 (at most five times in a row); no codes: all but 0
    #[arg(long, value_name = "POLICY", default_value = "never", value_parser = restart)]
    pub restart: Restart,
    /// It may take the place of a live machine of its name
    #[arg(long)]
    pub replace: bool,
    /// Start order after a reboot of the host, 0 first, at most 100
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u8).range(0..=100))]
    pub priority: u8,
    /// What the guest is told
    #[arg(last = true, value_name = "ARGUMENT")]
    pub arguments: Vec<String>,
}

impl MachineOptions {
    /// The machine, with its image and `memory_mib` MiB of memory.
    ///
    /// # Errors
    /// [`ResourceError`]: the first rule of the profile that it breaks.
    pub fn machine(self, image: Image, memory_mib: u32) -> Result<Machine, ResourceError> {
        Machine {
            image,
            memory_mib,
            cpus: CpuSet::distinct(self.cpus)?,
            devices: Devices::new(self.networks, self.volumes)?,
            arguments: Arguments::new(self.arguments)?,
            restart: self.restart,
            replace: self.replace,
            priority: self.priority,
        }
        .checked()
    }
}

/// What a delegation has beside machines and memory.
#[derive(Debug, Clone, Args)]
pub struct DelegationOptions {
    /// A CPU that may be used; repeat the option, or separate ids by commas
    #[arg(
        long = "cpu",
        value_name = "N",
        required = true,
        value_delimiter = ',',
        value_parser = value_parser!(u16).range(0..=i64::from(MAX_CPU))
    )]
    pub cpus: Vec<u16>,
    /// A bridge that may be used, with the IPv4 or IPv6 addresses that may be given out on it; give
    /// it once for each family, or with both ranges one behind the other
    #[arg(long = "bridge", value_name = "NAME[/FIRST/LAST/GATEWAY/PREFIX]", value_parser = bridge)]
    pub bridges: Vec<Bridge>,
    /// MiB of storage: bounds what is delegated further; on a host there is nothing yet that takes any
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    pub storage: u32,
    /// A server that it is good for, by its certificate (default: those of the issuer)
    #[arg(long = "host", value_name = "SERVER.pem")]
    pub hosts: Vec<PathBuf>,
}

impl DelegationOptions {
    /// The CPUs.
    ///
    /// # Errors
    /// [`ResourceError::CpuTwice`]
    pub fn cpus(&self) -> Result<CpuSet, ResourceError> {
        CpuSet::distinct(self.cpus.clone())
    }

    /// The bridges; one that was given once for each family is one.
    ///
    /// # Errors
    /// [`ResourceError`]
    pub fn bridges(&self) -> Result<Bridges, ResourceError> {
        let mut merged: Vec<Bridge> = Vec::new();
        for bridge in &self.bridges {
            match merged.iter_mut().find(|earlier| earlier.name() == bridge.name()) {
                Some(earlier) => *earlier = merge(earlier, bridge)?,
                None => merged.push(bridge.clone()),
            }
        }
        Bridges::new(merged)
    }
}

/// One bridge that was named twice, with a range of another family each time.
fn merge(one: &Bridge, other: &Bridge) -> Result<Bridge, ResourceError> {
    let either = |a: Option<&AddressRange>, b: Option<&AddressRange>| a.or(b).copied();
    let v4 = either(one.range(), other.range());
    let v6 = either(one.range6(), other.range6());
    let count = |bridge: &Bridge| {
        usize::from(bridge.range().is_some()) + usize::from(bridge.range6().is_some())
    };
    let both = usize::from(v4.is_some()) + usize::from(v6.is_some());
    if count(one) == 0 || count(other) == 0 || both != count(one) + count(other) {
        return Err(ResourceError::BridgeTwice(one.name().clone()));
    }
    Bridge::new(one.name().clone(), v4, v6)
}

/// Parses `NAME[/FIRST/LAST/GATEWAY/PREFIX]`, with one range or one of each family.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn bridge(text: &str) -> Result<Bridge, String> {
    let mut parts = text.split('/');
    let name = BridgeName::parse(parts.next().unwrap_or_default()).map_err(say)?;
    let parts: Vec<&str> = parts.collect();
    if !parts.len().is_multiple_of(4) || parts.len() > 8 {
        return Err("expected NAME, or NAME/FIRST/LAST/GATEWAY/PREFIX, or that with a second \
                    FIRST/LAST/GATEWAY/PREFIX of the other address family"
            .to_owned());
    }
    let (mut range, mut range6) = (None, None);
    for parts in parts.chunks_exact(4) {
        let parsed = address_range(parts)?;
        let place = match parsed.family() {
            Family::V4 => &mut range,
            Family::V6 => &mut range6,
        };
        if place.replace(parsed).is_some() {
            return Err(format!("two {} ranges for one bridge", parsed.family()));
        }
    }
    Bridge::new(name, range, range6).map_err(say)
}

fn address_range(parts: &[&str]) -> Result<AddressRange, String> {
    let [first, last, gateway, prefix] = parts else {
        return Err("expected FIRST/LAST/GATEWAY/PREFIX".to_owned());
    };
    let address =
        |text: &str| text.parse::<IpAddr>().map_err(|_| format!("{text:?} is not an IP address"));
    let prefix = prefix.parse().map_err(|_| format!("{prefix:?} is not a prefix length"))?;
    AddressRange::new(address(first)?, address(last)?, address(gateway)?, prefix).map_err(say)
}

/// Parses `NAME=BRIDGE[=MAC]`.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn network(text: &str) -> Result<Network, String> {
    let mut parts = text.splitn(3, '=');
    let (Some(device), Some(bridge), mac) = (parts.next(), parts.next(), parts.next()) else {
        return Err("expected NAME=BRIDGE, or NAME=BRIDGE=MAC".to_owned());
    };
    let device = DeviceName::parse(device).map_err(say)?;
    let bridge = BridgeName::parse(bridge).map_err(say)?;
    Network::new(device, bridge, mac.map(mac_address).transpose()?).map_err(say)
}

fn mac_address(text: &str) -> Result<[u8; 6], String> {
    let wrong = || format!("{text:?} is not a MAC address like 02:00:00:00:00:01");
    let octets = text.split(':').map(|part| match part.len() {
        // `from_str_radix` would take a sign.
        2 if part.bytes().all(|b| b.is_ascii_hexdigit()) => u8::from_str_radix(part, 16).ok(),
        _ => None,
    });
    let octets: Vec<u8> = octets.collect::<Option<_>>().ok_or_else(wrong)?;
    octets.try_into().map_err(|_| wrong())
}

/// Parses `NAME=VOLUME[=SECTORSIZE]`.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn volume(text: &str) -> Result<Volume, String> {
    let mut parts = text.splitn(3, '=');
    let (Some(device), Some(volume), size) = (parts.next(), parts.next(), parts.next()) else {
        return Err("expected NAME=VOLUME, or NAME=VOLUME=SECTORSIZE".to_owned());
    };
    let size = size.map(|size| {
        let bytes = size.parse().map_err(|_| format!("{size:?} is not a number of bytes"))?;
        SectorSize::new(bytes).map_err(say)
    });
    Ok(Volume {
        device: DeviceName::parse(device).map_err(say)?,
        volume: Label::parse(volume).map_err(say)?,
        sector_size: size.transpose()?,
    })
}

/// Parses `never`, `always`, or `on-failure[:CODES[:LIMIT]]`.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn restart(text: &str) -> Result<Restart, String> {
    let mut parts = text.splitn(3, ':');
    match (parts.next().unwrap_or_default(), parts.next(), parts.next()) {
        ("never", None, None) => Ok(Restart::Never),
        ("always", None, None) => Ok(Restart::Always),
        ("on-failure", codes, limit) => {
            let codes = exit_codes(codes.unwrap_or_default())?;
            let limit = limit.map_or(Ok(0), |limit| {
                limit
                    .parse()
                    .map_err(|_| format!("{limit:?} is not a number of restarts (0 to 65535)"))
            });
            Restart::on_failure(codes, limit?).map_err(say)
        }
        _ => Err("expected never, always, or on-failure[:CODES[:LIMIT]]".to_owned()),
    }
}

fn exit_codes(text: &str) -> Result<Vec<u8>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|code| code.parse().map_err(|_| format!("{code:?} is not an exit code (0 to 255)")))
        .collect()
}

/// Parses the name of a permission.
///
/// # Errors
/// The names that there are.
pub fn permission(text: &str) -> Result<Permission, String> {
    Permission::named(text).ok_or_else(|| {
        let names = Permission::EACH.map(Permission::as_str);
        format!("there is no such permission: use {}", names.join(", "))
    })
}

#[allow(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn say(error: impl ToString) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
