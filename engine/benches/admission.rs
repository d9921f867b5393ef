//! What deciding about a deploy costs, with few and with many machines on the host.
//!
//! `cargo bench -p vmm-engine` prints the table and fails when a limit is exceeded.

#![allow(missing_docs, clippy::unwrap_used, reason = "a measurement, not a library")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use vmm_engine::{
    Answer, Chain, Effect, Engine, Event, HostLimits, ImageId, Kind, Need, Now, Spec, Token,
};
use vmm_proto::authority::{Link, Serial, Validity};
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::name::{Label, MachineName, Path};
use vmm_proto::resource::{Arguments, Bridges, CpuSet, Delegation, Devices, Restart};

/// Machines in each path.
const PER_PATH: usize = 10;
/// Decisions that are measured.
const SAMPLES: usize = 2000;
/// The most that a decision may take, in the median.
const LIMIT: Duration = Duration::from_micros(5);

fn cpus() -> CpuSet {
    std::iter::once(0).collect()
}

fn link(issuer: Digest, label: &Label, key: Digest) -> Link {
    Link {
        label: label.clone(),
        issuer,
        key,
        serial: Serial([1].into()),
        grant: Delegation {
            generation: 1,
            machines: u16::MAX,
            memory_mib: u32::MAX,
            cpus: cpus(),
            storage_mib: 0,
            bridges: Bridges::default(),
            hosts: None,
        },
        validity: Validity::ALWAYS,
    }
}

fn key(number: u64) -> Digest {
    let mut key = [1; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    Digest(key)
}

/// A host with many tenants, each two levels deep.
struct Host {
    engine: Engine,
    tokens: u64,
    tenants: Vec<(Path, Vec<Link>, ImageId)>,
}

impl Host {
    fn with(machines: usize) -> Self {
        let limits =
            HostLimits { machines: u32::MAX, memory_mib: u64::MAX, storage_mib: 0, cpus: cpus() };
        let root = Digest([0; 32]);
        let mut host = Self { engine: Engine::new(limits, root), tokens: 0, tenants: Vec::new() };
        host.handle(Event::SpawnKnows { same_boot: true, known: Vec::new(), jitter: 0 });
        for tenant in 0..machines / PER_PATH {
            let top: Label = format!("t{}", tenant / 1000).parse().unwrap();
            let own: Label = format!("p{tenant}").parse().unwrap();
            let top_key = key(tenant as u64 / 1000);
            let links =
                vec![link(root, &top, top_key), link(top_key, &own, key(1 << 32 | tenant as u64))];
            let path = Path::new(vec![top, own]).unwrap();
            let image = host.upload(&path, &links);
            host.tenants.push((path, links, image));
        }
        for number in 0..machines {
            let (tenant, label) = (number % host.tenants.len(), format!("m{number}"));
            let (id, _) = host.deploy(tenant, &label);
            host.handle(Event::Started { id, run: 1, pid: 1 });
        }
        host
    }

    fn handle(&mut self, event: Event) -> Vec<Effect> {
        self.engine.handle(Now { unix_ms: 1_700_000_000_000, monotonic_ms: self.tokens }, event)
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    fn upload(&mut self, path: &Path, links: &[Link]) -> ImageId {
        let token = self.token();
        let image = ImageId(token.0);
        self.handle(Event::OfferImage {
            token,
            fresh: image,
            sha256: Digest([9; 32]),
            size: 1,
            name: MachineName { path: path.clone(), label: "m".parse().unwrap() },
            need: Need { memory_mib: 1, cpus: cpus(), devices: Devices::default() },
            chain: Chain { links: links.to_vec(), ..Chain::default() },
            replace: false,
        });
        self.handle(Event::UploadEnded { image, stored: true });
        image
    }

    /// Deploys a machine; how long the engine took to decide.
    fn deploy(&mut self, tenant: usize, label: &str) -> (MachineId, Duration) {
        let token = self.token();
        let (path, links, image) = &self.tenants[tenant];
        let id = MachineId((u128::from(token.0) << 64).to_be_bytes());
        let event = Event::Deploy {
            token,
            id,
            name: MachineName { path: path.clone(), label: label.parse().unwrap() },
            spec: Spec {
                kind: Kind::Spt,
                image: *image,
                image_sha256: Digest([9; 32]),
                image_size: 1,
                memory_mib: 1,
                cpus: cpus(),
                devices: Devices::default(),
                arguments: Arguments::default(),
                restart: Restart::Never,
                priority: 50,
            },
            chain: Chain { links: links.clone(), ..Chain::default() },
            replace: false,
            probation_ms: 0,
        };
        let now = Now { unix_ms: 1_700_000_000_000, monotonic_ms: self.tokens };
        let begun = Instant::now();
        let effects = self.engine.handle(now, event);
        let took = begun.elapsed();
        let started = |effect: &Effect| matches!(effect, Effect::StartMachine { .. });
        assert!(effects.iter().any(started), "{effects:?}");
        (id, took)
    }

    fn destroy(&mut self, id: MachineId) {
        let name = self.engine.by_id(id).unwrap().name.clone();
        let token = self.token();
        self.handle(Event::Started { id, run: 1, pid: 1 });
        self.handle(Event::Destroy { token, name });
        let effects = self.handle(Event::Exited {
            id,
            run: 1,
            exit: vmm_engine::Exit::Code(0),
            output_end: 0,
            jitter: 0,
        });
        let done = |effect: &Effect| {
            matches!(effect, Effect::Reply { answer: Ok(Answer::Destroyed { .. }), .. })
        };
        assert!(effects.iter().any(done));
    }

    /// The median time of a decision, with as many machines as there are.
    fn median(&mut self) -> Duration {
        let mut times = Vec::new();
        for sample in 0..SAMPLES {
            let tenant = sample * 7919 % self.tenants.len();
            let (id, took) = self.deploy(tenant, "new");
            self.destroy(id);
            times.push(took);
        }
        times.sort_unstable();
        times[SAMPLES / 2]
    }
}

fn main() -> ExitCode {
    println!("{:>9}  {:>7}  {:>10}", "machines", "paths", "a deploy");
    let mut medians = Vec::new();
    for machines in [1_000, 10_000, 100_000] {
        let mut host = Host::with(machines);
        let median = host.median();
        println!(
            "{machines:>9}  {:>7}  {:>7.2} µs",
            host.tenants.len(),
            median.as_secs_f64() * 1e6
        );
        medians.push(median);
    }
    let growth = medians[2].as_secs_f64() / medians[0].as_secs_f64();
    println!("100 times the machines: {growth:.2} times the time; limit of a decision: {LIMIT:?}");
    if medians.iter().all(|median| *median <= LIMIT) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
