//! From the types with rules to the types with bytes.

use std::net::IpAddr;

use rasn::types::{BitString, Ia5String, OctetString};

use super::{Grant, asn1};
use crate::id::Digest;
use crate::permission::Permissions;
use crate::resource::{
    AddressRange, Bridge, Delegation, Encoding, Image, Machine, Network, Restart, Volume,
};

impl From<&Grant> for asn1::Grant {
    fn from(grant: &Grant) -> Self {
        match grant {
            Grant::Delegation(delegation) => Self::Delegation(delegation.into()),
            Grant::Permissions(permissions) => Self::Permissions(bits(*permissions)),
            Grant::Machine(machine) => Self::Machine(machine.into()),
        }
    }
}

/// A named bit list has no trailing zeros in DER (X.690, 11.2.2).
fn bits(permissions: Permissions) -> BitString {
    let mut bits = BitString::new();
    for permission in permissions.iter() {
        let bit = permission as usize;
        bits.resize(bit, false);
        bits.push(true);
    }
    bits
}

/// Names are checked to be ASCII where they are made.
fn ia5(text: &str) -> Ia5String {
    Ia5String::from_iso646_bytes(text.as_bytes()).unwrap_or_else(|_| {
        debug_assert!(false, "\"{text}\" is not ASCII");
        Ia5String::default()
    })
}

fn digest(digest: &Digest) -> OctetString {
    OctetString::from_slice(&digest.0)
}

impl From<&Delegation> for asn1::Delegation {
    fn from(delegation: &Delegation) -> Self {
        Self {
            generation: delegation.generation,
            machines: delegation.machines,
            memory: delegation.memory_mib,
            cpus: delegation.cpus.ids().to_vec(),
            storage: delegation.storage_mib,
            bridges: delegation.bridges.iter().map(Into::into).collect(),
            hosts: delegation.hosts.as_ref().map(|hosts| hosts.keys().iter().map(digest).collect()),
        }
    }
}

impl From<&Bridge> for asn1::Bridge {
    fn from(bridge: &Bridge) -> Self {
        Self {
            name: ia5(bridge.name().as_str()),
            range: bridge.range().map(Into::into),
            range6: bridge.range6().map(Into::into),
        }
    }
}

impl From<&AddressRange> for asn1::Range {
    fn from(range: &AddressRange) -> Self {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => OctetString::from_slice(&address.octets()),
            IpAddr::V6(address) => OctetString::from_slice(&address.octets()),
        };
        Self {
            first: octets(range.first()),
            last: octets(range.last()),
            gateway: octets(range.gateway()),
            prefix: range.prefix(),
        }
    }
}

impl From<&Machine> for asn1::Machine {
    fn from(machine: &Machine) -> Self {
        Self {
            image: (&machine.image).into(),
            memory: machine.memory_mib,
            cpus: machine.cpus.ids().to_vec(),
            networks: machine.devices.networks().iter().map(Into::into).collect(),
            volumes: machine.devices.volumes().iter().map(Into::into).collect(),
            arguments: machine.arguments.words().to_vec(),
            restart: (&machine.restart).into(),
            replace: machine.replace,
            priority: machine.priority,
        }
    }
}

impl From<&Image> for asn1::Image {
    fn from(image: &Image) -> Self {
        match image {
            Image::Embedded { encoding, size, data } => Self::Embedded(asn1::Embedded {
                encoding: match encoding {
                    Encoding::Identity => asn1::Encoding::Identity,
                    Encoding::Zstd => asn1::Encoding::Zstd,
                },
                size: *size,
                data: OctetString::from_slice(data),
            }),
            Image::Digest { sha256, size } => {
                Self::Digest(asn1::Named { sha256: digest(sha256), size: *size })
            }
        }
    }
}

impl From<&Network> for asn1::Network {
    fn from(network: &Network) -> Self {
        Self {
            device: ia5(network.device.as_str()),
            bridge: ia5(network.bridge.as_str()),
            mac: network.mac.map(|mac| OctetString::from_slice(&mac)),
        }
    }
}

impl From<&Volume> for asn1::Volume {
    fn from(volume: &Volume) -> Self {
        Self {
            device: ia5(volume.device.as_str()),
            volume: ia5(volume.volume.as_str()),
            sector_size: volume.sector_size.map(|size| size.bytes().into()),
        }
    }
}

impl From<&Restart> for asn1::Restart {
    fn from(restart: &Restart) -> Self {
        match restart {
            Restart::Never => Self::Never(()),
            Restart::Always => Self::Always(()),
            Restart::OnFailure { codes, limit } => {
                Self::OnFailure(asn1::OnFailure { codes: codes.clone(), limit: *limit })
            }
        }
    }
}
