//! A shell, a vmm-spawn and some tenants, simulated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vmm_engine::{
    Answer, Chain, Effect, Engine, Event, Exit, HostLimits, ImageId, Interface, KeptMachine, Kind,
    Need, Now, OnExpiry, Question, Refusal, Spec, Token, View,
};
use vmm_proto::authority::{Link, Serial, Validity};
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::name::{MachineName, Path, Target};
use vmm_proto::resource::{CpuSet, Delegation, Restart};
use vmm_proto::revocation::{BadSerial, RevocationList, Serials};

use crate::naive;
use crate::ops::{Op, What};
use crate::shell::{Doom, Shell};
use crate::spawn::{Process, Spawn};
use crate::wires;

/// The delegations there are; the empty path is the host.
pub(crate) const NODES: [&str; 6] = ["", "a", "b", "a/x", "a/y", "a/x/z"];
pub(crate) const HOST_MACHINES: u32 = 7;
pub(crate) const HOST_MEMORY: u64 = 40;
/// Names of machines; "x" is the name of a delegation, too.
pub(crate) const LABELS: [&str; 2] = ["m", "x"];
/// A certificate's usual ranges.
pub(crate) const USUAL: u8 = u8::MAX;
pub(crate) const ROOT: Digest = Digest([255; 32]);

pub(crate) fn host_cpus() -> CpuSet {
    [0, 1, 2].into_iter().collect()
}

/// An image file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) node: &'static str,
    pub(crate) sha: u8,
    pub(crate) size: u32,
    pub(crate) stored: bool,
    /// A part of it, that somebody may go on with.
    pub(crate) parked: bool,
    pub(crate) holds: usize,
}

/// The serial numbers of each list, and its number, by issuer.
pub(crate) type Revoked = BTreeMap<Digest, (u64, BTreeSet<Serial>)>;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) on_expiry: OnExpiry,
    pub(crate) shell: Shell,
    /// What was taken back, and the number of the last list, by issuer.
    pub(crate) revoked: Revoked,
    pub(crate) now: Now,
    /// All certificates of each delegation, the newest last.
    issued: BTreeMap<&'static str, Vec<Link>>,
    /// The newest ones that the host has been shown.
    pub(crate) known: BTreeMap<&'static str, Link>,
    /// Every machine that was ever admitted.
    pub(crate) deployed: BTreeMap<MachineId, Spec>,
    /// What was last said to be kept of each listed machine.
    pub(crate) current: BTreeMap<MachineId, KeptMachine>,
    /// What was reserved before the last event, and for whom.
    pub(crate) had: Vec<(MachineName, Interface)>,
    /// What really runs, or is about to.
    pub(crate) processes: BTreeMap<MachineId, Process>,
    pub(crate) spawn: Spawn,
    pub(crate) files: BTreeMap<ImageId, File>,
    pub(crate) answers: BTreeMap<Token, u32>,
    /// What was offered by requests that are not answered yet, or were answered with an upload.
    pub(crate) offers: BTreeMap<Token, (&'static str, u8, u32)>,
    /// The kinds of records and refusals that have come.
    pub(crate) seen: BTreeSet<&'static str>,
    counter: u64,
}

impl World {
    /// A world whose first certificates have these ranges, see [`wires::bridges`].
    pub(crate) fn new(on_expiry: OnExpiry, ranges: u8) -> Self {
        let mut world = Self {
            engine: Engine::new(host(), ROOT).with_on_expiry(on_expiry),
            on_expiry,
            shell: Shell::default(),
            revoked: BTreeMap::new(),
            now: Now { unix_ms: 1_000_000, monotonic_ms: 0 },
            issued: BTreeMap::new(),
            known: BTreeMap::new(),
            deployed: BTreeMap::new(),
            current: BTreeMap::new(),
            had: Vec::new(),
            processes: BTreeMap::new(),
            spawn: Spawn::default(),
            files: BTreeMap::new(),
            answers: BTreeMap::new(),
            offers: BTreeMap::new(),
            seen: BTreeSet::new(),
            counter: 0,
        };
        for node in NODES.into_iter().filter(|node| !node.is_empty()) {
            world.issue(node, 1, (4, 16, 7, ranges), None);
        }
        world.join();
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
            Op::Reissue { node, machines, memory, cpus, ranges, newer, lasts_s } => {
                let last = self.issued[NODES[node]].last().unwrap().grant.generation;
                let lasts_s = lasts_s.map(i64::from);
                let share = (machines, memory, cpus, ranges);
                self.issue(NODES[node], last + u64::from(newer), share, lasts_s);
            }
            Op::Present { node, old } => {
                let links = self.chain(naive::path(NODES[node]), old);
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
            Op::ProbationFails { which } => self.probation_fails(which),
            Op::Stop { which, timeout_ms } => {
                let (token, name) = (self.token(), self.some_name(which));
                self.happen(Event::Stop { token, name, timeout_ms: timeout_ms.into() });
            }
            Op::Start { which } => self.start(which),
            Op::Restart { which, timeout_ms } => {
                let (token, name) = (self.token(), self.some_name(which));
                self.shell.somebody_wants_to_run(&self.engine, &name);
                let timeout_ms = timeout_ms.into();
                self.happen(Event::Restart { token, name, timeout_ms, own: Path::host() });
            }
            Op::Destroy { which } => {
                let (token, name) = (self.token(), self.some_name(which));
                self.happen(Event::Destroy { token, name });
            }
            Op::SpawnLost => self.lose_spawn(),
            Op::SpawnDies => self.kill_spawn(),
            Op::Join => self.join(),
            Op::Flush => self.flush(),
            Op::Doom { cut, durable } => self.shell.doom = Some(Doom { cut, durable }),
            Op::Reboot => self.reboot(),
            Op::Drain { on } => self.drain(on),
            Op::StopAll => self.stop_all(),
            Op::Revoke { node, all, stale, reissue } => {
                self.revoke(NODES[node], all, stale);
                if reissue {
                    let last = self.issued[NODES[node]].last().unwrap().grant.generation;
                    self.issue(NODES[node], last + 1, (4, 16, 7, USUAL), None);
                }
            }
            Op::Crash { skew_s } => self.crash(skew_s.into()),
            Op::Pass { ms } => self.pass(ms.into()),
            Op::Nonsense { id, kind } => self.nonsense(id, kind),
        }
    }

    fn present(&mut self, links: Vec<Link>) {
        let accepted = naive::present(self, &links);
        let token = self.token();
        let chain = Chain { links, ..Chain::default() };
        let effects = self.happen(Event::Presented { token, chain });
        assert_eq!(answered(&effects, token, |a| *a == Answer::Accepted), accepted);
    }

    /// Shows a chain; whether the supervisor lives on after that.
    fn shows(&mut self, links: &[Link]) -> bool {
        let lives = self.shell.lives;
        self.present(links.to_vec());
        lives == self.shell.lives
    }

    fn offer(&mut self, what: &What, sha: u8, size: u32) {
        let (name, links, need) = self.wish(what);
        // As the shell does. A smaller share pushes ended machines out, which may free the name
        // or drop an image: the model judges what is there after that.
        if !self.shows(&links) {
            return;
        }
        let node = NODES[what.node];
        let accepted =
            naive::present(self, &links) && naive::admits(self, &name, &need, what.replace);
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
        assert_eq!(is_unanswered(&effects, token), accepted && waits);
    }

    fn deploy(&mut self, what: &What, file: usize, restart: u8) {
        let (name, links, need) = self.wish(what);
        // See `offer`.
        let lives = self.shell.lives;
        self.shows(&links);
        if file % 8 < 5 && !self.files.values().any(|file| file.node == NODES[what.node]) {
            self.offer(what, 0, 1 << 20);
            if let Some(image) = choose(self.uploads(), file) {
                self.upload_ends(image, true);
            }
        }
        if lives != self.shell.lives {
            return;
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
            memory_mib: need.memory_mib,
            cpus: need.cpus.clone(),
            devices: need.devices.clone(),
            arguments: need.arguments.clone(),
            restart: match restart {
                0 | 1 => Restart::Never,
                2 => Restart::on_failure(vec![], 3).unwrap(),
                _ => Restart::Always,
            },
            priority: 50,
        };
        let admitted = naive::present(self, &links)
            && naive::admits(self, &name, &need, what.replace)
            && usable;
        let (token, id) = (self.token(), machine_id(self.count()));
        if admitted {
            self.deployed.insert(id, spec.clone());
        }
        let (replace, probation_ms) = (what.replace, u64::from(what.probation_s) * 1000);
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
        let effects =
            self.happen(Event::Deploy { token, id, name, spec, chain, replace, probation_ms });
        assert_eq!(is_unanswered(&effects, token), admitted, "{effects:?}");
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
            sha256: Digest([0; 32]),
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

    fn start(&mut self, which: usize) {
        let name = self.some_name(which);
        let wired =
            |view: &View<'_>| wires::fits(self, &name, &view.spec.devices, &view.spec.arguments);
        let admitted = self.engine.machine(&name).is_some_and(|view| match view.state {
            vmm_engine::State::Restarting => wired(&view),
            state if state.is_live() => false,
            _ => {
                !self.engine.is_draining()
                    && naive::chain_is_valid(self, &name.path)
                    && naive::fits(self, &name, view.spec.memory_mib, &view.spec.cpus)
                    && wired(&view)
            }
        });
        let foreseen = self.engine.explain_start(self.now, &name, &Path::host()).obstacles;
        let token = self.token();
        self.shell.somebody_wants_to_run(&self.engine, &name);
        let effects = self.happen(Event::Start { token, name, own: Path::host() });
        assert_eq!(is_unanswered(&effects, token), admitted, "{effects:?}");
        assert_eq!(refused(&effects, token), foreseen.first());
    }

    pub(crate) fn upload_ends(&mut self, image: ImageId, stored: bool) {
        if stored {
            self.files.get_mut(&image).unwrap().stored = true;
        } else {
            self.files.remove(&image);
        }
        self.happen(Event::UploadEnded { image, stored });
    }

    /// The images that somebody is uploading.
    pub(crate) fn uploads(&self) -> impl Iterator<Item = ImageId> {
        let arriving = self.files.iter().filter(|(_, file)| !file.stored && !file.parked);
        arriving.map(|(image, _)| *image)
    }

    /// A connection breaks in the middle of an upload.
    pub(crate) fn upload_breaks(&mut self, image: ImageId) {
        let file = self.files.get_mut(&image).unwrap();
        (file.parked, file.holds) = (true, file.holds - 1);
        self.happen(Event::UploadBroke { image });
        self.happen(Event::ReleaseImage { image });
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.unix_ms += ms;
        self.now.monotonic_ms += ms;
        let lives = self.shell.lives;
        let told = self.processes.iter().filter(|(_, process)| process.told_to_stop);
        let told: Vec<MachineId> = told.map(|(id, _)| *id).collect();
        self.happen(Event::Tick);
        if lives != self.shell.lives {
            return;
        }
        assert!(self.engine.next_wake().is_none_or(|due| due > self.now.monotonic_ms));
        for process in told.iter().map(|id| &self.processes[id]) {
            let kill_is_due = ms > vmm_engine::DEFAULT_STOP_MS && self.spawn.connected;
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
            3 | 4 => Event::Exited {
                id,
                run: 1,
                exit: Exit::Unknown,
                output_end: 0,
                spent: None,
                jitter: 0,
            },
            _ => Event::UploadEnded { image: ImageId(u64::MAX - 1), stored: true },
        };
        self.happen(event);
    }

    fn wish(&mut self, what: &What) -> (MachineName, Vec<Link>, Need) {
        let name = name(what.node, what.label);
        let mut links = self.chain(&name.path, what.old);
        links.truncate(name.path.depth().saturating_sub(what.deeper));
        let (devices, arguments) = wires::asked(what.networks, what.memory);
        let cpus = [what.cpu].into_iter().collect();
        (name, links, Need { memory_mib: what.memory, cpus, devices, arguments })
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
            let node = NODES.into_iter().find(|node| naive::path(node) == path).unwrap();
            let all = &self.issued[node];
            all[all.len().saturating_sub(if old { 2 } else { 1 })].clone()
        };
        path.lineage().skip(1).map(|path| of(&path)).collect()
    }

    fn issue(
        &mut self,
        node: &'static str,
        generation: u64,
        (machines, memory_mib, cpus, ranges): (u16, u32, u8, u8),
        lasts_s: Option<i64>,
    ) {
        let path = naive::path(node);
        let key = |path: &Path| {
            let index = NODES.into_iter().position(|node| naive::path(node) == path).unwrap();
            if index == 0 { ROOT } else { Digest([u8::try_from(index).unwrap(); 32]) }
        };
        let serial = self.count().to_be_bytes();
        let link = Link {
            label: path.labels().last().unwrap().clone(),
            issuer: key(&path.ancestor(path.depth() - 1)),
            key: key(path),
            serial: Serial(serial.into()),
            grant: Delegation {
                generation,
                machines,
                memory_mib,
                cpus: (0..3).filter(|cpu| cpus & 1 << cpu != 0).collect(),
                storage_mib: 0,
                bridges: wires::bridges(node, ranges),
                hosts: None,
            },
            validity: Validity {
                not_before: 0,
                not_after: lasts_s.map_or(i64::MAX, |lasts_s| self.now_s() + lasts_s),
            },
        };
        self.issued.entry(node).or_default().push(link);
    }

    pub(crate) fn token(&mut self) -> Token {
        let token = Token(self.count());
        self.answers.insert(token, 0);
        token
    }

    pub(crate) fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

pub(crate) fn host() -> HostLimits {
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

fn is_unanswered(effects: &[Effect], token: Token) -> bool {
    !effects.iter().any(|effect| matches!(effect, Effect::Reply { token: to, .. } if *to == token))
}

pub(crate) fn choose<T>(items: impl Iterator<Item = T>, which: usize) -> Option<T> {
    let mut items: Vec<T> = items.collect();
    if items.is_empty() { None } else { Some(items.swap_remove(which % items.len())) }
}

fn name(node: usize, label: usize) -> MachineName {
    let label = LABELS[label].parse().unwrap();
    MachineName { path: naive::path(NODES[node]).clone(), label }
}

fn machine_id(number: u64) -> MachineId {
    MachineId((u128::from(number) << 64).to_be_bytes())
}
