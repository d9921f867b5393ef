//! The addresses that a delegation may give on a bridge.

use vmm_proto::authority::Link;
use vmm_proto::name::Path;
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
    /// What the delegation of `path` may give on a bridge, `chain` being the delegations above a
    /// machine there: nothing where addresses are not managed, and on a bridge that one of them
    /// does not have.
    ///
    /// Every delegation above counts, each by its newest certificate: one that was renewed may have
    /// become smaller than what was delegated from it.
    pub(super) fn pool<'a>(
        &'a self,
        now: Now,
        (chain, path): (&'a [Link], &Path),
        bridge: &BridgeName,
        family: Family,
    ) -> Result<Option<Pool<'a>>, NetworkRefusal> {
        let mut newest = chain.iter().map(|link| self.delegations.newest(link)).enumerate().rev();
        let Some((_, innermost)) = newest.next() else { return Ok(None) };
        let Some(own) = innermost.grant.bridges.get(bridge) else { return Ok(None) };
        let own = range_of(own, family);
        let mut span = own.map(Span::of);
        for (index, link) in newest {
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
            let (path, above, bridge) = (path.clone(), path.ancestor(index + 1), bridge.clone());
            return Err(NetworkRefusal::Diverged { path, above, bridge, family, why });
        }
        let Some((range, span)) = own.zip(span) else { return Ok(None) };
        let closed = self.delegated_further(now, innermost, path, bridge, range);
        Ok(Some(Pool { range, span, closed }))
    }

    /// What of a range is delegated further by certificates that are valid now, and what no machine
    /// can have.
    fn delegated_further(
        &self,
        now: Now,
        link: &Link,
        path: &Path,
        bridge: &BridgeName,
        range: &AddressRange,
    ) -> Vec<Span> {
        let mut closed = never(range);
        let below = self.delegations.children_of(link.key, path).map(|(_, link)| link);
        let in_force = below.filter(|link| {
            link.validity.contains(now.unix_s()) && self.not_revoked([*link], None).is_ok()
        });
        let bridges = in_force.filter_map(|link| link.grant.bridges.get(bridge));
        let ranges = bridges.filter_map(|bridge| range_of(bridge, range.family()));
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
