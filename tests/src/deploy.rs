//! What is deployed where any machine will do.

use vmm_proto::grant::Grant;
use vmm_proto::id::Digest;
use vmm_proto::message::client::{Described, Request};
use vmm_proto::resource::{Arguments, CpuSet, Devices, Image, Machine, Restart};

/// A machine of 8 MiB on CPU 0, without devices, whose image has this SHA-256 and so many bytes.
pub fn machine(sha256: [u8; 32], size: u32) -> Machine {
    Machine {
        image: Image::Digest { sha256: Digest(sha256), size },
        memory_mib: 8,
        cpus: CpuSet::ascending(vec![0]).expect("one CPU ascends"),
        devices: Devices::default(),
        arguments: Arguments::default(),
        restart: Restart::Never,
        replace: false,
        priority: 0,
    }
}

/// A machine and its name, as a client that has no certificate for it describes them.
pub fn described(name: &str, machine: Machine) -> Described {
    Described { name: name.to_owned(), grant: Grant::Machine(machine).to_der() }
}

/// A request to deploy it; `None`: the machine of the client's own certificate.
pub fn request(described: Option<Described>) -> Request {
    Request::Deploy { described, attach: false, probation_ms: None }
}
