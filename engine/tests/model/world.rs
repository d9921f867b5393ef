//! A shell, a vmm-spawn and some tenants, simulated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vmm_engine::{
    Answer, Chain, Effect, Engine, Event, Exit, HostLimits, ImageId, Keep, Kind, Need, Now,
    Question, Record, Refusal, Remembered, Spec, Token, View,
};
use vmm_proto::authority::{Link, Serial, Validity};
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::name::{Label, MachineName, Path, Target};
use vmm_proto::resource::{Arguments, Bridges, CpuSet, Delegation, Devices, Restart};
use vmm_proto::revocation::{BadSerial, RevocationList, Serials};

use crate::naive;
use crate::ops::{Op, What};

/// The delegations there are; the empty path is the host.
pub(crate) const NODES: [&str; 6] = ["", "a", "b", "a/x", "a/y", "a/x/z"];
pub(crate) const HOST_MACHINES: u32 = 7;
pub(crate) const HOST_MEMORY: u64 = 40;
/// Names of machines; "x" is the name of a delegation, too.
pub(crate) const LABELS: [&str; 2] = ["m", "x"];
const ROOT: Digest = Digest([255; 32]);

pub(crate) fn host_cpus() -> CpuSet {
    [0, 1, 2].into_iter().collect()
}

/// A process, or the order to make one.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: MachineName,
    run: u64,
    pub(crate) memory_mib: u32,
    /// Nothing before it has started.
    pub(crate) pid: Option<u32>,
    told_to_stop: bool,
    pub(crate) killed: bool,
}

/// An image file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) node: &'static str,
    sha: u8,
    pub(crate) size: u32,
    pub(crate) stored: bool,
    /// A part of it, that somebody may go on with.
    pub(crate) parked: bool,
    pub(crate) holds: usize,
}

pub(crate) struct World {
    pub(crate) engine: Engine,
    /// What the shell has made durable.
    kept: BTreeMap<(Digest, Label), Box<Remembered>>,
    kept_lists: BTreeMap<Digest, Arc<RevocationList>>,
    /// What was taken back, and the number of the last list, by issuer.
    revoked: BTreeMap<Digest, (u64, BTreeSet<Serial>)>,
    now: Now,
    /// All certificates of each delegation, the newest last.
    issued: BTreeMap<&'static str, Vec<Link>>,
    /// The newest ones that the host has been shown.
    pub(crate) known: BTreeMap<&'static str, Link>,
    /// Every machine that was ever admitted.
    pub(crate) deployed: BTreeMap<MachineId, Spec>,
    pub(crate) processes: BTreeMap<MachineId, Process>,
    /// The last start of each machine.
    last_runs: BTreeMap<MachineId, u64>,
    pub(crate) files: BTreeMap<ImageId, File>,
    pub(crate) answers: BTreeMap<Token, u32>,
    /// What was offered by requests that are not answered yet, or were answered with an upload.
    offers: BTreeMap<Token, (&'static str, u8, u32)>,
    /// The kinds of records and refusals that have come.
    pub(crate) seen: BTreeSet<&'static str>,
    counter: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self {
            engine: Engine::new(host(), ROOT),
            kept: BTreeMap::new(),
            kept_lists: BTreeMap::new(),
            revoked: BTreeMap::new(),
            now: Now { unix_ms: 1_000_000, monotonic_ms: 0 },
            issued: BTreeMap::new(),
            known: BTreeMap::new(),
            deployed: BTreeMap::new(),
            processes: BTreeMap::new(),
            last_runs: BTreeMap::new(),
            files: BTreeMap::new(),
            answers: BTreeMap::new(),
            offers: BTreeMap::new(),
            seen: BTreeSet::new(),
            counter: 0,
        };
        for node in NODES.into_iter().filter(|node| !node.is_empty()) {
            world.issue(node, 1, (4, 16, 7), None);
        }
        world
    }

    pub(crate) fn now_s(&self) -> i64 {
        i64::try_from(self.now.unix_ms / 1000).unwrap()
    }

    pub(crate) fn list(&self) -> Vec<View<'_>> {
        self.engine.machines(&Target::Below(Path::host())).collect()
    }

    pub(crate) fn perform(&mut self, op: Op) {
        match op {
            Op::Reissue { node, machines, memory, cpus, newer, lasts_s } => {
                let last = self.issued[NODES[node]].last().unwrap().grant.generation;
                let lasts_s = lasts_s.map(i64::from);
                self.issue(NODES[node], last + u64::from(newer), (machines, memory, cpus), lasts_s);
            }
            Op::Present { node, old } => {
                let links = self.chain(&naive::path(NODES[node]), old);
                self.present(links);
            }
            Op::Offer { what, sha, size_mib } => self.offer(&what, sha, u32::from(size_mib) << 20),
            Op::UploadEnds { which, stored } => {
                if let Some(image) = choose(self.uploads(), which) {
                    self.upload_ends(image, stored);
                }
            }
            Op::UploadBreaks { which } => {
                if let Some(image) = choose(self.uploads(), which) {
                    self.upload_breaks(image);
                }
            }
            Op::Release { which } => {
                let held = self.files.iter().filter(|(_, file)| file.stored && file.holds > 0);
                if let Some(image) = choose(held.map(|(image, _)| *image), which) {
                    self.files.get_mut(&image).unwrap().holds -= 1;
                    self.happen(Event::ReleaseImage { image });
                }
            }
            Op::Deploy { what, file, restart } => self.deploy(&what, file, restart),
            Op::ProcessStarts { which } => self.process_starts(which),
            Op::ProcessFails { which } => self.process_fails(which),
            Op::ProcessExits { which, exit } => self.process_exits(which, exit),
            Op::Stop { which, timeout_ms } => {
                let (token, name) = (self.token(), self.some_name(which));
                self.happen(Event::Stop { token, name, timeout_ms: timeout_ms.into() });
            }
            Op::Start { which } => self.start(which),
            Op::Restart { which, timeout_ms } => {
                let (token, name) = (self.token(), self.some_name(which));
                let timeout_ms = timeout_ms.into();
                self.happen(Event::Restart { token, name, timeout_ms, own: Path::host() });
            }
            Op::Destroy { which } => {
                let (token, name) = (self.token(), self.some_name(which));
                self.happen(Event::Destroy { token, name });
            }
            Op::SpawnLost => {
                self.processes.retain(|_, process| process.pid.is_some());
                self.happen(Event::SpawnLost { jitter: 7 });
            }
            Op::Revoke { node, all, stale, reissue } => {
                self.revoke(NODES[node], all, stale);
                if reissue {
                    let last = self.issued[NODES[node]].last().unwrap().grant.generation;
                    self.issue(NODES[node], last + 1, (4, 16, 7), None);
                }
            }
            Op::Crash => self.crash(),
            Op::Pass { ms } => self.pass(ms.into()),
            Op::Nonsense { id, kind } => self.nonsense(id, kind),
        }
    }

    /// Every process does what it was told, every upload ends, and time passes.
    pub(crate) fn let_everything_finish(&mut self) {
        for _ in 0..40 {
            while self.processes.values().any(|process| process.pid.is_none()) {
                self.process_starts(0);
            }
            while self.processes.values().any(|process| process.told_to_stop) {
                self.process_exits(0, 0);
            }
            if let Some(image) = choose(self.uploads(), 0) {
                self.upload_ends(image, true);
            }
        }
    }

    fn present(&mut self, links: Vec<Link>) {
        let accepted = naive::present(self, &links);
        let token = self.token();
        let chain = Chain { links, ..Chain::default() };
        let effects = self.happen(Event::Presented { token, chain });
        assert_eq!(answered(&effects, token, |a| *a == Answer::Accepted), accepted);
    }

    fn offer(&mut self, what: &What, sha: u8, size: u32) {
        let (name, links, cpus) = self.wish(what);
        // As the shell does. A smaller share pushes ended machines out, which may free the name
        // or drop an image: the model judges what is there after that.
        self.present(links.clone());
        let node = NODES[what.node];
        let accepted = naive::present(self, &links)
            && naive::admits(self, &name, what.memory, &cpus, what.replace);
        let known = self
            .files
            .values()
            .find(|file| file.node == node && file.sha == sha && file.size == size);
        let (waits, room) = if let Some(file) = known {
            (!file.stored && !file.parked, true)
        } else {
            let small = size <= what.memory << 20;
            (false, small && naive::image_fits(self, node, size))
        };
        let token = self.token();
        self.offers.insert(token, (node, sha, size));
        let need = Need { memory_mib: what.memory, cpus, devices: Devices::default() };
        let fresh = ImageId(self.count());
        let sha256 = Digest([sha; 32]);
        let replace = what.replace;
        let question = Question { name: name.clone(), need: need.clone(), sha256, size, replace };
        let foreseen = self.explained(&links, &question);
        let effects = self.happen(Event::OfferImage {
            token,
            fresh,
            sha256,
            size,
            name,
            need,
            chain: Chain { links, ..Chain::default() },
            replace,
        });
        let got = |a: &Answer| matches!(a, Answer::Have(_) | Answer::Upload(_));
        assert_eq!(answered(&effects, token, got), accepted && room && !waits, "{effects:?}");
        assert_eq!(refused(&effects, token), foreseen.first(), "{question:?}");
        assert_eq!(self.answers[&token] == 0, accepted && waits);
    }

    fn deploy(&mut self, what: &What, file: usize, restart: u8) {
        let (name, links, cpus) = self.wish(what);
        // See `offer`.
        self.present(links.clone());
        if file % 8 < 5 && !self.files.values().any(|file| file.node == NODES[what.node]) {
            self.offer(what, 0, 1 << 20);
            if let Some(image) = choose(self.uploads(), file) {
                self.upload_ends(image, true);
            }
        }
        let usable = |file: &File| file.stored && file.node == NODES[what.node];
        let chosen = choose(self.files.iter().filter(|(_, file)| usable(file)), file);
        let file = if file.is_multiple_of(8) { choose(self.files.iter(), file) } else { chosen };
        let (image, image_sha256, image_size, usable) = match file {
            Some((image, file)) => (*image, Digest([file.sha; 32]), file.size, usable(file)),
            None => (ImageId(u64::MAX), Digest([0; 32]), 1, false),
        };
        let spec = Spec {
            kind: Kind::Spt,
            image,
            image_sha256,
            image_size,
            memory_mib: what.memory,
            cpus: cpus.clone(),
            devices: Devices::default(),
            arguments: Arguments::default(),
            restart: match restart {
                0 | 1 => Restart::Never,
                2 => Restart::on_failure(vec![], 3).unwrap(),
                _ => Restart::Always,
            },
            priority: 50,
        };
        let admitted = naive::present(self, &links)
            && naive::admits(self, &name, what.memory, &cpus, what.replace)
            && usable;
        let (token, id) = (self.token(), machine_id(self.count()));
        if admitted {
            self.deployed.insert(id, spec.clone());
        }
        let replace = what.replace;
        let need = Need { memory_mib: what.memory, cpus, devices: Devices::default() };
        let (sha256, size) = (image_sha256, image_size);
        let question = Question { name: name.clone(), need, sha256, size, replace };
        let mut foreseen = self.explained(&links, &question);
        // That there is room for the image was judged when it was offered.
        foreseen.retain(|refusal| {
            !matches!(
                refusal,
                Refusal::ImageRoom { .. }
                    | Refusal::ImageCount { .. }
                    | Refusal::ImageTooLarge { .. }
            )
        });
        let chain = Chain { links, ..Chain::default() };
        let effects = self.happen(Event::Deploy { token, id, name, spec, chain, replace });
        assert_eq!(self.answers[&token] == 0, admitted, "{effects:?}");
        match refused(&effects, token) {
            Some(Refusal::NoImage { .. }) => assert!(!usable && foreseen.is_empty()),
            refusal => assert_eq!(refusal, foreseen.first(), "{question:?}"),
        }
    }

    /// What is said to stand in the way of a deploy. Nothing above the requester's path is told.
    fn explained(&self, links: &[Link], question: &Question) -> Vec<Refusal> {
        let chain = Chain { links: links.to_vec(), ..Chain::default() };
        let explanation = self.engine.explain(self.now, &chain, question);
        for level in &explanation.levels {
            let told = level.path.depth() >= links.len();
            for room in [level.machines, level.memory_mib, level.image_bytes] {
                assert_eq!(room.told.is_some(), told, "{level:?}");
            }
        }
        let own = question.name.path.ancestor(links.len());
        assert!(explanation.users.iter().all(|user| user.name.path.is_within(&own)));
        explanation.obstacles
    }

    /// Whether a certificate was taken back.
    pub(crate) fn is_revoked(&self, link: &Link) -> bool {
        self.revoked.get(&link.issuer).is_some_and(|(_, serials)| serials.contains(&link.serial))
    }

    /// The issuer of a delegation takes back its newest certificate, or all of them.
    fn revoke(&mut self, node: &'static str, all: bool, stale: bool) {
        let certificates = &self.issued[node];
        let issuer = certificates[0].issuer;
        let some = if all { 0 } else { certificates.len() - 1 };
        let known = self.revoked.get(&issuer).cloned();
        let accepted = known.is_none() || !stale;
        let (latest, mut serials) = known.unwrap_or_default();
        serials.extend(certificates[some..].iter().map(|link| link.serial.clone()));
        let number = if stale { latest } else { latest + 1 };
        let octets = serials.iter().map(|serial| Ok::<_, BadSerial>(&*serial.0));
        let list = Arc::new(RevocationList {
            issuer,
            path: naive::path(node).ancestor(naive::path(node).depth() - 1),
            number: number.into(),
            this_update: 0,
            next_update: 0,
            serials: Serials::collect(octets).unwrap(),
        });
        if accepted {
            self.revoked.insert(issuer, (number, serials));
        }
        let token = self.token();
        let effects = self.happen(Event::Revoke { token, list });
        let done = answered(&effects, token, |answer| matches!(answer, Answer::Revoked { .. }));
        assert_eq!(done, accepted, "{effects:?}");
    }

    /// The supervisor dies, and the next one has nothing but what was kept. What ran is ended, as
    /// nobody knows it any more. A crash before or after what an event changes has become durable
    /// is, to everybody else, one before or after that event.
    fn crash(&mut self) {
        self.seen.insert("crash");
        self.engine = Engine::new(host(), ROOT);
        for remembered in self.kept.values() {
            self.engine.restore(Keep::Delegation(remembered.clone()));
        }
        for list in self.kept_lists.values() {
            self.engine.restore(Keep::Revocations(Arc::clone(list)));
        }
        self.processes.clear();
        self.files.clear();
        self.offers.clear();
        // Nobody waits for an answer any more.
        self.answers.retain(|_, answers| *answers > 0);
    }

    fn start(&mut self, which: usize) {
        let name = self.some_name(which);
        let admitted = self.engine.machine(&name).is_some_and(|view| match view.state {
            vmm_engine::State::Restarting => true,
            state if state.is_live() => false,
            _ => {
                naive::chain_is_valid(self, &name.path)
                    && naive::fits(self, &name, view.spec.memory_mib, &view.spec.cpus)
            }
        });
        let foreseen = self.engine.explain_start(self.now, &name, &Path::host()).obstacles;
        let token = self.token();
        let effects = self.happen(Event::Start { token, name, own: Path::host() });
        assert_eq!(self.answers[&token] == 0, admitted, "{effects:?}");
        assert_eq!(refused(&effects, token), foreseen.first());
    }

    fn process_starts(&mut self, which: usize) {
        let starting = self.processes.iter().filter(|(_, process)| process.pid.is_none());
        if let Some(id) = choose(starting.map(|(id, _)| *id), which) {
            let pid = u32::try_from(self.count()).unwrap();
            let process = self.processes.get_mut(&id).unwrap();
            process.pid = Some(pid);
            let run = process.run;
            self.happen(Event::Started { id, run, pid });
        }
    }

    fn process_fails(&mut self, which: usize) {
        let starting = self.processes.iter().filter(|(_, process)| process.pid.is_none());
        if let Some(id) = choose(starting.map(|(id, _)| *id), which) {
            let run = self.processes.remove(&id).unwrap().run;
            let reason = "no luck".to_owned();
            self.happen(Event::StartFailed { id, run, reason, jitter: 5 });
        }
    }

    fn process_exits(&mut self, which: usize, exit: u8) {
        let started = || self.processes.iter().filter(|(_, process)| process.pid.is_some());
        // Those that were told to stop do so before others end by themselves.
        let obedient = started().filter(|(_, process)| process.told_to_stop).map(|(id, _)| *id);
        let id = choose(obedient, which).or_else(|| choose(started().map(|(id, _)| *id), which));
        let Some(id) = id else { return };
        let exit = match exit {
            0..60 => Exit::Code(0),
            60..120 => Exit::Code(1),
            120..180 => Exit::Signal(9),
            180..220 => Exit::OutOfMemory,
            220.. => Exit::Unknown,
        };
        let run = self.processes.remove(&id).unwrap().run;
        let output_end = self.count();
        self.happen(Event::Exited { id, run, exit, output_end, jitter: 3 });
    }

    fn upload_ends(&mut self, image: ImageId, stored: bool) {
        if stored {
            self.files.get_mut(&image).unwrap().stored = true;
        } else {
            self.files.remove(&image);
        }
        self.happen(Event::UploadEnded { image, stored });
    }

    /// The images that somebody is uploading.
    fn uploads(&self) -> impl Iterator<Item = ImageId> {
        let arriving = self.files.iter().filter(|(_, file)| !file.stored && !file.parked);
        arriving.map(|(image, _)| *image)
    }

    /// A connection breaks in the middle of an upload.
    fn upload_breaks(&mut self, image: ImageId) {
        let file = self.files.get_mut(&image).unwrap();
        (file.parked, file.holds) = (true, file.holds - 1);
        self.happen(Event::UploadBroke { image });
        self.happen(Event::ReleaseImage { image });
    }

    fn pass(&mut self, ms: u64) {
        self.now.unix_ms += ms;
        self.now.monotonic_ms += ms;
        self.happen(Event::Tick);
        assert!(self.engine.next_wake().is_none_or(|due| due > self.now.monotonic_ms));
        let stuck = self.processes.values().filter(|p| p.told_to_stop && p.pid.is_some());
        for process in stuck {
            let kill_is_due = ms > vmm_engine::DEFAULT_STOP_MS;
            assert!(process.killed || !kill_is_due, "{process:?}");
        }
    }

    /// Events about what is not: they change nothing that anybody relies upon.
    fn nonsense(&mut self, id: u8, kind: u8) {
        let nobody = MachineId([id; 16]);
        let idle = self.list().iter().find(|view| !view.state.is_live()).map(|view| view.id);
        let id = if kind.is_multiple_of(2) { nobody } else { idle.unwrap_or(nobody) };
        let event = match kind {
            0 | 1 => Event::Started { id, run: 1, pid: 1 },
            2 => Event::StartFailed { id, run: 1, reason: String::new(), jitter: 0 },
            3 | 4 => Event::Exited { id, run: 1, exit: Exit::Unknown, output_end: 0, jitter: 0 },
            _ => Event::UploadEnded { image: ImageId(u64::MAX - 1), stored: true },
        };
        self.happen(event);
    }

    fn happen(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.engine.handle(self.now, event);
        for effect in &effects {
            self.take(effect);
        }
        effects
    }

    fn take(&mut self, effect: &Effect) {
        match effect {
            Effect::Record(Record::Machine { what, .. }) => {
                self.seen.insert(what.as_str());
            }
            Effect::Record(Record::Renewed { .. }) => {
                self.seen.insert("renewed");
            }
            Effect::Record(Record::Revoked { .. }) => {
                self.seen.insert("list");
            }
            Effect::StartMachine { id, run, name, spec } => {
                self.invariant_no_machine_is_started_twice((*id, *run), name, spec.memory_mib);
            }
            Effect::StopMachine { id, run, force } => {
                if let Some(process) = self.processes.get_mut(id) {
                    assert_eq!(process.run, *run);
                    assert!(process.pid.is_some(), "there is nothing to stop yet");
                    assert!(!*force || process.told_to_stop, "killed without having been asked");
                    process.told_to_stop = true;
                    process.killed |= force;
                }
            }
            Effect::ForgetMachine { id } => {
                assert!(!self.processes.contains_key(id), "forgotten while it runs");
            }
            Effect::DropImage { image } => {
                let file = self.files.remove(image).expect("a file is dropped once");
                assert!((file.stored || file.parked) && file.holds == 0, "dropped while needed");
            }
            Effect::Reply { token, answer } => {
                *self.answers.get_mut(token).expect("an answer to a request") += 1;
                match answer {
                    Ok(Answer::Have(image)) => self.files.get_mut(image).unwrap().holds += 1,
                    Ok(Answer::Upload(image)) => {
                        let (node, sha, size) = self.offers[token];
                        let file = File { node, sha, size, stored: false, parked: false, holds: 1 };
                        if let Some(part) = self.files.insert(*image, file) {
                            let same = (part.node, part.sha, part.size) == (node, sha, size);
                            assert!(part.parked && same, "two uploads into {image:?}");
                        }
                    }
                    Ok(Answer::Running { id, pid }) => {
                        assert_eq!(self.processes[id].pid, Some(*pid));
                    }
                    Ok(Answer::Stopped { id }) => assert!(!self.processes.contains_key(id)),
                    Ok(Answer::Destroyed { id }) => assert!(self.engine.by_id(*id).is_none()),
                    Ok(Answer::Accepted) => {}
                    Ok(Answer::Revoked { machines, .. }) => {
                        for id in machines {
                            let process = self.processes.get(id);
                            assert!(process.is_none_or(|p| p.killed || p.pid.is_none()));
                        }
                    }
                    Err(refusal) => {
                        self.seen.insert(refusal.code());
                    }
                }
            }
            Effect::Keep(Keep::Delegation(remembered)) => {
                let Link { issuer, label, .. } = &remembered.link;
                self.kept.insert((*issuer, label.clone()), remembered.clone());
            }
            Effect::Keep(Keep::Revocations(list)) => {
                self.kept_lists.insert(list.issuer, Arc::clone(list));
            }
            Effect::JudgeSessions => {}
            Effect::Keep(Keep::ForgetDelegation { issuer, label }) => {
                assert!(self.kept.remove(&(*issuer, label.clone())).is_some());
            }
            Effect::Keep(other) => panic!("{other:?} is not kept yet"),
            Effect::Settled { id, .. } => assert!(!self.processes.contains_key(id)),
        }
    }

    fn invariant_no_machine_is_started_twice(
        &mut self,
        (id, run): (MachineId, u64),
        name: &MachineName,
        memory_mib: u32,
    ) {
        let last = self.last_runs.insert(id, run);
        assert!(last.is_none_or(|last| last < run), "start {run} of {id} comes after {last:?}");
        assert!(self.deployed.contains_key(&id), "started without having been admitted");
        assert!(
            self.processes.values().all(|process| process.name != *name),
            "{name} runs already"
        );
        let process = Process {
            name: name.clone(),
            run,
            memory_mib,
            pid: None,
            told_to_stop: false,
            killed: false,
        };
        assert!(self.processes.insert(id, process).is_none(), "{id} was started twice");
    }

    fn wish(&mut self, what: &What) -> (MachineName, Vec<Link>, CpuSet) {
        let name = name(what.node, what.label);
        let mut links = self.chain(&name.path, what.old);
        links.truncate(name.path.depth().saturating_sub(what.deeper));
        (name, links, [what.cpu].into_iter().collect())
    }

    /// Mostly the name of a listed machine.
    fn some_name(&self, which: usize) -> MachineName {
        let listed = choose(self.list().into_iter().map(|view| view.name.clone()), which);
        let unlisted = name(which % NODES.len(), which % LABELS.len());
        listed.filter(|_| !which.is_multiple_of(8)).unwrap_or(unlisted)
    }

    /// The chain of a path as its holders have it: the newest certificates, or with one that is
    /// older than that.
    fn chain(&self, path: &Path, old: bool) -> Vec<Link> {
        let of = |path: &Path| {
            let node = NODES.into_iter().find(|node| naive::path(node) == *path).unwrap();
            let all = &self.issued[node];
            all[all.len().saturating_sub(if old { 2 } else { 1 })].clone()
        };
        path.lineage().skip(1).map(|path| of(&path)).collect()
    }

    fn issue(
        &mut self,
        node: &'static str,
        generation: u64,
        (machines, memory_mib, cpus): (u16, u32, u8),
        lasts_s: Option<i64>,
    ) {
        let path = naive::path(node);
        let key = |path: &Path| {
            let index = NODES.into_iter().position(|node| naive::path(node) == *path).unwrap();
            if index == 0 { ROOT } else { Digest([u8::try_from(index).unwrap(); 32]) }
        };
        let serial = self.count().to_be_bytes();
        let link = Link {
            label: path.labels().last().unwrap().clone(),
            issuer: key(&path.ancestor(path.depth() - 1)),
            key: key(&path),
            serial: Serial(serial.into()),
            grant: Delegation {
                generation,
                machines,
                memory_mib,
                cpus: (0..3).filter(|cpu| cpus & 1 << cpu != 0).collect(),
                storage_mib: 0,
                bridges: Bridges::default(),
                hosts: None,
            },
            validity: Validity {
                not_before: 0,
                not_after: lasts_s.map_or(i64::MAX, |lasts_s| self.now_s() + lasts_s),
            },
        };
        self.issued.entry(node).or_default().push(link);
    }

    fn token(&mut self) -> Token {
        let token = Token(self.count());
        self.answers.insert(token, 0);
        token
    }

    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

fn host() -> HostLimits {
    HostLimits {
        machines: HOST_MACHINES,
        memory_mib: HOST_MEMORY,
        storage_mib: 0,
        cpus: host_cpus(),
    }
}

fn answered(effects: &[Effect], token: Token, is: impl Fn(&Answer) -> bool) -> bool {
    effects.iter().any(|effect| {
        matches!(effect, Effect::Reply { token: to, answer: Ok(answer) } if *to == token && is(answer))
    })
}

fn refused(effects: &[Effect], token: Token) -> Option<&Refusal> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reply { token: to, answer: Err(refusal) } if *to == token => Some(refusal),
        _ => None,
    })
}

fn choose<T>(items: impl Iterator<Item = T>, which: usize) -> Option<T> {
    let mut items: Vec<T> = items.collect();
    if items.is_empty() { None } else { Some(items.swap_remove(which % items.len())) }
}

fn name(node: usize, label: usize) -> MachineName {
    let label = LABELS[label].parse().unwrap();
    MachineName { path: naive::path(NODES[node]), label }
}

fn machine_id(number: u64) -> MachineId {
    MachineId((u128::from(number) << 64).to_be_bytes())
}
