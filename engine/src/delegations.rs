//! The newest certificate seen of each delegation (rule 9 of the certificate profile).
//!
//! A delegation is known by the key that signed it and its label. Its newest certificate rules for
//! everyone, so that a smaller share takes effect the first time anybody shows it. The memory is
//! bounded per delegation and per top-level delegation, because everybody below can mint names;
//! only the root's own children are not counted: nobody but the root's holder can make them.
//!
//! What could refuse nothing any more is forgotten when its room is needed: every certificate of
//! that delegation that was ever shown here has expired. Nothing is forgotten before, since a
//! certificate outlives its issuer's memory of it.

use std::collections::{BTreeSet, HashMap, HashSet};

use smallvec::{SmallVec, smallvec};
use vmm_proto::authority::Link;
use vmm_proto::id::Digest;
use vmm_proto::name::{Label, Path};

use crate::event::Now;
use crate::refusal::Refusal;

/// At most so many live children of one delegation are remembered.
pub const MAX_CHILDREN: usize = 1024;

/// At most so many live delegations below a top-level one are remembered.
pub const MAX_BELOW_TOP: usize = 16_384;

/// One certificate may be reached over so many paths (a key that was certified under several
/// names); with more, the last ones are not found from above.
const MAX_PATHS: usize = 4;

/// What is remembered of one delegation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The newest certificate.
    pub link: Link,
    /// When it was first seen, in milliseconds since the Unix epoch.
    pub seen_unix_ms: u64,
    /// The last second at which any certificate seen of it is valid.
    pub until_s: i64,
    /// Where it was seen, at least once. The first path decides under which top-level delegation
    /// it counts.
    pub paths: SmallVec<[Path; 1]>,
}

impl Remembered {
    fn top(&self) -> Option<&Label> {
        self.paths.first().and_then(|path| path.labels().first())
    }

    /// Whether it counts among those below its top-level delegation.
    fn counts(&self) -> bool {
        self.paths.first().is_some_and(|path| path.depth() > 1)
    }
}

/// Where a delegation is: the first `depth` labels of `path`. Its own path is made only when it has
/// to be kept or told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) path: &'a Path,
    pub(crate) depth: usize,
}

impl Place<'_> {
    fn own(self) -> Path {
        self.path.ancestor(self.depth)
    }

    fn is_among(self, paths: &[Path]) -> bool {
        paths.iter().any(|other| other.depth() == self.depth && self.path.is_within(other))
    }
}

/// What is remembered below a top-level delegation.
#[derive(Debug, Default)]
struct Top {
    count: usize,
    issuers: HashSet<Digest>,
    /// Until this second looking for expired ones would find none.
    full_until_s: i64,
}

/// A delegation has become known, or another certificate of it has come to rule.
#[derive(Debug)]
pub(crate) struct Renewal {
    pub(crate) path: Path,
    /// The generation of the one before, if there was one.
    pub(crate) before: Option<u64>,
    pub(crate) link: Link,
    /// Whether its bridges are others than before.
    pub(crate) other_bridges: bool,
}

/// A delegation by what it is known by: the SHA-256 of the key that signed it, and its label.
pub(crate) type Known = (Digest, Label);

/// The memory.
#[derive(Debug)]
pub(crate) struct Delegations {
    root: Digest,
    by_issuer: HashMap<Digest, HashMap<Label, Remembered>>,
    tops: HashMap<Label, Top>,
    /// With so many top-level delegations it is time to look for expired ones.
    sweep_root_at: usize,
    /// What has changed since it was last asked for.
    changed: BTreeSet<Known>,
}

impl Delegations {
    pub(crate) fn new(root: Digest) -> Self {
        Self {
            root,
            by_issuer: HashMap::new(),
            tops: HashMap::new(),
            sweep_root_at: MAX_CHILDREN,
            changed: BTreeSet::new(),
        }
    }

    /// What has changed since this was last asked: what is remembered now of each, if anything.
    pub(crate) fn take_changes(&mut self) -> impl Iterator<Item = (Known, Option<Remembered>)> {
        std::mem::take(&mut self.changed).into_iter().map(|known| {
            let now = self.find(&known.0, &known.1).cloned();
            (known, now)
        })
    }

    /// Takes back what a former run remembered.
    pub(crate) fn restore(&mut self, remembered: Remembered) {
        self.enter(remembered);
    }

    /// Judges a chain, and remembers it if it is not refused. What is new goes to `renewals`,
    /// also when there is no room for a delegation further down. A remembered certificate that
    /// `is_revoked` gives way to another one of the same grant.
    pub(crate) fn present(
        &mut self,
        now: Now,
        links: &[Link],
        is_revoked: &dyn Fn(&Link) -> bool,
        renewals: &mut Vec<Renewal>,
    ) -> Result<(), Refusal> {
        let path = self.path_of(links)?;
        let fault = self.faults(now, links, &path).next();
        if let Some(refusal) = fault {
            return Err(refusal);
        }
        for (depth, link) in (1..).zip(links) {
            self.remember(now, link, Place { path: &path, depth }, is_revoked, renewals)?;
        }
        Ok(())
    }

    /// What is wrong with the links of the chain of `path`, the outermost first.
    fn faults<'a>(
        &'a self,
        now: Now,
        links: &'a [Link],
        path: &'a Path,
    ) -> impl Iterator<Item = Refusal> + 'a {
        (1..)
            .zip(links)
            .filter_map(move |(depth, link)| self.judge(now, link, Place { path, depth }).err())
    }

    /// What is remembered of the delegation that `link` is one of: its newest generation, and when
    /// that was first seen, in milliseconds since the Unix epoch.
    pub(crate) fn remembered(&self, link: &Link) -> Option<(u64, u64)> {
        let known = self.find(&link.issuer, &link.label)?;
        Some((known.link.grant.generation, known.seen_unix_ms))
    }

    /// Everything for which a chain is refused, as far as that can be told without remembering it.
    pub(crate) fn refusals(&self, now: Now, links: &[Link]) -> Vec<Refusal> {
        match self.path_of(links) {
            Ok(path) => self.faults(now, links, &path).collect(),
            Err(refusal) => vec![refusal],
        }
    }

    /// The newest certificate of the delegation that `link` is one of.
    pub(crate) fn newest<'a>(&'a self, link: &'a Link) -> &'a Link {
        self.find(&link.issuer, &link.label).map_or(link, |known| &known.link)
    }

    /// The delegations of `links` and the remembered ones from there down to `path`, the newest of
    /// each. Fails for one that is not remembered; validity is for the caller to judge.
    pub(crate) fn chain_to(&self, links: &[Link], path: &Path) -> Result<Vec<Link>, Refusal> {
        let mut chain: Vec<Link> =
            links.iter().take(path.depth()).map(|link| self.newest(link).clone()).collect();
        for depth in chain.len()..path.depth() {
            let here = path.ancestor(depth + 1);
            let issuer = chain.last().map_or(self.root, |link| link.key);
            let known = path
                .labels()
                .get(depth)
                .and_then(|label| self.find(&issuer, label))
                .filter(|known| known.paths.contains(&here));
            let Some(known) = known else {
                return Err(Refusal::UnknownDelegation { path: here });
            };
            chain.push(known.link.clone());
        }
        Ok(chain)
    }

    /// `path`, whose delegations are `chain`, as it is remembered: what is kept for one path by its
    /// name then shares the labels, and finds them where they were just read.
    pub(crate) fn shared(&self, chain: &[Link], path: Path) -> Path {
        let known = chain.last().and_then(|link| self.find(&link.issuer, &link.label));
        let same = known.and_then(|known| known.paths.iter().find(|known| **known == path));
        same.cloned().unwrap_or(path)
    }

    /// The remembered delegations right below `path` that this key has signed, in no order.
    pub(crate) fn children_of<'a>(
        &'a self,
        issuer: Digest,
        path: &Path,
    ) -> impl Iterator<Item = (&'a Label, &'a Link)> {
        let siblings = self.by_issuer.get(&issuer).into_iter().flatten();
        siblings.filter_map(move |(label, known)| {
            let mut paths = known.paths.iter();
            let here = paths.any(|it| it.depth() == path.depth() + 1 && it.is_within(path));
            here.then_some((label, &known.link))
        })
    }

    /// The remembered delegations right below `path`, whose own delegation is the last of `chain`, in
    /// the order of their labels.
    pub(crate) fn children<'a>(
        &'a self,
        chain: Option<&Link>,
        path: &Path,
    ) -> impl Iterator<Item = (Path, &'a Link)> + use<'a> {
        let issuer = chain.map_or(self.root, |link| link.key);
        let mut children: Vec<_> = self
            .children_of(issuer, path)
            .filter_map(|(label, link)| Some((path.child(label.clone()).ok()?, link)))
            .collect();
        children.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        children.into_iter()
    }

    /// The path of a chain whose links follow from each other, beginning at the root.
    fn path_of(&self, links: &[Link]) -> Result<Path, Refusal> {
        let mut issuer = self.root;
        for link in links {
            if link.issuer != issuer {
                return Err(Refusal::BrokenChain);
            }
            issuer = link.key;
        }
        let labels = links.iter().map(|link| link.label.clone()).collect();
        Path::new(labels).map_err(|_| Refusal::BrokenChain)
    }

    fn find(&self, issuer: &Digest, label: &Label) -> Option<&Remembered> {
        self.by_issuer.get(issuer)?.get(label)
    }

    fn judge(&self, now: Now, link: &Link, place: Place<'_>) -> Result<(), Refusal> {
        valid(now, link, place)?;
        let Some(known) = self.find(&link.issuer, &link.label) else {
            return Ok(());
        };
        let newest = &known.link.grant;
        if link.grant.generation < newest.generation {
            return Err(Refusal::Stale {
                path: place.own(),
                presented: link.grant.generation,
                newest: newest.generation,
                seen_unix_ms: known.seen_unix_ms,
            });
        }
        if link.grant.generation == newest.generation && link.grant != *newest {
            return Err(Refusal::OtherShare { path: place.own(), generation: newest.generation });
        }
        Ok(())
    }

    fn remember(
        &mut self,
        now: Now,
        link: &Link,
        place: Place<'_>,
        is_revoked: &dyn Fn(&Link) -> bool,
        renewals: &mut Vec<Renewal>,
    ) -> Result<(), Refusal> {
        let siblings = self.by_issuer.get_mut(&link.issuer);
        let Some(known) = siblings.and_then(|siblings| siblings.get_mut(&link.label)) else {
            let path = place.own();
            self.make_room(now, link, &path)?;
            self.changed.insert((link.issuer, link.label.clone()));
            let (at, newest) = (path.clone(), link.clone());
            renewals.push(Renewal { path: at, before: None, link: newest, other_bridges: true });
            self.enter(Remembered {
                link: link.clone(),
                seen_unix_ms: now.unix_ms,
                until_s: link.validity.not_after,
                paths: smallvec![path],
            });
            return Ok(());
        };
        let before = known.link.grant.generation;
        let newer = link.grant.generation > before;
        // The same grant, signed again: it lasts as long as the last of them.
        let longer =
            link.validity.not_after > known.link.validity.not_after || is_revoked(&known.link);
        let elsewhere = !place.is_among(&known.paths) && known.paths.len() < MAX_PATHS;
        if newer {
            known.seen_unix_ms = now.unix_ms;
        }
        if newer || longer {
            let other_bridges = known.link.grant.bridges != link.grant.bridges;
            known.link = link.clone();
            let (path, before, link) = (place.own(), Some(before), link.clone());
            renewals.push(Renewal { path, before, link, other_bridges });
        }
        if elsewhere {
            known.paths.push(place.own());
        }
        if newer || longer || elsewhere || link.validity.not_after > known.until_s {
            known.until_s = known.until_s.max(link.validity.not_after);
            self.changed.insert((link.issuer, link.label.clone()));
        }
        Ok(())
    }

    fn enter(&mut self, remembered: Remembered) {
        let Link { issuer, label, .. } = remembered.link.clone();
        if let Some(top) = remembered.top().filter(|_| remembered.counts()) {
            let top = self.tops.entry(top.clone()).or_default();
            top.count += 1;
            top.issuers.insert(issuer);
            top.full_until_s = top.full_until_s.min(remembered.until_s);
        }
        self.by_issuer.entry(issuer).or_default().insert(label, remembered);
    }

    fn make_room(&mut self, now: Now, link: &Link, path: &Path) -> Result<(), Refusal> {
        let count = self.by_issuer.get(&link.issuer).map_or(0, HashMap::len);
        let Some(label) = path.labels().first().filter(|_| path.depth() > 1) else {
            if count >= self.sweep_root_at {
                self.forget_expired(now, link.issuer, None);
                let left = self.by_issuer.get(&link.issuer).map_or(0, HashMap::len);
                self.sweep_root_at = MAX_CHILDREN.max(2 * left);
            }
            return Ok(());
        };
        let full = |depth, limit| Refusal::TooManyDelegations {
            path: path.clone(),
            above: path.ancestor(depth),
            limit,
        };
        if count >= MAX_CHILDREN {
            self.forget_expired(now, link.issuer, None);
            if self.by_issuer.get(&link.issuer).map_or(0, HashMap::len) >= MAX_CHILDREN {
                return Err(full(path.depth() - 1, MAX_CHILDREN));
            }
        }
        if self.below_top(label) >= MAX_BELOW_TOP {
            self.sweep_top(now, label);
            if self.below_top(label) >= MAX_BELOW_TOP {
                return Err(full(1, MAX_BELOW_TOP));
            }
        }
        Ok(())
    }

    fn below_top(&self, label: &Label) -> usize {
        self.tops.get(label).map_or(0, |top| top.count)
    }

    /// Forgets what has expired below a top-level delegation, unless it is known that nothing has.
    fn sweep_top(&mut self, now: Now, label: &Label) {
        let Some(top) = self.tops.get(label).filter(|top| now.unix_s() > top.full_until_s) else {
            return;
        };
        let issuers: Vec<Digest> = top.issuers.iter().copied().collect();
        let first = issuers
            .into_iter()
            .filter_map(|issuer| self.forget_expired(now, issuer, Some(label)))
            .min();
        if let Some(top) = self.tops.get_mut(label) {
            top.full_until_s = first.unwrap_or(i64::MIN);
        }
    }

    /// Forgets what has expired of an issuer's delegations (of those that count under `only`), and
    /// returns when the next one of them expires.
    fn forget_expired(&mut self, now: Now, issuer: Digest, only: Option<&Label>) -> Option<i64> {
        let children = self.by_issuer.get_mut(&issuer)?;
        let mut next: Option<i64> = None;
        let tops = &mut self.tops;
        let changed = &mut self.changed;
        children.retain(|label, known| {
            if only.is_some_and(|only| known.top() != Some(only)) {
                return true;
            }
            if known.until_s >= now.unix_s() {
                next = Some(next.map_or(known.until_s, |next| next.min(known.until_s)));
                return true;
            }
            let top = known.top().filter(|_| known.counts());
            if let Some(top) = top.and_then(|top| tops.get_mut(top)) {
                top.count = top.count.saturating_sub(1);
            }
            changed.insert((issuer, label.clone()));
            false
        });
        if children.is_empty() {
            self.by_issuer.remove(&issuer);
        }
        if next.is_none()
            && let Some(top) = only.and_then(|only| self.tops.get_mut(only))
        {
            top.issuers.remove(&issuer);
        }
        next
    }
}

/// Whether the delegation `link` at a place may be used now.
pub(crate) fn valid(now: Now, link: &Link, place: Place<'_>) -> Result<(), Refusal> {
    let now_s = now.unix_s();
    if link.validity.contains(now_s) {
        Ok(())
    } else {
        Err(Refusal::Expired { path: place.own(), validity: link.validity, now_s })
    }
}
