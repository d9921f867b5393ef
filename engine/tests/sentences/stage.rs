//! A host with some tenants to play on.

use std::collections::BTreeMap;
use std::sync::Arc;

use vmm_engine::{
    Answer, Chain, Effect, Engine, Event, Exit, Explanation, HostLimits, ImageId, Keep, Kind,
    KnownRun, Need, Now, OnExpiry, Question, Record, Refusal, Slot, Spec, State, Token, View, What,
};
use vmm_proto::authority::{LeafIdentity, Link, Serial, Validity};
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::name::{MachineName, Path};
use vmm_proto::resource::{
    Arguments, Bridge, BridgeName, Bridges, CpuSet, Delegation, DeviceName, Devices, Network,
    Restart,
};
use vmm_proto::revocation::{BadSerial, RevocationList, Serials};

pub(crate) const ROOT: Digest = Digest([0; 32]);
/// The second at which every play begins.
pub(crate) const BEGIN_S: i64 = 1000;

pub(crate) fn cpus(ids: &[u16]) -> CpuSet {
    ids.iter().copied().collect()
}

pub(crate) fn name(text: &str) -> MachineName {
    MachineName::parse(text).unwrap()
}

pub(crate) fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

/// A machine of 10 MiB on CPU 0, from image 1.
pub(crate) fn spec() -> Spec {
    Spec {
        kind: Kind::Spt,
        image: ImageId(1),
        image_sha256: Digest([1; 32]),
        image_size: 1 << 20,
        memory_mib: 10,
        cpus: cpus(&[0]),
        devices: Devices::default(),
        arguments: Arguments::default(),
        restart: Restart::Never,
        priority: 50,
    }
}

pub(crate) fn with_memory(memory_mib: u32) -> Spec {
    Spec { memory_mib, ..spec() }
}

pub(crate) fn with_restart(restart: Restart) -> Spec {
    Spec { restart, ..spec() }
}

pub(crate) fn on_bridge(bridge: &str) -> Devices {
    let bridge = BridgeName::parse(bridge).unwrap();
    let network = Network::new(DeviceName::parse("net").unwrap(), bridge, None).unwrap();
    Devices::new(vec![network], vec![]).unwrap()
}

/// A delegation of CPUs 0 and 1 and bridge `ext`, under a key made from its own label.
pub(crate) fn link(issuer: Digest, label: &str, machines: u16, memory_mib: u32) -> Link {
    let mut key = [0; 32];
    key[..label.len()].copy_from_slice(label.as_bytes());
    let bridge = Bridge::new(BridgeName::parse("ext").unwrap(), None, None).unwrap();
    Link {
        label: label.parse().unwrap(),
        issuer,
        key: Digest(key),
        serial: Serial([1].into()),
        grant: Delegation {
            generation: 1,
            machines,
            memory_mib,
            cpus: cpus(&[0, 1]),
            storage_mib: 5,
            bridges: Bridges::new(vec![bridge]).unwrap(),
            hosts: None,
        },
        validity: Validity { not_before: 0, not_after: BEGIN_S + 3600 },
    }
}

/// `dev`: 2 machines, 30 MiB.
pub(crate) fn dev() -> Vec<Link> {
    vec![link(ROOT, "dev", 2, 30)]
}

/// `dev/alice`: 2 machines, 20 MiB.
pub(crate) fn alice() -> Vec<Link> {
    vec![link(ROOT, "dev", 2, 30), link(dev()[0].key, "alice", 2, 20)]
}

/// `dev/bob`: 2 machines, 30 MiB.
pub(crate) fn bob() -> Vec<Link> {
    vec![link(ROOT, "dev", 2, 30), link(dev()[0].key, "bob", 2, 30)]
}

/// The chain of a permission leaf below these delegations.
pub(crate) fn chain(links: &[Link]) -> Chain {
    let leaf = links.last().map(|above| LeafIdentity {
        label: "leaf".parse().unwrap(),
        issuer: above.key,
        serial: Serial([99].into()),
    });
    Chain { links: links.to_vec(), leaf, of_machine: false }
}

/// The same certificate of a later generation, with other bounds.
pub(crate) fn renewed(link: &Link, machines: u16, memory_mib: u32) -> Link {
    let generation = link.grant.generation + 1;
    Link {
        grant: Delegation { generation, machines, memory_mib, ..link.grant.clone() },
        ..link.clone()
    }
}

/// The engine, and what the shell keeps.
pub(crate) struct Stage {
    pub(crate) engine: Engine,
    host: HostLimits,
    /// What the next engine does when authority ends.
    pub(crate) on_expiry: OnExpiry,
    pub(crate) now: Now,
    counter: u64,
    /// What is durable.
    pub(crate) kept: BTreeMap<Slot, Keep>,
    /// The probation of what is deployed.
    pub(crate) probation_ms: u64,
}

/// A request and what came of it at once.
pub(crate) struct Asked {
    pub(crate) token: Token,
    pub(crate) id: MachineId,
    pub(crate) effects: Vec<Effect>,
}

impl Asked {
    /// The answer, if there was one at once.
    pub(crate) fn answer(&self) -> Option<Result<Answer, Refusal>> {
        answer(&self.effects, self.token)
    }

    pub(crate) fn refusal(&self) -> Refusal {
        self.answer().expect("an answer").expect_err("a refusal")
    }
}

impl Stage {
    /// A host of 3 machines, 100 MiB, CPUs 0 to 3.
    pub(crate) fn new() -> Self {
        Self::with_machines(3)
    }

    /// The same with room for so many machines.
    pub(crate) fn with_machines(machines: u32) -> Self {
        let cpus = cpus(&[0, 1, 2, 3]);
        let memory_mib = 100.max(u64::from(machines) * 10);
        let host = HostLimits { machines, memory_mib, storage_mib: 50, cpus };
        let now = Now { unix_ms: BEGIN_S.unsigned_abs() * 1000, monotonic_ms: 0 };
        let on_expiry = OnExpiry::Keep;
        let engine = Engine::new(host.clone(), ROOT);
        let (kept, counter) = (BTreeMap::new(), 100);
        let mut stage = Self { engine, host, on_expiry, now, counter, kept, probation_ms: 0 };
        stage.spawn_knows(true, &[]);
        stage
    }

    /// vmm-spawn says what it knows.
    pub(crate) fn spawn_knows(&mut self, same_boot: bool, known: &[KnownRun]) -> Vec<Effect> {
        let known = known.to_vec();
        let mut effects = self.happen(Event::SpawnKnows { same_boot, known, jitter: 0 });
        // That there are no host networks is told each time.
        effects.retain(|effect| {
            !matches!(effect, Effect::HostNetworks { networks, .. } if networks.is_empty())
        });
        effects
    }

    pub(crate) fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Lets something happen; what is to be kept is kept at once.
    pub(crate) fn happen(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.engine.handle(self.now, event);
        for keep in kept(&effects) {
            match keep {
                Keep::ForgetDelegation { .. }
                | Keep::ForgetMachine { .. }
                | Keep::ForgetHostNetwork { .. } => {
                    self.kept.remove(&keep.slot());
                }
                _ => {
                    self.kept.insert(keep.slot(), keep);
                }
            }
        }
        effects
    }

    /// Another process goes on from what was kept. Its monotonic clock begins anew.
    pub(crate) fn next_life(&mut self) {
        self.engine = Engine::new(self.host.clone(), ROOT).with_on_expiry(self.on_expiry);
        self.now.monotonic_ms = 0;
        for keep in self.kept.values() {
            self.engine.restore(keep.clone());
        }
    }

    pub(crate) fn ask(&mut self, request: impl FnOnce(Token) -> Event) -> Asked {
        let token = Token(self.count());
        let effects = self.happen(request(token));
        Asked { token, id: MachineId([0; 16]), effects }
    }

    pub(crate) fn pass(&mut self, ms: u64) -> Vec<Effect> {
        self.now.unix_ms += ms;
        self.now.monotonic_ms += ms;
        self.happen(Event::Tick)
    }

    pub(crate) fn present(&mut self, links: &[Link]) -> Asked {
        self.ask(|token| Event::Presented { token, chain: chain(links) })
    }

    pub(crate) fn offer(
        &mut self,
        machine: &str,
        (fresh, sha, size): (u64, u8, u32),
        links: &[Link],
    ) -> Asked {
        let Spec { memory_mib, cpus, devices, arguments, .. } = spec();
        // An image fits in its machine.
        let memory_mib = memory_mib.max(size.div_ceil(1 << 20));
        self.ask(|token| Event::OfferImage {
            token,
            fresh: ImageId(fresh),
            sha256: Digest([sha; 32]),
            size,
            name: name(machine),
            need: Need { memory_mib, cpus, devices, arguments },
            chain: chain(links),
            replace: true,
        })
    }

    /// What would become of a deploy.
    pub(crate) fn explain(
        &self,
        machine: &str,
        spec: &Spec,
        links: &[Link],
        replace: bool,
    ) -> Explanation {
        let Spec { memory_mib, cpus, devices, arguments, image_sha256, image_size, .. } =
            spec.clone();
        let question = Question {
            name: name(machine),
            need: Need { memory_mib, cpus, devices, arguments },
            sha256: image_sha256,
            size: image_size,
            replace,
        };
        self.engine.explain(self.now, &chain(links), &question)
    }

    /// Has the spec's image stored under the machine's path; returns the file.
    pub(crate) fn store(&mut self, machine: &str, spec: &Spec, links: &[Link]) -> Option<ImageId> {
        let fresh = self.count();
        let content = (fresh, spec.image_sha256.0[0], spec.image_size);
        match self.offer(machine, content, links).answer() {
            Some(Ok(Answer::Have(image))) => Some(image),
            Some(Ok(Answer::Upload(image))) => {
                self.happen(Event::UploadEnded { image, stored: true });
                Some(image)
            }
            _ => None,
        }
    }

    /// A deploy of a machine whose image is stored first, as a session would do it.
    pub(crate) fn deploy_as(
        &mut self,
        machine: &str,
        spec: Spec,
        links: &[Link],
        replace: bool,
    ) -> Asked {
        let image = self.store(machine, &spec, links);
        let id = MachineId([u8::try_from(self.count()).unwrap(); 16]);
        let spec = Spec { image: image.unwrap_or(ImageId(0)), ..spec };
        let probation_ms = self.probation_ms;
        let mut asked = self.ask(|token| Event::Deploy {
            token,
            id,
            name: name(machine),
            spec,
            chain: chain(links),
            replace,
            probation_ms,
        });
        asked.id = id;
        if let Some(image) = image {
            asked.effects.extend(self.happen(Event::ReleaseImage { image }));
        }
        asked
    }

    pub(crate) fn deploy(&mut self, machine: &str, spec: Spec, links: &[Link]) -> Asked {
        self.deploy_as(machine, spec, links, false)
    }

    /// Deploys a machine that then runs.
    pub(crate) fn run(&mut self, machine: &str, spec: Spec, links: &[Link]) -> MachineId {
        let asked = self.deploy(machine, spec, links);
        assert_eq!(asked.answer(), None, "{:?}", asked.effects);
        self.started(asked.id);
        asked.id
    }

    /// The last start of a machine; of one that is not there, the first.
    fn run_of(&self, id: MachineId) -> u64 {
        self.engine.by_id(id).map_or(1, |view| view.run)
    }

    pub(crate) fn started(&mut self, id: MachineId) -> Vec<Effect> {
        let run = self.run_of(id);
        self.happen(Event::Started { id, run, pid: 7 })
    }

    /// What vmm-spawn knows of a machine whose guest runs.
    pub(crate) fn runs(&self, id: MachineId) -> KnownRun {
        KnownRun { id, run: self.run_of(id), pid: Some(7), ready: true }
    }

    /// What vmm-spawn knows of a machine whose last run has ended.
    pub(crate) fn ran(&self, id: MachineId) -> KnownRun {
        KnownRun { pid: None, ready: false, ..self.runs(id) }
    }

    pub(crate) fn start_failed(&mut self, id: MachineId) -> Vec<Effect> {
        let (run, reason) = (self.run_of(id), "no luck".to_owned());
        self.happen(Event::StartFailed { id, run, reason, jitter: 0 })
    }

    pub(crate) fn exited(&mut self, id: MachineId, exit: Exit) -> Vec<Effect> {
        let run = self.run_of(id);
        self.happen(Event::Exited { id, run, exit, output_end: 42, spent: None, jitter: 0 })
    }

    pub(crate) fn stop(&mut self, machine: &str, timeout_ms: u64) -> Asked {
        self.ask(|token| Event::Stop { token, name: name(machine), timeout_ms })
    }

    pub(crate) fn start(&mut self, machine: &str, own: &str) -> Asked {
        self.ask(|token| Event::Start { token, name: name(machine), own: path(own) })
    }

    pub(crate) fn restart(&mut self, machine: &str) -> Asked {
        let (name, own) = (name(machine), Path::host());
        self.ask(|token| Event::Restart { token, name, timeout_ms: 1000, own })
    }

    pub(crate) fn destroy(&mut self, machine: &str) -> Asked {
        self.ask(|token| Event::Destroy { token, name: name(machine) })
    }

    /// The issuer of a certificate takes it back, and nothing else.
    pub(crate) fn revoke(&mut self, link: &Link) -> Asked {
        let serials = [Ok::<_, BadSerial>(&*link.serial.0)];
        let list = Arc::new(RevocationList {
            sha256: Digest([0; 32]),
            issuer: link.issuer,
            path: Path::host(),
            number: self.count().into(),
            this_update: 0,
            next_update: 0,
            serials: Serials::collect(serials).unwrap(),
        });
        self.ask(|token| Event::Revoke { token, list })
    }

    pub(crate) fn view(&self, machine: &str) -> View<'_> {
        self.engine.machine(&name(machine)).expect("it is listed")
    }

    /// The state of a machine, if it is listed.
    pub(crate) fn state(&self, machine: &str) -> Option<State> {
        self.engine.machine(&name(machine)).map(|view| view.state)
    }

    /// Machines and MiB in use at a path.
    pub(crate) fn used(&self, at: &str) -> (u32, u64) {
        let used = self.engine.usage(&path(at));
        (used.machines, used.memory_mib)
    }
}

/// What these effects say is to be kept; all of it before anything else.
pub(crate) fn kept(effects: &[Effect]) -> Vec<Keep> {
    let is_keep = |effect: &&Effect| matches!(effect, Effect::Keep(_));
    let first = effects.iter().take_while(is_keep).count();
    assert_eq!(first, effects.iter().filter(is_keep).count(), "{effects:?}");
    let keep = |effect: &Effect| match effect {
        Effect::Keep(keep) => Some(keep.clone()),
        _ => None,
    };
    effects.iter().filter_map(keep).collect()
}

/// The answer to a request among some effects.
pub(crate) fn answer(effects: &[Effect], token: Token) -> Option<Result<Answer, Refusal>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reply { token: to, answer } if *to == token => Some(answer.clone()),
        _ => None,
    })
}

/// Which machines are to be started.
pub(crate) fn starts(effects: &[Effect]) -> Vec<MachineId> {
    let start = |effect: &Effect| match effect {
        Effect::StartMachine { id, .. } => Some(*id),
        _ => None,
    };
    effects.iter().filter_map(start).collect()
}

/// Which machines are to be stopped, and whether by force.
pub(crate) fn stops(effects: &[Effect]) -> Vec<(MachineId, bool)> {
    let stop = |effect: &Effect| match effect {
        Effect::StopMachine { id, force, .. } => Some((*id, *force)),
        _ => None,
    };
    effects.iter().filter_map(stop).collect()
}

pub(crate) fn forgets(effects: &[Effect], id: MachineId) -> bool {
    effects.contains(&Effect::ForgetMachine { id })
}

pub(crate) fn settles(effects: &[Effect], id: MachineId) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Settled { id: it, .. } if *it == id))
}

pub(crate) fn drops(effects: &[Effect]) -> Vec<ImageId> {
    let drop = |effect: &Effect| match effect {
        Effect::DropImage { image } => Some(*image),
        _ => None,
    };
    effects.iter().filter_map(drop).collect()
}

/// The names of what was recorded.
pub(crate) fn records(effects: &[Effect]) -> Vec<&'static str> {
    let record = |effect: &Effect| match effect {
        Effect::Record(Record::Machine { what, .. }) => Some(What::as_str(what)),
        Effect::Record(Record::Renewed { .. }) => Some("renewed"),
        Effect::Record(Record::Revoked { .. }) => Some("list"),
        Effect::Record(Record::Doors { .. }) => Some("doors"),
        Effect::Record(Record::Overlap(_)) => Some("overlap"),
        Effect::Record(Record::HostNetwork { .. }) => Some("network"),
        _ => None,
    };
    effects.iter().filter_map(record).collect()
}
