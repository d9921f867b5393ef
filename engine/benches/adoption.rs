//! What it costs the engine to take over machines that run, and to start them after a reboot.
//!
//! `cargo bench -p vmm-engine --bench adoption` prints the table and fails when a limit is exceeded.

#![allow(missing_docs, clippy::unwrap_used, reason = "a measurement, not a library")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vmm_engine::{
    Chain, Effect, Engine, Event, HostLimits, ImageId, Keep, Kind, KnownRun, Need, Now, Slot, Spec,
    Token,
};
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::name::{MachineName, Path};
use vmm_proto::resource::{Arguments, CpuSet, Devices, Restart};

/// The most that taking over one machine may take.
const LIMIT: Duration = Duration::from_micros(50);

const NOW: Now = Now { unix_ms: 1_700_000_000_000, monotonic_ms: 0 };

fn engine() -> Engine {
    let cpus: CpuSet = std::iter::once(0).collect();
    let host = HostLimits { machines: u32::MAX, memory_mib: u64::MAX, storage_mib: 0, cpus };
    Engine::new(host, Digest([0; 32]))
}

/// What is durable, and what vmm-spawn knows, when so many machines run.
fn running(machines: u64) -> (BTreeMap<Slot, Keep>, Vec<KnownRun>) {
    let mut engine = engine();
    let mut kept = BTreeMap::new();
    let mut handle = |event| {
        for effect in engine.handle(NOW, event) {
            if let Effect::Keep(keep) = effect {
                kept.insert(keep.slot(), keep);
            }
        }
    };
    let cpus: CpuSet = std::iter::once(0).collect();
    let name = |label: String| MachineName { path: Path::host(), label: label.parse().unwrap() };
    let (sha256, image) = (Digest([9; 32]), ImageId(1));
    handle(Event::SpawnKnows { same_boot: true, known: Vec::new(), jitter: 0 });
    handle(Event::OfferImage {
        token: Token(0),
        fresh: image,
        sha256,
        size: 1,
        name: name("m".to_owned()),
        need: Need {
            memory_mib: 1,
            cpus: cpus.clone(),
            devices: Devices::default(),
            arguments: Arguments::default(),
        },
        chain: Chain::default(),
        replace: false,
    });
    handle(Event::UploadEnded { image, stored: true });
    let mut known = Vec::new();
    for number in 0..machines {
        let id = MachineId((u128::from(number) << 64).to_be_bytes());
        handle(Event::Deploy {
            token: Token(number + 1),
            id,
            name: name(format!("m{number}")),
            spec: Spec {
                kind: Kind::Spt,
                image,
                image_sha256: sha256,
                image_size: 1,
                memory_mib: 1,
                cpus: cpus.clone(),
                devices: Devices::default(),
                arguments: Arguments::default(),
                restart: Restart::Always,
                priority: 50,
            },
            chain: Chain::default(),
            replace: false,
            probation_ms: 0,
        });
        handle(Event::Started { id, run: 1, pid: 1 });
        known.push(KnownRun { id, run: 1, pid: Some(1), ready: true });
    }
    (kept, known)
}

/// How long another engine takes until it has taken over, and how many effects that has.
fn take_over(
    kept: &BTreeMap<Slot, Keep>,
    known: &[KnownRun],
    same_boot: bool,
) -> (Duration, Vec<Effect>) {
    let (kept, known) = (kept.clone(), known.to_vec());
    let begun = Instant::now();
    let mut engine = engine();
    for keep in kept.into_values() {
        engine.restore(keep);
    }
    let effects = engine.handle(NOW, Event::SpawnKnows { same_boot, known, jitter: 0 });
    (begun.elapsed(), effects)
}

fn main() -> ExitCode {
    println!("{:>9}  {:>10}  {:>10}", "machines", "adopted", "rebooted");
    let mut within = true;
    for machines in [1_000, 10_000] {
        let (kept, known) = running(machines);
        let (adopted, effects) = take_over(&kept, &known, true);
        assert_eq!(effects, [Effect::Joined]);
        let (rebooted, _) = take_over(&kept, &[], false);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!("{machines:>9}  {:>7.2} ms  {:>7.2} ms", ms(adopted), ms(rebooted));
        let limit = LIMIT * u32::try_from(machines).unwrap();
        within &= adopted.max(rebooted) <= limit;
    }
    println!("limit: {LIMIT:?} a machine");
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
