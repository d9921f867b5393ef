//! Answers as JSON, with the field names that scripts rely on.

pub(crate) mod why;

use serde::{Serialize, Serializer};
use vmm_ca::describe::mac_address as hardware_address;
use vmm_proto::message::client;
use vmm_proto::message::{self, Output, Sample, Traffic};

use crate::failure;
use crate::time::rfc3339;

/// What a revocation list has done.
#[derive(Debug, Serialize)]
pub(crate) struct Revoked<'r> {
    pub(crate) issuer: &'r str,
    pub(crate) number: &'r str,
    pub(crate) serials: u32,
    pub(crate) machines: u32,
}

/// Whether the host takes new machines.
#[derive(Debug, Serialize)]
pub(crate) struct Doors {
    draining: bool,
    live: u32,
}

impl From<client::Doors> for Doors {
    fn from(client::Doors { draining, live }: client::Doors) -> Self {
        Self { draining, live }
    }
}

/// A private network of the host.
#[derive(Debug, Serialize)]
pub(crate) struct HostNetwork<'n> {
    name: &'n str,
    nat: String,
    uplink: Option<&'n str>,
    up: Option<bool>,
    problem: Option<&'n str>,
    machines: u32,
}

impl<'n> HostNetwork<'n> {
    pub(crate) fn of(info: &'n client::HostNetworkInfo) -> Self {
        let client::HostNetworkInfo { network, up, problem, machines } = info;
        Self {
            name: &network.name,
            nat: format!("{}/{}", network.address, network.prefix),
            uplink: network.uplink.as_deref(),
            up: *up,
            problem: problem.as_deref(),
            machines: *machines,
        }
    }
}

/// One listed machine.
#[derive(Debug, Serialize)]
pub(crate) struct Machine<'m> {
    name: &'m str,
    state: &'m str,
    id: String,
    pid: Option<u32>,
    kind: &'m str,
    memory_mib: u32,
    cpus: &'m [u16],
    image: Image,
    started: Option<String>,
    restarts: u32,
    exit: Option<Exit>,
    reason: Option<&'m str>,
    over_quota: bool,
    jail: &'m [String],
    run: u64,
    former: Option<String>,
    networks: Vec<Network<'m>>,
    /// No message carries them yet: a machine that asks for them is refused.
    volumes: [(); 0],
}

#[derive(Debug, Serialize)]
struct Network<'m> {
    device: &'m str,
    bridge: &'m str,
    tap: &'m str,
    mac: String,
    address: Option<String>,
    address6: Option<String>,
}

impl<'m> Network<'m> {
    fn of(network: &'m client::Network) -> Self {
        let client::Network { device, bridge, tap, mac, address, address6 } = network;
        Self {
            device,
            bridge,
            tap,
            mac: hardware_address(*mac),
            address: address.map(|(address, prefix)| format!("{address}/{prefix}")),
            address6: address6.map(|(address, prefix)| format!("{address}/{prefix}")),
        }
    }
}

#[derive(Debug, Serialize)]
struct Image {
    sha256: String,
    size: u32,
}

impl<'m> Machine<'m> {
    pub(crate) fn of(machine: &'m client::Machine) -> Self {
        let client::Machine {
            name,
            state,
            id,
            pid,
            kind,
            memory_mib,
            cpus,
            image_sha256,
            image_size,
            started_ms,
            restarts,
            exit,
            reason,
            over_quota,
            jail,
            run,
            former,
            networks,
        } = machine;
        Self {
            name,
            state,
            id: id.to_string(),
            pid: *pid,
            kind,
            memory_mib: *memory_mib,
            cpus,
            image: Image { sha256: image_sha256.to_string(), size: *image_size },
            started: started_ms.map(rfc3339),
            restarts: *restarts,
            exit: exit.map(Exit),
            reason: reason.as_deref(),
            over_quota: *over_quota,
            jail,
            run: *run,
            former: former.map(|former| former.to_string()),
            networks: networks.iter().map(Network::of).collect(),
            volumes: [],
        }
    }
}

/// How a machine ended: an object with one field that says it.
#[derive(Debug)]
pub(crate) struct Exit(pub(crate) message::Exit);

impl Serialize for Exit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use message::Exit as How;
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(1))?;
        match self.0 {
            How::Code(code) => map.serialize_entry("code", &code)?,
            How::Signal(signal) => map.serialize_entry("signal", &signal)?,
            How::OutOfMemory => map.serialize_entry("oom", &true)?,
            How::Unknown => map.serialize_entry("unknown", &true)?,
        }
        map.end()
    }
}

/// The limits at one path.
#[derive(Debug, Serialize)]
pub(crate) struct Quota<'q> {
    path: &'q str,
    machines: Amount,
    memory_mib: Amount,
    storage_mib: Amount,
    cpus: &'q [u16],
    bridges: &'q [String],
}

#[derive(Debug, Serialize)]
struct Amount {
    limit: u64,
    used: u64,
}

impl<'q> Quota<'q> {
    pub(crate) fn of(quota: &'q client::Quota) -> Self {
        let client::Quota { path, machines, memory_mib, storage_mib, cpus, bridges } = quota;
        let amount =
            |client::Amount { limit, used }: &client::Amount| Amount { limit: *limit, used: *used };
        Self {
            path,
            machines: amount(machines),
            memory_mib: amount(memory_mib),
            storage_mib: amount(storage_mib),
            cpus,
            bridges,
        }
    }
}

/// What one machine uses.
#[derive(Debug, Serialize)]
pub(crate) struct Usage<'u> {
    name: &'u str,
    id: String,
    samples: Vec<Measured>,
    interfaces: Vec<Interface<'u>>,
}

/// What went through a network interface, from the machine's point of view: numbers since its
/// start, null when it was not seen yet.
#[derive(Debug, Serialize)]
struct Interface<'u> {
    device: &'u str,
    received_packets: Option<u64>,
    received_bytes: Option<u64>,
    received_dropped: Option<u64>,
    sent_packets: Option<u64>,
    sent_bytes: Option<u64>,
    sent_dropped: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Measured {
    time: String,
    user_us: u64,
    system_us: u64,
    resident_bytes: u64,
    minor_faults: u64,
    major_faults: u64,
}

impl<'u> Usage<'u> {
    pub(crate) fn of(usage: &'u client::Usage) -> Self {
        let client::Usage { name, id, samples, interfaces } = usage;
        Self {
            name,
            id: id.to_string(),
            samples: samples.iter().map(Measured::of).collect(),
            interfaces: interfaces.iter().map(Interface::of).collect(),
        }
    }
}

impl<'u> Interface<'u> {
    fn of(interface: &'u client::InterfaceUsage) -> Self {
        let client::InterfaceUsage { device, traffic } = interface;
        let count = |what: fn(&Traffic) -> u64| traffic.as_ref().map(what);
        Self {
            device,
            received_packets: count(|traffic| traffic.received_packets),
            received_bytes: count(|traffic| traffic.received_bytes),
            received_dropped: count(|traffic| traffic.received_dropped),
            sent_packets: count(|traffic| traffic.sent_packets),
            sent_bytes: count(|traffic| traffic.sent_bytes),
            sent_dropped: count(|traffic| traffic.sent_dropped),
        }
    }
}

impl Measured {
    fn of(sample: &Sample) -> Self {
        let Sample { time_ms, user_us, system_us, resident, minor_faults, major_faults } = *sample;
        Self {
            time: rfc3339(time_ms),
            user_us,
            system_us,
            resident_bytes: resident,
            minor_faults,
            major_faults,
        }
    }
}

/// Something that happens to a machine whose console is read; one a line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Event<'e> {
    Deployed(Machine<'e>),
    Output {
        position: u64,
        time: String,
        /// The bytes when they are UTF-8.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<&'e str>,
        /// The bytes in hexadecimal digits when they are not.
        #[serde(skip_serializing_if = "Option::is_none")]
        hex: Option<String>,
    },
    Lost {
        position: u64,
        bytes: u64,
    },
    Ended {
        state: &'e str,
        exit: Option<Exit>,
    },
}

impl<'e> Event<'e> {
    pub(crate) fn output(output: &'e Output) -> Self {
        match output {
            Output::Bytes { position, time_ms, data } => {
                let text = std::str::from_utf8(data).ok();
                Self::Output {
                    position: *position,
                    time: rfc3339(*time_ms),
                    text,
                    hex: text.is_none().then(|| hexadecimal(data)),
                }
            }
            Output::Gap { position, bytes } => Self::Lost { position: *position, bytes: *bytes },
        }
    }

    pub(crate) fn ended(state: &'e str, exit: Option<message::Exit>) -> Self {
        Self::Ended { state, exit: exit.map(Exit) }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// How many attachments were ended.
#[derive(Debug, Serialize)]
pub(crate) struct Detached {
    pub(crate) detached: u32,
}

/// A command that has no other answer was done.
#[derive(Debug, Serialize)]
pub(crate) struct Done<'d> {
    pub(crate) done: &'d str,
    pub(crate) name: &'d str,
}

/// Why a command failed.
#[derive(Debug, Serialize)]
pub(crate) struct Failed<'f> {
    error: What<'f>,
}

#[derive(Debug, Serialize)]
struct What<'f> {
    code: &'static str,
    message: &'f str,
}

impl<'f> Failed<'f> {
    pub(crate) fn of(failure: &'f failure::Failure) -> Self {
        Self { error: What { code: failure.code.as_str(), message: &failure.message } }
    }
}

#[cfg(test)]
pub(crate) mod tests;
