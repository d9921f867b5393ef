//! The devices that an image declares, and those that its machine has.
//!
//! The ABI wants both to be the same: a guest finds each of its devices by name, and a tender starts
//! no image with one more or one less.

use std::collections::BTreeSet;

use vmm_proto::resource::{DeviceName, Devices};

/// The devices that an image declares: at most 63 together, as its manifest has room for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Declared {
    /// The network devices.
    pub(crate) networks: BTreeSet<DeviceName>,
    /// The block devices.
    pub(crate) volumes: BTreeSet<DeviceName>,
}

/// In what a machine is not one for its image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mismatch {
    /// the image needs the {kind} device "{name}", which the machine does not have: `{way_out}`
    #[error(
        "the image needs the {kind} device \"{name}\", which the machine does not have: {way_out}"
    )]
    Missing {
        /// network or block
        kind: &'static str,
        /// its name
        name: DeviceName,
        /// the option that gives it one
        way_out: String,
    },
    /// the machine has the {kind} device "{name}", which the image does not declare: `{way_out}`
    #[error(
        "the machine has the {kind} device \"{name}\", which the image does not declare: {way_out}"
    )]
    Unknown {
        /// network or block
        kind: &'static str,
        /// its name
        name: DeviceName,
        /// what the image declares
        way_out: String,
    },
}

impl Declared {
    /// What the image of a machine declares that was accepted with these devices.
    pub(crate) fn by(devices: &Devices) -> Self {
        Self {
            networks: devices.networks().iter().map(|network| network.device.clone()).collect(),
            volumes: devices.volumes().iter().map(|volume| volume.device.clone()).collect(),
        }
    }

    /// Whether a machine has just these devices.
    ///
    /// # Errors
    /// The first that is missing, or else the first that is too much.
    pub(crate) fn check(&self, devices: &Devices) -> Result<(), Mismatch> {
        let had = Self::by(devices);
        let kinds = [
            ("network", "--network", "BRIDGE", &self.networks, &had.networks),
            ("block", "--volume", "VOLUME", &self.volumes, &had.volumes),
        ];
        for (kind, option, place, declared, had) in kinds {
            if let Some(name) = declared.difference(had).next().cloned() {
                let way_out = format!("request it with {option} {name}={place}");
                return Err(Mismatch::Missing { kind, name, way_out });
            }
        }
        for (kind, _, _, declared, had) in kinds {
            if let Some(name) = had.difference(declared).next().cloned() {
                let names: Vec<_> = declared.iter().map(DeviceName::as_str).collect();
                let way_out = match names.as_slice() {
                    [] => format!("it has no {kind} devices"),
                    names => format!("its {kind} devices are {}", names.join(", ")),
                };
                return Err(Mismatch::Unknown { kind, name, way_out });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use vmm_proto::resource::{BridgeName, Network, Volume};

    use super::*;

    fn name(name: &str) -> DeviceName {
        DeviceName::parse(name).unwrap()
    }

    fn devices(networks: &[&str], volumes: &[&str]) -> Devices {
        let bridge = BridgeName::parse("ext").unwrap();
        let network = |device: &&str| Network::new(name(device), bridge.clone(), None).unwrap();
        let volume = |device: &&str| Volume {
            device: name(device),
            volume: "data".parse().unwrap(),
            sector_size: None,
        };
        let (networks, volumes) = (networks.iter().map(network), volumes.iter().map(volume));
        Devices::new(networks.collect(), volumes.collect()).unwrap()
    }

    #[test]
    fn a_machine_has_just_the_devices_of_its_image_in_any_order() {
        let declared = Declared::by(&devices(&["a", "b"], &["disk"]));
        assert_eq!(declared.check(&devices(&["b", "a"], &["disk"])), Ok(()));
        assert_eq!(Declared::default().check(&Devices::default()), Ok(()));
    }

    #[test]
    fn what_is_missing_is_named_with_the_option_that_gives_it() {
        let declared = Declared::by(&devices(&["service"], &["disk"]));
        let missing = |devices: &Devices| declared.check(devices).unwrap_err().to_string();
        assert_eq!(
            missing(&devices(&["other"], &["disk"])),
            "the image needs the network device \"service\", which the machine does not have: \
             request it with --network service=BRIDGE"
        );
        assert_eq!(
            missing(&devices(&["service"], &[])),
            "the image needs the block device \"disk\", which the machine does not have: request \
             it with --volume disk=VOLUME"
        );
    }

    #[test]
    fn what_is_too_much_is_named_with_what_there_is() {
        let declared = Declared::by(&devices(&["a", "b"], &[]));
        let unknown = |devices: &Devices| declared.check(devices).unwrap_err().to_string();
        assert_eq!(
            unknown(&devices(&["a", "b", "c"], &[])),
            "the machine has the network device \"c\", which the image does not declare: its \
             network devices are a, b"
        );
        assert_eq!(
            unknown(&devices(&["a", "b"], &["disk"])),
            "the machine has the block device \"disk\", which the image does not declare: it has \
             no block devices"
        );
    }

    #[test]
    fn a_device_of_the_other_kind_is_not_the_one_that_is_declared() {
        let declared = Declared::by(&devices(&["a"], &[]));
        assert!(matches!(declared.check(&devices(&[], &["a"])), Err(Mismatch::Missing { .. })));
    }
}
