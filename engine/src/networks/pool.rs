//! The addresses that a delegation may give on a bridge.

use std::cell::OnceCell;

use vmm_proto::authority::Link;
use vmm_proto::id::Digest;
use vmm_proto::name::{Label, Path};
use vmm_proto::resource::{AddressRange, Bridge, BridgeName, Family};

use super::holders::closed_at;
use super::numbers::{Span, merged, never, number};
use super::refusal::NetworkRefusal;
use super::{FAMILIES, Interface};
use crate::engine::Engine;
use crate::event::Now;

/// The addresses of one family that the delegation of a path may give on a bridge.
#[derive(Debug)]
pub(super) struct Pool<'a> {
    /// What the delegation says.
    pub(super) range: &'a AddressRange,
    /// What all delegations above have in common with it.
    pub(super) span: Span,
    /// What is not for new machines of this path, in order: what was delegated further, and what no
    /// machine can have.
    pub(super) closed: Vec<Span>,
}

impl Pool<'_> {
    /// Whether a machine that had the address may keep it. What was delegated further meanwhile
    /// stays with whoever has it.
    pub(super) const fn contains(&self, number: u128) -> bool {
        self.span.contains(number)
    }

    /// Whether a new machine may have it.
    pub(super) fn gives(&self, number: u128) -> bool {
        self.contains(number) && closed_at(&self.closed, number).is_none()
    }
}

/// The range of a family.
pub(super) const fn range_of(bridge: &Bridge, family: Family) -> Option<&AddressRange> {
    match family {
        Family::V4 => bridge.range(),
        Family::V6 => bridge.range6(),
    }
}

impl Engine {
    /// The delegations of an issuer's key below a path that are in force: valid now, and not revoked.
    pub(super) fn children_in_force<'a>(
        &'a self,
        now: Now,
        issuer: Digest,
        path: &Path,
    ) -> impl Iterator<Item = (&'a Label, &'a Link)> {
        self.delegations.children_of(issuer, path).filter(move |(_, link)| {
            link.validity.contains(now.unix_s()) && self.not_revoked([*link], None).is_ok()
        })
    }
}

/// The delegations above a machine, of which its pools come.
pub(super) struct Above<'a> {
    engine: &'a Engine,
    now: Now,
    path: &'a Path,
    /// The newest certificate of each, the innermost first.
    newest: Vec<&'a Link>,
    /// What the innermost has delegated further: looked up once for all bridges, as there may be many.
    below: OnceCell<Vec<&'a Link>>,
}

impl<'a> Above<'a> {
    /// Those of a chain, which leads to `path`.
    pub(super) fn of(engine: &'a Engine, now: Now, chain: &'a [Link], path: &'a Path) -> Self {
        let newest = chain.iter().rev().map(|link| engine.delegations.newest(link)).collect();
        Self { engine, now, path, newest, below: OnceCell::new() }
    }

    /// What the innermost may give on a bridge: nothing where addresses are not managed, and on a
    /// bridge that one of them does not have.
    ///
    /// Every delegation above counts, each by its newest certificate: one that was renewed may have
    /// become smaller than what was delegated from it.
    pub(super) fn pool(
        &self,
        bridge: &BridgeName,
        family: Family,
    ) -> Result<Option<Pool<'a>>, NetworkRefusal> {
        let Some((innermost, others)) = self.newest.split_first() else { return Ok(None) };
        let Some(own) = innermost.grant.bridges.get(bridge) else { return Ok(None) };
        let own = range_of(own, family);
        let mut span = own.map(Span::of);
        for (link, depth) in others.iter().zip((1..=others.len()).rev()) {
            let Some(above) = link.grant.bridges.get(bridge) else { return Ok(None) };
            let above = range_of(above, family);
            let meets = own.zip(above).map(|(own, above)| meet(own, above));
            let common = span.zip(above).and_then(|(span, above)| span.common(Span::of(above)));
            let why = match (own, above, meets) {
                (None, None, _) => continue,
                (None, Some(_), _) => "it manages them there",
                (Some(_), None, _) => "it has none there",
                (_, _, Some(Err(why))) => why,
                _ if common.is_none() => "none is in both",
                _ => {
                    span = common;
                    continue;
                }
            };
            let (path, above, bridge) =
                (self.path.clone(), self.path.ancestor(depth), bridge.clone());
            return Err(NetworkRefusal::Diverged { path, above, bridge, family, why });
        }
        let Some((range, span)) = own.zip(span) else { return Ok(None) };
        let closed = self.delegated_further(innermost, bridge, range);
        Ok(Some(Pool { range, span, closed }))
    }

    /// What of a range is delegated further by certificates that are valid now, and what no machine
    /// can have.
    fn delegated_further(
        &self,
        innermost: &Link,
        bridge: &BridgeName,
        range: &AddressRange,
    ) -> Vec<Span> {
        let below = self.below.get_or_init(|| {
            let below = self.engine.children_in_force(self.now, innermost.key, self.path);
            below.map(|(_, link)| link).collect()
        });
        let bridges = below.iter().filter_map(|link| link.grant.bridges.get(bridge));
        let ranges = bridges.filter_map(|bridge| range_of(bridge, range.family()));
        let mut closed = never(range);
        closed.extend(ranges.map(Span::of));
        merged(closed)
    }
}

impl Interface {
    /// Whether it has an address that a delegation does not give there (any more), or has none where
    /// that gives some by now.
    pub(crate) fn is_beyond(&self, bridge: &Bridge) -> bool {
        FAMILIES.into_iter().any(|family| {
            let mut addresses = self.addresses();
            let own = addresses.find(|(of, ..)| *of == family);
            match (own, range_of(bridge, family)) {
                (None, None) => false,
                (Some((_, at, prefix)), Some(range)) => {
                    range.prefix() != prefix || !Span::of(range).contains(number(at))
                }
                _ => true,
            }
        })
    }
}

fn meet(own: &AddressRange, above: &AddressRange) -> Result<(), &'static str> {
    if own.gateway() != above.gateway() {
        Err("it has another gateway")
    } else if own.prefix() != above.prefix() {
        Err("its subnet has another size")
    } else {
        Ok(())
    }
}
