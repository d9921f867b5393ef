//! Why a machine does not get the networks that it asks for.

use std::net::IpAddr;

use vmm_proto::name::{MachineName, Path};
use vmm_proto::resource::{AddressRange, Arguments, BridgeName, DeviceName, Family};

/// Why a machine does not get the networks that it asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkRefusal {
    /// All addresses of a delegation on a bridge are taken.
    #[error(
        "no {family} address is free on bridge \"{bridge}\" for delegation \"{path}\", which has \
         {first} to {last}; destroy a machine that is not needed any more, also an ended one, or ask \
         the issuer for a larger range"
    )]
    NoAddress {
        /// the delegation
        path: Path,
        /// the bridge
        bridge: BridgeName,
        /// of which family
        family: Family,
        /// the first address that the delegation may give
        first: IpAddr,
        /// the last one
        last: IpAddr,
    },
    /// A delegation further up was renewed, and its range is not that of the ones below any more.
    #[error(
        "bridge \"{bridge}\": the {family} addresses of delegation \"{path}\" do not lie in those \
         that \"{above}\" has now ({why}); ask the issuer of \"{path}\" for a new certificate"
    )]
    Diverged {
        /// the delegation of the machine
        path: Path,
        /// the one further up
        above: Path,
        /// the bridge
        bridge: BridgeName,
        /// of which family
        family: Family,
        /// in what they differ
        why: &'static str,
    },
    /// An argument sets an address in a way that is not understood.
    #[error("the argument {option} {why}")]
    Argument {
        /// the option, as it is written: `--ipv4`
        option: String,
        /// what is wrong with it
        why: String,
    },
    /// An argument sets an address that is not the delegation's to give.
    #[error(
        "the argument {option} sets {value}, which delegation \"{path}\" does not give on bridge \
         \"{bridge}\" (it has {range}): {why}; leave the argument out to be given what is right"
    )]
    NotDelegated {
        /// the option, as it is written: `--ipv4`
        option: String,
        /// its value
        value: String,
        /// the delegation
        path: Path,
        /// the bridge
        bridge: BridgeName,
        /// what the delegation has there
        range: Box<AddressRange>,
        /// what is wrong
        why: String,
    },
    /// An argument sets an address that another machine has.
    #[error(
        "the argument {option} sets {address}, which {} on bridge \"{bridge}\" has; leave the \
         argument out to be given a free one", other(by.as_ref())
    )]
    AddressInUse {
        /// the option, as it is written: `--ipv4`
        option: String,
        /// the address
        address: IpAddr,
        /// the bridge
        bridge: BridgeName,
        /// the machine, if it is below the requester's path
        by: Option<MachineName>,
    },
    /// The hardware address that was asked for is another machine's.
    #[error(
        "network \"{device}\": {} on bridge \"{bridge}\" has the hardware address {}; ask for \
         another one, or for none to have one derived", other(by.as_ref()), octets(*mac)
    )]
    MacInUse {
        /// the network
        device: DeviceName,
        /// the bridge
        bridge: BridgeName,
        /// the hardware address
        mac: [u8; 6],
        /// the machine, if it is below the requester's path
        by: Option<MachineName>,
    },
    /// Two networks of a machine ask for the same hardware address on the same bridge.
    #[error(
        "network \"{device}\" asks for the hardware address {} on bridge \"{bridge}\", as another \
         network of this machine does; give each one of its own", octets(*mac)
    )]
    MacTwice {
        /// the second network
        device: DeviceName,
        /// the bridge
        bridge: BridgeName,
        /// the hardware address
        mac: [u8; 6],
    },
    /// There is no room for the arguments that tell a guest its addresses.
    #[error(
        "with the addresses of its networks the machine has too many arguments: a guest takes {max} \
         words, and joined by spaces {bytes} bytes; shorten its own",
        max = Arguments::MAX, bytes = Arguments::MAX_BYTES
    )]
    Arguments,
}

impl NetworkRefusal {
    /// A short name for programs, stable.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoAddress { .. }
            | Self::Diverged { .. }
            | Self::NotDelegated { .. }
            | Self::AddressInUse { .. } => "address",
            Self::MacInUse { .. } | Self::MacTwice { .. } => "mac",
            Self::Argument { .. } | Self::Arguments => "arguments",
        }
    }

    /// The same, for someone who may not list machines.
    pub(crate) fn without_names(&mut self) {
        if let Self::AddressInUse { by, .. } | Self::MacInUse { by, .. } = self {
            *by = None;
        }
    }
}

fn other(by: Option<&MachineName>) -> String {
    by.map_or_else(|| "another machine".to_owned(), |name| format!("\"{name}\""))
}

fn octets(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}
