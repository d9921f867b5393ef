//! Places that are given out and come back by themselves: connections per address, sessions per
//! delegation.

use std::collections::HashMap;
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

/// Whose places are all taken.
#[derive(Debug)]
pub(crate) struct Full {
    /// `this host`, or a delegation.
    pub(crate) of: String,
    /// How many there are.
    pub(crate) limit: usize,
}

impl Places<Path> {
    /// One place at `path`, at every delegation above it, and of the host.
    ///
    /// # Errors
    /// Which of them has no place left.
    pub(crate) fn take_at(
        &self,
        path: &Path,
        of_host: usize,
        of_delegation: usize,
    ) -> Result<Place<Path>, Full> {
        let limits = path.lineage().map(|path| {
            let limit = if path.is_host() { of_host } else { of_delegation };
            (path, limit)
        });
        self.take(limits).map_err(|(path, limit)| {
            let of = if path.is_host() { "this host".to_owned() } else { format!("\"{path}/\"") };
            Full { of, limit }
        })
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
}
