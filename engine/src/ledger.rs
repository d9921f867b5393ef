//! What is reserved, at every path.

use vmm_proto::name::{Label, Path};

use crate::per_path::PerPath;

/// What machines take of the numbers that a delegation bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Machines.
    pub machines: u32,
    /// MiB of memory.
    pub memory_mib: u64,
}

impl Amount {
    /// What one machine takes.
    pub(crate) fn of_machine(memory_mib: u32) -> Self {
        Self { machines: 1, memory_mib: memory_mib.into() }
    }

    /// The larger of the two in each quantity: what is held while one machine replaces another.
    #[must_use]
    pub(crate) fn larger(self, other: Self) -> Self {
        Self {
            machines: self.machines.max(other.machines),
            memory_mib: self.memory_mib.max(other.memory_mib),
        }
    }

    /// This without `from` and with `to`.
    #[must_use]
    pub(crate) fn exchanged(self, from: Self, to: Self) -> Self {
        Self {
            machines: self.machines.saturating_sub(from.machines).saturating_add(to.machines),
            memory_mib: self
                .memory_mib
                .saturating_sub(from.memory_mib)
                .saturating_add(to.memory_mib),
        }
    }
}

/// The sum of what live machines hold, at each path and for everything below it. A look-up costs
/// the same however many machines there are.
#[derive(Debug, Default)]
pub(crate) struct Ledger(PerPath<Amount>);

impl Ledger {
    /// What is held at and below the path of these labels.
    pub(crate) fn used(&self, labels: &[Label]) -> Amount {
        self.0.get(labels).copied().unwrap_or_default()
    }

    /// A machine at `path` held `from` and now holds `to`.
    pub(crate) fn exchange(&mut self, path: &Path, from: Amount, to: Amount) {
        if from != to {
            self.0.change_lineage(path, |used| *used = used.exchanged(from, to));
        }
    }
}
