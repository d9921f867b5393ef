//! Ranges of siblings that overlap. That is no fault (there is no rule about the sum of siblings),
//! but hardly what their issuer wants.

use std::collections::HashMap;

use vmm_proto::authority::Link;
use vmm_proto::name::Path;
use vmm_proto::resource::{Bridge, BridgeName};

use super::FAMILIES;
use super::numbers::{Span, address};
use super::pool::range_of;
use crate::engine::{Engine, Turn};
use crate::event::Now;
use crate::record::{Overlap, Record};

impl Engine {
    /// Records that a delegation, which has become known or has other bridges than before, has
    /// addresses that siblings of it have, too.
    pub(crate) fn note_overlaps(&self, turn: &mut Turn, path: &Path, link: &Link) {
        let bridges: HashMap<&BridgeName, &Bridge> = link
            .grant
            .bridges
            .iter()
            .filter(|bridge| bridge.range().is_some() || bridge.range6().is_some())
            .map(|bridge| (bridge.name(), bridge))
            .collect();
        if bridges.is_empty() {
            return;
        }
        let mut siblings = self.siblings_that_overlap(turn.now, path, link, &bridges);
        siblings.sort_unstable_by(|one, other| one.sibling.cmp(&other.sibling));
        let more = siblings.len().saturating_sub(1);
        if let Some(first) = siblings.into_iter().next() {
            turn.push(crate::Effect::Record(Record::Overlap(Box::new(Overlap { more, ..first }))));
        }
    }

    /// Each sibling at most once.
    fn siblings_that_overlap(
        &self,
        now: Now,
        path: &Path,
        link: &Link,
        bridges: &HashMap<&BridgeName, &Bridge>,
    ) -> Vec<Overlap> {
        let above = path.ancestor(path.depth().saturating_sub(1));
        let in_force = self.children_in_force(now, link.issuer, &above);
        let siblings = in_force.filter(|(label, _)| **label != link.label);
        let overlap = siblings.filter_map(|(label, sibling)| {
            let same = |theirs: &Bridge| bridges.get(theirs.name()).map(|own| common(own, theirs));
            let (theirs, (first, last)) =
                sibling.grant.bridges.iter().find_map(|theirs| Some((theirs, same(theirs)??)))?;
            let (path, sibling) = (path.clone(), above.child(label.clone()).ok()?);
            let bridge = theirs.name().clone();
            Some(Overlap { path, sibling, bridge, first, last, more: 0 })
        });
        overlap.collect()
    }
}

/// The first and the last address that both have, of the first family of which they have any.
fn common(own: &Bridge, theirs: &Bridge) -> Option<(std::net::IpAddr, std::net::IpAddr)> {
    FAMILIES.into_iter().find_map(|family| {
        let (own, theirs) = (range_of(own, family)?, range_of(theirs, family)?);
        let common = Span::of(own).common(Span::of(theirs))?;
        Some((address(family, common.first), address(family, common.last)))
    })
}
