//! What stands below a delegation, as far as the databases of the lower levels are at hand.

use std::path::PathBuf;

use vmm_proto::id::Digest;
use vmm_proto::name::MAX_DELEGATIONS;

use super::World;
use crate::database::{Database, Kind};
use crate::time::Moment;
use crate::{Error, describe};

/// Databases of lower levels.
pub(super) struct Subtree(Vec<Database>);

impl Subtree {
    pub(super) fn read(files: &[PathBuf], world: &World<'_>) -> Result<Self, Error> {
        files
            .iter()
            .map(|file| Database::list(&world.path(file)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Everything that can still be used at `now` below the delegation with this key, one line each.
    pub(super) fn below(&self, key: &Digest, now: i64) -> Vec<String> {
        let mut lines = Vec::new();
        self.collect(key, "", 1, now, &mut lines);
        lines
    }

    fn collect(&self, key: &Digest, path: &str, depth: usize, now: i64, lines: &mut Vec<String>) {
        // A delegation may have given a share to its own key: the depth ends that.
        if depth > MAX_DELEGATIONS {
            return;
        }
        for database in self.0.iter().filter(|database| database.issuer() == *key) {
            for issued in database.live(now) {
                let name = format!("{path}{}", describe::printable(&issued.name));
                let (kind, until) = (issued.kind.name(), Moment(issued.validity.not_after));
                lines.push(format!("    with it: {name} ({kind}), valid until {until}"));
                if let Kind::Delegation(_) = issued.kind {
                    self.collect(&issued.key, &format!("{name}/"), depth + 1, now, lines);
                }
            }
        }
    }
}
