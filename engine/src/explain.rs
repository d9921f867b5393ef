//! Whether a machine would be admitted now, and what stands in its way: the same judgement as of a
//! deploy, listed to its end, and nothing changed.

use vmm_proto::authority::{Link, Validity};
use vmm_proto::id::Digest;
use vmm_proto::name::{MachineName, Path};
use vmm_proto::resource::{BridgeName, CpuSet};

use crate::admission::Order;
use crate::bounds::{Bounds, Measure, Wish, missing_bridges};
use crate::engine::Engine;
use crate::event::{Chain, ImageId, Need, Now};
use crate::images::Content;
use crate::refusal::{Refusal, Share};
use crate::view::User;

/// A deploy that might come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The machine's full name.
    pub name: MachineName,
    /// What it would ask for.
    pub need: Need,
    /// SHA-256 of its image.
    pub sha256: Digest,
    /// Bytes of its image.
    pub size: u32,
    /// Whether it may take the place of a live machine.
    pub replace: bool,
}

/// What would become of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Explanation {
    /// The delegations above the machine, outermost first.
    pub chain: Vec<Walked>,
    /// The limits above the machine, the host's first; none when the chain does not lead there.
    pub levels: Vec<Level>,
    /// The live machines below the requester's own path, the largest first.
    pub users: Vec<User>,
    /// The image, if it is stored already under the machine's path: what it is, and whether it suits
    /// the machine, the shell knows.
    pub image: Option<ImageId>,
    /// Everything that stands in the way. The first is what the deploy is refused with; it is
    /// accepted when there is none.
    pub obstacles: Vec<Refusal>,
}

/// One delegation of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked {
    /// Which.
    pub path: Path,
    /// SHA-256 of the key that signed it.
    pub issuer: Digest,
    /// The generation of this certificate.
    pub generation: u64,
    /// When this certificate may be used.
    pub validity: Validity,
    /// The newest generation that was seen, and when that was first, in milliseconds since the
    /// Unix epoch; nothing when the delegation is not remembered.
    pub newest: Option<(u64, u64)>,
    /// Whether its issuer has taken it back.
    pub revoked: bool,
}

/// The limits at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Which; the empty path is the host.
    pub path: Path,
    /// Machines.
    pub machines: Room,
    /// MiB of memory.
    pub memory_mib: Room,
    /// Bytes of cached images.
    pub image_bytes: Room,
    /// CPUs usable.
    pub cpus: CpuSet,
    /// CPUs asked for that are not.
    pub cpus_missing: CpuSet,
    /// Bridges usable; nothing for the host while its bridges are not known.
    pub bridges: Option<Vec<BridgeName>>,
    /// Bridges asked for that are not.
    pub bridges_missing: Vec<BridgeName>,
}

/// One number at one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// At most so much.
    pub limit: u64,
    /// So much is asked for: nothing of an image that is there already.
    pub asked: u64,
    /// So much is used, and so much could be had; only told of the requester's own path and what
    /// is below it.
    pub told: Option<Told>,
    /// Whether it fits.
    pub fits: bool,
}

/// What is told of a number only to whom it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// So much is used, by the machine that would be replaced also.
    pub used: u64,
    /// So much could be had.
    pub left: u64,
}

impl Explanation {
    /// Whether the deploy would be accepted.
    pub fn is_accepted(&self) -> bool {
        self.obstacles.is_empty()
    }
}

impl Engine {
    /// Whether a deploy would be accepted if it came now, and everything that stands in its way.
    ///
    /// `shown` is the requester's chain, which was shown before ([`crate::Event::Presented`]): what
    /// a newer certificate would change is not foreseen here.
    pub fn explain(&self, now: Now, shown: &Chain, question: &Question) -> Explanation {
        let links = shown.links.as_slice();
        let Question { name, need, sha256, size, replace } = question;
        let order = Order { name, claim: need.into(), links, replace: *replace };
        let content = Content { path: name.path.clone(), sha256: *sha256, size: *size };
        let mut explanation = Explanation {
            obstacles: self.not_revoked(links, shown.leaf.as_ref()).err().into_iter().collect(),
            ..Explanation::default()
        };
        explanation.obstacles.extend(self.delegations.refusals(now, links));
        let weighed = match self.weigh(order) {
            Ok(weighed) => weighed,
            Err(refusal) => {
                explanation.chain = self.walked(links, links, &name.path);
                push(&mut explanation.obstacles, refusal);
                return explanation;
            }
        };
        let known = self.images.is_known_as(&content);
        let asked = if known { 0 } else { u64::from(*size) };
        let (own, chain) = (links.len(), &weighed.chain);
        let image = (!known).then(|| self.image_obstacles(chain, order, *size));
        let networks = self.plan_of_order(now, order, &weighed).err();
        let obstacles = self.obstacles(now, order, &weighed).chain(networks.into_iter().flatten());
        for refusal in obstacles.chain(image.into_iter().flatten()) {
            push(&mut explanation.obstacles, refusal);
        }
        explanation.image = self.images.stored_as(&content);
        explanation.chain = self.walked(links, chain, &name.path);
        explanation.levels = self.levels(order.wish(&weighed), asked);
        explanation.users = self.users(&name.path.ancestor(own));
        explanation
    }

    /// Whether a start would be accepted if it came now, and everything that stands in its way.
    /// `own` is the path that the requester speaks for.
    pub fn explain_start(&self, now: Now, name: &MachineName, own: &Path) -> Explanation {
        let Some(machine) = self.listed(name) else {
            let obstacles = vec![Refusal::NotFound { name: name.clone() }];
            return Explanation { obstacles, ..Explanation::default() };
        };
        Explanation {
            chain: self.walked(&[], &machine.chain, &name.path),
            levels: self.levels(machine.wish(own.depth()), 0),
            users: self.users(own),
            // What a listed machine has was judged.
            image: None,
            obstacles: self.start_obstacles(now, machine, own.depth()).collect(),
        }
    }

    /// The delegations above a machine: the requester's as they were shown, and the remembered
    /// ones further down.
    fn walked(&self, shown: &[Link], chain: &[Link], path: &Path) -> Vec<Walked> {
        let links = shown.iter().chain(chain.iter().skip(shown.len()));
        let walked = links.zip(path.lineage().skip(1)).map(|(link, path)| Walked {
            path,
            issuer: link.issuer,
            generation: link.grant.generation,
            validity: link.validity,
            newest: self.delegations.remembered(link),
            revoked: self.revocations.holds(&link.issuer, &link.serial),
        });
        walked.collect()
    }

    fn levels(&self, wish: Wish<'_>, image: u64) -> Vec<Level> {
        let bounds = self.bounds_above(wish.chain, wish.path);
        let mut levels: Vec<_> = bounds.map(|bounds| self.level(&bounds, wish, image)).collect();
        levels.reverse();
        levels
    }

    fn level(&self, bounds: &Bounds<'_>, wish: Wish<'_>, image: u64) -> Level {
        let told = bounds.labels.len() >= wish.own;
        let [machines, memory] = self.measures(bounds, wish);
        Level {
            path: wish.path.ancestor(bounds.labels.len()),
            machines: Room::of(machines, told),
            memory_mib: Room::of(memory, told),
            image_bytes: Room::of_image(self.image_room_at(bounds), image, told),
            cpus: bounds.cpus.clone(),
            cpus_missing: wish.claim.cpus.outside(bounds.cpus).collect(),
            bridges: bounds.bridges.names(),
            bridges_missing: missing_bridges(bounds, wish.claim).cloned().collect(),
        }
    }

    /// The live machines at and below a path, the largest first.
    pub(crate) fn users(&self, below: &Path) -> Vec<User> {
        let live = self.below(below).filter(|machine| machine.state().is_live());
        let mut users: Vec<_> = live
            .map(|machine| User {
                name: machine.name.clone(),
                state: machine.state(),
                memory_mib: machine.held.memory_mib,
            })
            .collect();
        // Stable: machines of one size stay in the order of their names.
        users.sort_by_key(|user| std::cmp::Reverse(user.memory_mib));
        users
    }

    /// A chain in short, by the newest certificates.
    pub(crate) fn shares(&self, chain: &[Link], path: &Path) -> Vec<Share> {
        let links = chain.iter().zip(path.lineage().skip(1));
        let share = |(link, path)| {
            let grant = &self.delegations.newest(link).grant;
            Share { path, machines: grant.machines.into(), memory_mib: grant.memory_mib.into() }
        };
        links.map(share).collect()
    }
}

impl Room {
    fn of(measure: Measure, told: bool) -> Self {
        let Measure { limit, used, held, asked, .. } = measure;
        let left = limit.saturating_sub(used.saturating_sub(held));
        Self { limit, asked, told: told.then_some(Told { used, left }), fits: measure.fits() }
    }

    fn of_image((limit, used): (u64, u64), asked: u64, told: bool) -> Self {
        let left = limit.saturating_sub(used);
        let fits = asked == 0 || asked <= left;
        Self { limit, asked, told: told.then_some(Told { used, left }), fits }
    }
}

/// A delegation of the requester's own may be found wanting twice, for one reason.
fn push(obstacles: &mut Vec<Refusal>, refusal: Refusal) {
    if !obstacles.contains(&refusal) {
        obstacles.push(refusal);
    }
}
