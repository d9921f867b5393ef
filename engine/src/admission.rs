//! What may run: offers of images, and deploys. Starts of machines that have ended are in
//! [`crate::again`].

use vmm_proto::authority::Link;
use vmm_proto::id::MachineId;
use vmm_proto::name::{MachineName, Path};

use crate::bounds::{Claim, Wish};
use crate::delegations::{Place, valid};
use crate::effect::{Answer, Effect};
use crate::ending::DEFAULT_STOP_MS;
use crate::engine::{Engine, Turn};
use crate::event::{Chain, ImageId, Now, Spec, Token};
use crate::images::{Content, Offer};
use crate::ledger::Amount;
use crate::machine::{Machine, Replacement, Then};
use crate::networks::{Interface, Plan};
use crate::record::What;
use crate::refusal::Refusal;

/// A machine that somebody wants to run under a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) name: &'a MachineName,
    pub(crate) claim: Claim<'a>,
    /// The delegations of the requester's chain.
    pub(crate) links: &'a [Link],
    pub(crate) replace: bool,
}

impl<'a> Order<'a> {
    /// The room that it needs.
    pub(crate) fn wish(self, weighed: &'a Admitted) -> Wish<'a> {
        let Admitted { chain, held, reserve, .. } = weighed;
        let (path, own) = (&self.name.path, self.links.len());
        Wish { chain, path, own, claim: self.claim, held: *held, reserve: *reserve }
    }
}

/// A machine to be deployed.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) id: MachineId,
    pub(crate) name: MachineName,
    pub(crate) spec: Spec,
    pub(crate) probation_ms: u64,
}

/// What an order takes; nothing is reserved yet.
#[derive(Debug)]
#[must_use]
pub(crate) struct Admitted {
    /// The delegations above the machine, one for each label of its path: the newest of each.
    pub(crate) chain: Vec<Link>,
    /// The machine that has the name now.
    incumbent: Option<MachineId>,
    /// What that one holds.
    held: Amount,
    /// What is to be held for both of them.
    reserve: Amount,
    /// The interfaces of the machine; none before they are planned.
    interfaces: Vec<Interface>,
}

impl Engine {
    pub(crate) fn offer_image(
        &mut self,
        turn: &mut Turn,
        token: Token,
        fresh: ImageId,
        content: Content,
        order: Order<'_>,
        chain: &Chain,
    ) {
        let offer = self
            .present(turn, chain)
            .and_then(|()| self.try_offer(turn.now, token, fresh, content, order));
        match offer {
            Ok(Some(answer)) => turn.reply(token, Ok(answer)),
            Ok(None) => {}
            Err(refusal) => turn.refuse(token, order.name.clone(), None, refusal),
        }
    }

    fn try_offer(
        &mut self,
        now: Now,
        token: Token,
        fresh: ImageId,
        mut content: Content,
        order: Order<'_>,
    ) -> Result<Option<Answer>, Refusal> {
        let Admitted { chain, .. } = self.judge(now, order)?;
        match self.images.offer(&content, token, fresh) {
            Offer::Answer(answer) => return Ok(Some(answer)),
            Offer::Waits => return Ok(None),
            Offer::Unknown => {}
        }
        if self.images.is_known(fresh) {
            return Err(Refusal::ImageInUse { image: fresh });
        }
        let obstacle = self.image_obstacles(&chain, order, content.size).next();
        if let Some(refusal) = obstacle {
            return Err(refusal);
        }
        content.path = self.delegations.shared(&chain, content.path);
        self.images.expect(fresh, content);
        Ok(Some(Answer::Upload(fresh)))
    }

    /// Everything that stands in the way of storing an image that is not there.
    pub(crate) fn image_obstacles<'a>(
        &'a self,
        chain: &'a [Link],
        order: Order<'a>,
        size: u32,
    ) -> impl Iterator<Item = Refusal> + 'a {
        let memory_mib = order.claim.memory_mib;
        let too_large = u64::from(size) > u64::from(memory_mib) << 20;
        let own = too_large.then_some(Refusal::ImageTooLarge { size, memory_mib });
        let unfit = self.image_unfit(chain, &order.name.path, order.links.len(), size.into());
        own.into_iter().chain(unfit)
    }

    pub(crate) fn upload_broke(&mut self, turn: &mut Turn, image: ImageId) {
        if let Some(token) = self.images.upload_broke(image, turn.now.monotonic_ms) {
            turn.reply(token, Ok(Answer::Upload(image)));
        }
    }

    /// Drops the parts of images that nobody went on with in time.
    pub(crate) fn images_tick(&mut self, turn: &mut Turn) {
        while let Some(image) = self.images.expire(turn.now.monotonic_ms) {
            turn.push(Effect::DropImage { image });
        }
    }

    pub(crate) fn upload_ended(&mut self, turn: &mut Turn, image: ImageId, stored: bool) {
        let outcome = self.images.upload_ended(image, stored);
        for (token, answer) in outcome.answers {
            turn.reply(token, answer);
        }
        turn.effects.extend(outcome.drop.map(|image| Effect::DropImage { image }));
    }

    pub(crate) fn deploy(
        &mut self,
        turn: &mut Turn,
        token: Token,
        newcomer: Newcomer,
        shown: &Chain,
        replace: bool,
    ) {
        let admitted = self.admit(turn, &newcomer, shown, replace);
        let Newcomer { id, mut name, spec, probation_ms } = newcomer;
        let Admitted { chain, incumbent, interfaces, .. } = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => return turn.refuse(token, name, Some(id), refusal),
        };
        self.images.used(spec.image);
        name.path = self.delegations.shared(&chain, name.path);
        let leaf = shown.leaf.clone().filter(|_| shown.of_machine);
        self.networks.take(&name, &interfaces);
        let machine = Machine::new(id, name, spec, chain, leaf, interfaces, token);
        let what = What::Deployed {
            kind: machine.spec.kind,
            image: machine.spec.image_sha256,
            memory_mib: machine.spec.memory_mib,
            cpus: machine.spec.cpus.clone(),
        };
        turn.record(&machine, Some(token), what);
        match incumbent {
            None => self.install(turn, machine),
            Some(incumbent) => {
                let replacement = Replacement { machine, token: Some(token), probation_ms };
                self.replace(turn, incumbent, replacement, token);
            }
        }
    }

    fn admit(
        &mut self,
        turn: &mut Turn,
        newcomer: &Newcomer,
        shown: &Chain,
        replace: bool,
    ) -> Result<Admitted, Refusal> {
        let Newcomer { id, name, spec, .. } = newcomer;
        self.present(turn, shown)?;
        let machines = &self.machines;
        if machines.contains(*id) || self.successors.contains(id) || self.formers.contains(id) {
            return Err(Refusal::IdInUse { id: *id });
        }
        let links = &shown.links;
        let admitted = self.judge(turn.now, Order { name, claim: spec.into(), links, replace })?;
        let (sha256, size) = (spec.image_sha256, spec.image_size);
        let content = Content { path: name.path.clone(), sha256, size };
        if self.images.is_stored_as(spec.image, &content) {
            Ok(admitted)
        } else {
            Err(Refusal::NoImage { name: name.clone(), image: spec.image })
        }
    }

    /// All that decides whether a machine may run, but for its image.
    fn judge(&self, now: Now, order: Order<'_>) -> Result<Admitted, Refusal> {
        let admitted = self.weigh(order)?;
        let first = self.obstacles(now, order, &admitted).next();
        if let Some(refusal) = first {
            return Err(refusal);
        }
        match self.plan_of_order(now, order, &admitted) {
            Ok(Plan { interfaces, .. }) => Ok(Admitted { interfaces, ..admitted }),
            Err(refusals) => refusals.into_iter().next().map_or(Ok(admitted), Err),
        }
    }

    /// What an order would take, and in the place of what. Fails when that cannot even be said.
    pub(crate) fn weigh(&self, order: Order<'_>) -> Result<Admitted, Refusal> {
        let Order { name, claim, links, .. } = order;
        let own = links.iter().map(|link| &link.label);
        if links.len() > name.path.depth() || own.ne(name.path.labels().iter().take(links.len())) {
            let labels = links.iter().map(|link| link.label.clone()).collect();
            let path = Path::new(labels).map_err(|_| Refusal::BrokenChain)?;
            return Err(Refusal::Outside { name: name.clone(), path });
        }
        let chain = self.delegations.chain_to(links, &name.path)?;
        let incumbent = self.listed(name);
        let held = incumbent.map(|old| old.held).unwrap_or_default();
        let reserve = Amount::of_machine(claim.memory_mib).larger(held);
        let (incumbent, interfaces) = (incumbent.map(|old| old.id), Vec::new());
        Ok(Admitted { chain, incumbent, held, reserve, interfaces })
    }

    /// Everything that stands in the way of an order but for its networks and its image, in the
    /// order in which it is judged: the first one is its refusal.
    pub(crate) fn obstacles<'a>(
        &'a self,
        now: Now,
        order: Order<'a>,
        weighed: &'a Admitted,
    ) -> impl Iterator<Item = Refusal> + 'a {
        let path = &order.name.path;
        self.closed()
            .into_iter()
            .chain(self.invalid(now, weighed.chain.iter(), path))
            .chain(self.name_taken(order))
            .chain(self.unfit(order.wish(weighed)))
    }

    /// The delegations of `path` that are revoked or not valid now; `newest` are their newest
    /// certificates.
    pub(crate) fn invalid<'a>(
        &'a self,
        now: Now,
        newest: impl Iterator<Item = &'a Link> + 'a,
        path: &'a Path,
    ) -> impl Iterator<Item = Refusal> + 'a {
        (1..).zip(newest).filter_map(move |(depth, link)| {
            let revoked = self.not_revoked([link], None);
            revoked.and_then(|()| valid(now, link, Place { path, depth })).err()
        })
    }

    /// What the machine that has the name has against being replaced.
    fn name_taken(&self, Order { name, replace, .. }: Order<'_>) -> Option<Refusal> {
        let old = self.listed(name)?;
        if old.state().needs_replace() && !replace {
            return Some(Refusal::NameInUse { name: name.clone(), state: old.state() });
        }
        old.successor()?;
        Some(Refusal::Busy { name: name.clone(), doing: "is being replaced" })
    }

    /// Lists a machine that was admitted, and has it started.
    pub(crate) fn install(&mut self, turn: &mut Turn, mut machine: Machine) {
        machine.run = 1;
        machine.looked_s = turn.now.unix_s();
        let id = machine.id;
        self.enlist(machine);
        self.hold(id);
        self.watch_expiry(turn.now.unix_s(), id);
        self.give_start(turn, id);
    }

    /// Puts a machine into the place of another: at once if that one has no process, or else when it
    /// has ended. The other one comes back if it fails on probation, unless nobody wanted it to run.
    fn replace(
        &mut self,
        turn: &mut Turn,
        incumbent: MachineId,
        mut replacement: Replacement,
        token: Token,
    ) {
        let Some(old) = self.machines.get(incumbent) else {
            return self.install(turn, replacement.machine);
        };
        if !matches!(old.stop().map(|stop| &stop.then), None | Some(Then::Start(_) | Then::Hold)) {
            replacement.probation_ms = 0;
        }
        if old.has_process() {
            self.successors.insert(replacement.machine.id);
            let then = Then::Replace(Box::new(replacement));
            self.ask_to_stop(turn, incumbent, DEFAULT_STOP_MS, then, Some(token));
            self.hold(incumbent);
        } else {
            self.succeed(turn, incumbent, replacement);
        }
    }
}
