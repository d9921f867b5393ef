//! Places that are given out and come back by themselves: connections per address, sessions per
//! delegation.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use vmm_proto::name::Path;

/// Counts who has how many places.
#[derive(Debug)]
pub(crate) struct Places<K: Eq + Hash + Clone>(Arc<Mutex<HashMap<K, usize>>>);

impl<K: Eq + Hash + Clone> Default for Places<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// Places held under some keys.
#[derive(Debug)]
pub(crate) struct Place<K: Eq + Hash + Clone> {
    of: Arc<Mutex<HashMap<K, usize>>>,
    keys: Vec<K>,
}

impl<K: Eq + Hash + Clone> Places<K> {
    /// One place under every key, if each has fewer than its limit; all or nothing.
    ///
    /// # Errors
    /// The first key whose places are all taken, and its limit.
    pub(crate) fn take(
        &self,
        keys: impl IntoIterator<Item = (K, usize)>,
    ) -> Result<Place<K>, (K, usize)> {
        let keys: Vec<_> = keys.into_iter().collect();
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |(key, limit): &&(K, usize)| taken.get(key).is_some_and(|count| count >= limit);
        if let Some(full) = keys.iter().find(full) {
            return Err(full.clone());
        }
        let keys: Vec<K> = keys.into_iter().map(|(key, _)| key).collect();
        for key in &keys {
            *taken.entry(key.clone()).or_default() += 1;
        }
        Ok(Place { of: Arc::clone(&self.0), keys })
    }
}

/// From whom something comes: what is counted for a path itself is apart from what is counted for
/// all below it, so that nobody below takes a place from those who can take them back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// Whoever speaks for this path itself.
    At(Path),
    /// Anybody further down.
    Below(Path),
}

impl Origin {
    /// Everything under which that is counted which comes from whoever speaks for `path`.
    pub(crate) fn all(path: &Path) -> impl Iterator<Item = Self> + '_ {
        let above = (0..path.depth()).map(|depth| Self::Below(path.ancestor(depth)));
        above.chain([Self::At(path.clone())])
    }

    /// Whether it is all delegations of the host together.
    pub(crate) fn is_all_of_host(&self) -> bool {
        matches!(self, Self::Below(path) if path.is_host())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(path) if path.is_host() => f.write_str("this host itself"),
            Self::Below(path) if path.is_host() => f.write_str("all delegations of this host"),
            Self::At(path) => write!(f, "\"{path}/\" itself"),
            Self::Below(path) => write!(f, "all below \"{path}/\""),
        }
    }
}

/// Whose places are all taken.
#[derive(Debug)]
pub(crate) struct Full {
    pub(crate) of: Origin,
    /// How many there are.
    pub(crate) limit: usize,
}

impl Places<Origin> {
    /// One place for whoever speaks for `path`: its own, and one below every delegation above it and
    /// below the host.
    ///
    /// # Errors
    /// Which of them has no place left.
    pub(crate) fn take_at(
        &self,
        path: &Path,
        of_host: usize,
        of_delegation: usize,
    ) -> Result<Place<Origin>, Full> {
        let limits = Origin::all(path).map(|origin| {
            let limit = if origin.is_all_of_host() { of_host } else { of_delegation };
            (origin, limit)
        });
        self.take(limits).map_err(|(of, limit)| Full { of, limit })
    }
}

impl<K: Eq + Hash + Clone> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            if let Some(count) = taken.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    taken.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_and_a_full_key_takes_none_elsewhere() {
        let places = Places::default();
        let first = places.take([("host", 2), ("dev", 1)]).unwrap();
        assert_eq!(places.take([("host", 2), ("dev", 1)]).unwrap_err(), ("dev", 1));
        let second = places.take([("host", 2)]).unwrap();
        assert_eq!(places.take([("host", 2)]).unwrap_err(), ("host", 2));
        drop((first, second));
        assert!(places.0.lock().unwrap().is_empty());
    }

    #[test]
    fn those_below_take_no_place_from_those_above() {
        let places = Places::default();
        let path = |text: &str| Path::parse(text).unwrap();
        let take = |of: &str| places.take_at(&path(of), 5, 2);
        let mut taken = vec![take("dev/a").unwrap(), take("dev/b").unwrap()];
        let full = take("dev/c/d").unwrap_err();
        assert_eq!(full.of.to_string(), "all below \"dev/\"");
        taken.extend([take("dev").unwrap(), take("dev").unwrap()]);
        assert_eq!(take("dev").unwrap_err().of.to_string(), "\"dev/\" itself");
        taken.push(take("ops").unwrap());
        let full = take("ops").unwrap_err();
        assert_eq!((full.of.to_string().as_str(), full.limit), ("all delegations of this host", 5));
        taken.extend([take("").unwrap(), take("").unwrap()]);
        assert_eq!(take("").unwrap_err().of.to_string(), "this host itself");
    }
}
