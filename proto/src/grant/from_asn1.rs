//! From the types with bytes to the types with rules.

use std::net::IpAddr;

use rasn::types::{BitString, Ia5String, OctetString};

use super::{Grant, GrantError, asn1};
use crate::id::Digest;
use crate::name::Label;
use crate::permission::{Permission, Permissions};
use crate::resource::{
    AddressRange, Arguments, Bridge, BridgeName, Bridges, CpuSet, Delegation, DeviceName, Devices,
    Encoding, Family, Hosts, Image, MAX_BRIDGES, MAX_GENERATION, MAX_HOSTS, Machine, Network,
    ResourceError, Restart, SectorSize, Volume,
};

impl TryFrom<asn1::Grant> for Grant {
    type Error = GrantError;

    fn try_from(grant: asn1::Grant) -> Result<Self, GrantError> {
        Ok(match grant {
            asn1::Grant::Delegation(delegation) => Self::Delegation(delegation.try_into()?),
            asn1::Grant::Permissions(bits) => Self::Permissions(permissions(&bits)?),
            asn1::Grant::Machine(machine) => Self::Machine(machine.try_into()?),
        })
    }
}

fn permissions(bits: &BitString) -> Result<Permissions, GrantError> {
    let fits = bits.len() <= Permission::EACH.len() && bits.last().is_some_and(|last| *last);
    if !fits {
        return Err(GrantError::Permissions);
    }
    Ok(Permissions::of(
        Permission::EACH.into_iter().zip(bits).filter(|(_, set)| **set).map(|p| p.0),
    ))
}

fn text(text: &Ia5String) -> String {
    String::from_utf8_lossy(text.as_iso646_bytes()).into_owned()
}

fn octets<const N: usize>(what: &'static str, octets: &OctetString) -> Result<[u8; N], GrantError> {
    octets.as_ref().try_into().map_err(|_| GrantError::Octets {
        what,
        expected: N,
        found: octets.len(),
    })
}

impl TryFrom<asn1::Delegation> for Delegation {
    type Error = GrantError;

    fn try_from(delegation: asn1::Delegation) -> Result<Self, GrantError> {
        if delegation.generation > MAX_GENERATION {
            return Err(ResourceError::Generation.into());
        }
        if delegation.bridges.len() > MAX_BRIDGES {
            return Err(ResourceError::TooManyBridges(delegation.bridges.len()).into());
        }
        let bridges = delegation.bridges.into_iter().map(TryInto::try_into);
        Ok(Self {
            generation: delegation.generation,
            machines: delegation.machines,
            memory_mib: delegation.memory,
            cpus: CpuSet::ascending(delegation.cpus)?,
            storage_mib: delegation.storage,
            bridges: Bridges::new(bridges.collect::<Result<_, GrantError>>()?)?,
            hosts: delegation.hosts.map(|keys| hosts(&keys)).transpose()?,
        })
    }
}

fn hosts(keys: &[OctetString]) -> Result<Hosts, GrantError> {
    if keys.len() > MAX_HOSTS {
        return Err(ResourceError::Hosts.into());
    }
    let keys = keys.iter().map(|key| octets("a host key", key).map(Digest));
    Ok(Hosts::new(keys.collect::<Result<_, _>>()?)?)
}

impl TryFrom<asn1::Bridge> for Bridge {
    type Error = GrantError;

    fn try_from(bridge: asn1::Bridge) -> Result<Self, GrantError> {
        let of = |family| move |range| address_range(family, &range);
        Ok(Self::new(
            BridgeName::parse(&text(&bridge.name))?,
            bridge.range.map(of(Family::V4)).transpose()?,
            bridge.range6.map(of(Family::V6)).transpose()?,
        )?)
    }
}

fn address_range(family: Family, range: &asn1::Range) -> Result<AddressRange, GrantError> {
    let address = |what, bytes: &OctetString| -> Result<IpAddr, GrantError> {
        Ok(match family {
            Family::V4 => octets::<4>(what, bytes)?.into(),
            Family::V6 => octets::<16>(what, bytes)?.into(),
        })
    };
    let first = address("a range's first address", &range.first)?;
    let last = address("a range's last address", &range.last)?;
    let gateway = address("a range's gateway", &range.gateway)?;
    Ok(AddressRange::new(first, last, gateway, range.prefix).map_err(ResourceError::Range)?)
}

impl TryFrom<asn1::Machine> for Machine {
    type Error = GrantError;

    fn try_from(machine: asn1::Machine) -> Result<Self, GrantError> {
        let count = machine.networks.len() + machine.volumes.len();
        if count > Devices::MAX {
            return Err(ResourceError::TooManyDevices(count).into());
        }
        let networks = machine.networks.into_iter().map(TryInto::try_into);
        let volumes = machine.volumes.into_iter().map(TryInto::try_into);
        Ok(Self {
            image: machine.image.try_into()?,
            memory_mib: machine.memory,
            cpus: CpuSet::ascending(machine.cpus)?,
            devices: Devices::new(
                networks.collect::<Result<_, GrantError>>()?,
                volumes.collect::<Result<_, GrantError>>()?,
            )?,
            arguments: Arguments::new(machine.arguments)?,
            restart: machine.restart.try_into()?,
            replace: machine.replace,
            priority: machine.priority,
        }
        .checked()?)
    }
}

impl TryFrom<asn1::Image> for Image {
    type Error = GrantError;

    fn try_from(image: asn1::Image) -> Result<Self, GrantError> {
        Ok(match image {
            asn1::Image::Embedded(image) => Self::Embedded {
                encoding: match image.encoding {
                    asn1::Encoding::Identity => Encoding::Identity,
                    asn1::Encoding::Zstd => Encoding::Zstd,
                },
                size: image.size,
                data: image.data.to_vec(),
            },
            asn1::Image::Digest(image) => Self::Digest {
                sha256: Digest(octets("an image's digest", &image.sha256)?),
                size: image.size,
            },
        })
    }
}

impl TryFrom<asn1::Network> for Network {
    type Error = GrantError;

    fn try_from(network: asn1::Network) -> Result<Self, GrantError> {
        let mac = network.mac.map(|mac| octets("a MAC address", &mac)).transpose()?;
        let device = DeviceName::parse(&text(&network.device))?;
        Ok(Self::new(device, BridgeName::parse(&text(&network.bridge))?, mac)?)
    }
}

impl TryFrom<asn1::Volume> for Volume {
    type Error = GrantError;

    fn try_from(volume: asn1::Volume) -> Result<Self, GrantError> {
        let size = volume.sector_size.map(|size| SectorSize::new(size.into()));
        Ok(Self {
            device: DeviceName::parse(&text(&volume.device))?,
            volume: Label::parse(&text(&volume.volume)).map_err(ResourceError::Volume)?,
            sector_size: size.transpose()?,
        })
    }
}

impl TryFrom<asn1::Restart> for Restart {
    type Error = GrantError;

    fn try_from(restart: asn1::Restart) -> Result<Self, GrantError> {
        Ok(match restart {
            asn1::Restart::Never(()) => Self::Never,
            asn1::Restart::Always(()) => Self::Always,
            asn1::Restart::OnFailure(failure) => Self::on_failure(failure.codes, failure.limit)?,
        })
    }
}
