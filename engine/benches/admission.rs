//! What deciding about a deploy costs, with few and with many machines on the host.
//!
//! `cargo bench -p vmm-engine --bench admission` prints the table and fails when a limit is exceeded.
//!
//! Two things grow with the number of machines, and each has its column:
//!
//! * *the same 100*: on each host the same number of tenants deploy, in turn. The hosts differ in how
//!   many other machines there are, and in nothing else. This is what "flat" means: from the smallest
//!   host to the largest one it grows by [`GROWTH`] at most.
//! * *all in turn*: every tenant of the host deploys, one after the other, and with 10,000 of them
//!   none twice. What a decision needs to know of a tenant is then no longer in the processor's caches:
//!   this adds what fetching it takes, which is the memory's cost and not a search's.
//!
//! The smallest host has 100 tenants, so that its two columns are the same. No column may be above the
//! limit of its kind of machines: those without a network, and those with one, on one bridge for all, which
//! get an address of their tenant's range.
//!
//! All hosts are there from the beginning, and are measured in turn over several rounds, so that
//! whatever else the computer does hits all alike. The table has medians over all rounds; the growth
//! is the median of what it was in each round, since a round is short and the computer may be slower
//! in the next one.

#![allow(missing_docs, clippy::unwrap_used, reason = "a measurement, not a library")]

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vmm_engine::{
    Answer, Chain, Effect, Engine, Event, HostLimits, ImageId, Kind, Need, Now, Spec, Token,
};
use vmm_proto::authority::{Link, Serial, Validity};
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::name::{Label, MachineName, Path};
use vmm_proto::resource::{
    AddressRange, Arguments, Bridge, BridgeName, Bridges, CpuSet, Delegation, DeviceName, Devices,
    Network, Restart,
};

/// Machines in each path.
const PER_PATH: usize = 10;
/// Machines on each of the hosts.
const LEVELS: [usize; 3] = [1_000, 10_000, 100_000];
/// Tenants that deploy on each host for the first column: all that the smallest one has.
const ACTIVE: usize = LEVELS[0] / PER_PATH;
/// How often each host is measured.
const ROUNDS: usize = 45;
/// Decisions that are measured in a round, for each column: not more in all rounds than the largest
/// host has tenants.
const SAMPLES: usize = 200;
/// A prime number: with steps of this size all tenants have their turn, and never neighbours.
const STRIDE: usize = 7919;
/// Whether machines have a network, and the most that a decision may take, in the median.
const KINDS: [(bool, Duration); 2] =
    [(false, Duration::from_micros(5)), (true, Duration::from_micros(30))];
/// How many times as long a decision for the same number of tenants may take on the largest host.
const GROWTH: f64 = 1.5;

fn cpus() -> CpuSet {
    std::iter::once(0).collect()
}

/// The bridge of all, with the addresses from `10.first.0` to `10.last.255`; all have the same gateway.
fn bridges(first: u16, last: u16) -> Bridges {
    let at = |number: u16, last: u8| {
        let [high, low] = number.to_be_bytes();
        IpAddr::from([10, high, low, last])
    };
    let range = AddressRange::new(at(first, 0), at(last, 255), at(u16::MAX, 254), 8).unwrap();
    let bridge = Bridge::new(BridgeName::parse("ext").unwrap(), Some(range), None).unwrap();
    Bridges::new(vec![bridge]).unwrap()
}

fn link(issuer: Digest, label: &Label, key: Digest, bridges: Bridges) -> Link {
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
            bridges,
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

/// A name that shares nothing with what the engine has, like one that came with a request.
fn name(path: &Path, label: &str) -> MachineName {
    MachineName::parse(&format!("{path}/{label}")).unwrap()
}

/// A host with many tenants, each two levels deep.
struct Host {
    engine: Engine,
    tokens: u64,
    tenants: Vec<(Path, Vec<Link>, ImageId)>,
    /// What each machine asks for.
    devices: Devices,
}

impl Host {
    fn with(machines: usize, networked: bool) -> Self {
        let limits =
            HostLimits { machines: u32::MAX, memory_mib: u64::MAX, storage_mib: 0, cpus: cpus() };
        let root = Digest([0; 32]);
        let (engine, tenants) = (Engine::new(limits, root), Vec::new());
        let network = |bridge| Network::new(DeviceName::parse("service").unwrap(), bridge, None);
        let networks = networked.then(|| network(BridgeName::parse("ext").unwrap()).unwrap());
        let devices = Devices::new(networks.into_iter().collect(), vec![]).unwrap();
        let mut host = Self { engine, tokens: 0, tenants, devices };
        host.handle(Event::SpawnKnows { same_boot: true, known: Vec::new(), jitter: 0 });
        for tenant in 0..machines / PER_PATH {
            let top: Label = format!("t{}", tenant / 1000).parse().unwrap();
            let own: Label = format!("p{tenant}").parse().unwrap();
            let top_key = key(tenant as u64 / 1000);
            let own_key = key(1 << 32 | tenant as u64);
            let number = u16::try_from(tenant + 1).unwrap();
            let [of_top, of_own] = if networked {
                [bridges(1, u16::MAX - 1), bridges(number, number)]
            } else {
                [Bridges::default(), Bridges::default()]
            };
            let links =
                vec![link(root, &top, top_key, of_top), link(top_key, &own, own_key, of_own)];
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
            name: name(path, "m"),
            need: Need {
                memory_mib: 1,
                cpus: cpus(),
                devices: self.devices.clone(),
                arguments: Arguments::default(),
            },
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
            name: name(path, label),
            spec: Spec {
                kind: Kind::Spt,
                image: *image,
                image_sha256: Digest([9; 32]),
                image_size: 1,
                memory_mib: 1,
                cpus: cpus(),
                devices: self.devices.clone(),
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
            spent: None,
            jitter: 0,
        });
        let done = |effect: &Effect| {
            matches!(effect, Effect::Reply { answer: Ok(Answer::Destroyed { .. }), .. })
        };
        assert!(effects.iter().any(done));
    }
}

/// A host, and what was measured on it.
struct Level {
    machines: usize,
    host: Host,
    /// Deploys of all tenants up to now.
    turns: usize,
    /// For the same number of tenants on every host.
    same: Vec<Duration>,
    /// The median of each round of these.
    rounds: Vec<Duration>,
    /// For all tenants.
    all: Vec<Duration>,
}

impl Level {
    fn of(machines: usize, networked: bool) -> Self {
        let host = Host::with(machines, networked);
        Self { machines, host, turns: 0, same: Vec::new(), rounds: Vec::new(), all: Vec::new() }
    }

    fn sample(&mut self, tenant: usize) -> Duration {
        let (id, took) = self.host.deploy(tenant, "new");
        self.host.destroy(id);
        took
    }

    fn round(&mut self) {
        let tenants = self.host.tenants.len();
        let active = |turn: usize| turn % ACTIVE * (tenants / ACTIVE);
        // The other hosts had the caches: once around, and those that are active have them again.
        for turn in 0..ACTIVE {
            self.sample(active(turn));
        }
        let mut same: Vec<_> = (0..SAMPLES).map(|turn| self.sample(active(turn))).collect();
        self.rounds.push(median(&mut same));
        self.same.append(&mut same);
        for _ in 0..SAMPLES {
            let took = self.sample(self.turns * STRIDE % tenants);
            self.turns += 1;
            self.all.push(took);
        }
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// How many times as long as on the one host it takes on the other, for the same number of tenants.
fn growth(few: &Level, many: &Level) -> f64 {
    let rounds = few.rounds.iter().zip(&many.rounds);
    let mut growths: Vec<f64> = rounds.map(|(few, many)| micros(*many) / micros(*few)).collect();
    growths.sort_unstable_by(f64::total_cmp);
    growths[growths.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Measures hosts whose machines have a network or none; whether all is within its limits.
fn measure(networked: bool, limit: Duration) -> bool {
    let mut levels = LEVELS.map(|machines| Level::of(machines, networked));
    for _ in 0..ROUNDS {
        levels.iter_mut().for_each(Level::round);
    }
    let growth = growth(&levels[0], &levels[LEVELS.len() - 1]);
    println!("{} a network:", if networked { "with" } else { "without" });
    println!("{:>9}  {:>7}  {:>12}  {:>12}", "machines", "tenants", "the same 100", "all in turn");
    let medians = levels.map(|mut level| {
        let (same, all) = (median(&mut level.same), median(&mut level.all));
        println!(
            "{:>9}  {:>7}  {:>9.2} µs  {:>9.2} µs",
            level.machines,
            level.host.tenants.len(),
            micros(same),
            micros(all)
        );
        (same, all)
    });
    println!(
        "100 times the machines, the same tenants: {growth:.2} times the time (limit {GROWTH})"
    );
    println!("limit of a decision: {limit:?}");
    medians.iter().all(|(same, all)| *same <= limit && *all <= limit) && growth <= GROWTH
}

fn main() -> ExitCode {
    let within = KINDS.map(|(networked, limit)| measure(networked, limit));
    if within == [true; 2] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
