//! One value for each path, found without making the path first.

use std::collections::HashMap;

use vmm_proto::name::{Label, Path};

/// A value for each path; what was never changed has the default, and costs nothing.
#[derive(Debug, Default)]
pub(crate) struct PerPath<T>(HashMap<Path, T>);

impl<T: Default + PartialEq> PerPath<T> {
    /// The value at the path of these labels.
    pub(crate) fn get(&self, labels: &[Label]) -> Option<&T> {
        self.0.get(labels)
    }

    /// Changes the value at `path` and at every path above it, the host included.
    pub(crate) fn change_lineage(&mut self, path: &Path, mut change: impl FnMut(&mut T)) {
        for depth in 0..=path.depth() {
            let labels = path.labels().get(..depth).unwrap_or_default();
            let Some(value) = self.0.get_mut(labels) else {
                change(self.0.entry(path.ancestor(depth)).or_default());
                continue;
            };
            change(value);
            let unused = *value == T::default();
            if unused {
                self.0.remove(labels);
            }
        }
    }
}
