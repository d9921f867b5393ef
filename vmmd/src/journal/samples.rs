//! Things that are kept, for tests.

use std::sync::Arc;

use vmm_engine::{ImageId, KeptMachine, KeptPhase, Kind, Spec};
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::name::MachineName;
use vmm_proto::resource::{Arguments, Devices, Restart};

/// A machine that uses this image, of 5 bytes, and has this number as its id.
pub(crate) fn machine(image: u64, phase: KeptPhase) -> KeptMachine {
    let spec = Spec {
        kind: Kind::Spt,
        image: ImageId(image),
        image_sha256: Digest([7; 32]),
        image_size: 5,
        memory_mib: 64,
        cpus: [0].into_iter().collect(),
        devices: Devices::default(),
        arguments: Arguments::default(),
        restart: Restart::Always,
        priority: 50,
    };
    KeptMachine {
        id: MachineId(u128::from(image).to_be_bytes()),
        name: MachineName::parse(&format!("dev/m{image}")).unwrap(),
        spec: Arc::new(spec),
        chain: Arc::new([]),
        leaf: None,
        interfaces: Arc::new([]),
        run: 1,
        phase,
        pid: None,
        started_unix_ms: None,
        exit: None,
        reason: None,
        in_a_row: 0,
        restarts: 0,
        output_end: 0,
        looked_s: 0,
        probation: None,
    }
}
