//! Which processors a machine runs on.

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tracing::error;

/// Why a machine cannot run on the CPUs that were asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// no CPU is named
    #[error("no CPU is named for it to run on")]
    NoCpu,
    /// CPU {0} cannot be used
    #[error("CPU {0} cannot be used on this host")]
    Unusable(u16),
    /// cannot set the CPUs that it may run on: {0}
    #[error("cannot set the CPUs that it may run on: {0}")]
    Kernel(Errno),
}

/// While this lives, processes start on the given CPUs: they inherit them from this one, which
/// gets back what it had when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// Pins this thread.
    ///
    /// # Errors
    /// No CPU is named, or one that this host does not have or that this process may not use.
    pub fn to(cpus: &[u16]) -> Result<Self, Error> {
        let first = *cpus.first().ok_or(Error::NoCpu)?;
        let mut wanted = CpuSet::new();
        for &cpu in cpus {
            if usize::from(cpu) >= CpuSet::MAX_CPU {
                return Err(Error::Unusable(cpu));
            }
            wanted.set(cpu.into());
        }
        let pinned = Self { before: sched_getaffinity(None).map_err(Error::Kernel)? };
        match sched_setaffinity(None, &wanted) {
            Ok(()) => {}
            Err(Errno::INVAL) => return Err(Error::Unusable(first)),
            Err(error) => return Err(Error::Kernel(error)),
        }
        // The kernel leaves out, silently, what it does not have.
        let got = sched_getaffinity(None).map_err(Error::Kernel)?;
        match cpus.iter().find(|&&cpu| !got.is_set(cpu.into())) {
            Some(&cpu) => Err(Error::Unusable(cpu)),
            None => Ok(pinned),
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Err(error) = sched_setaffinity(None, &self.before) {
            error!("cannot go back to the CPUs that vmm-spawn itself runs on: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_that_is_not_there_is_named_and_nothing_changes() {
        let before = sched_getaffinity(None).unwrap();
        for cpus in [&[][..], &[1023], &[60000], &[0, 1023]] {
            assert!(Pinned::to(cpus).is_err(), "{cpus:?}");
            assert_eq!(sched_getaffinity(None).unwrap(), before);
        }
        let error = Pinned::to(&[0, 1023]).unwrap_err().to_string();
        assert_eq!(error, "CPU 1023 cannot be used on this host");
    }

    #[test]
    fn pinning_ends_with_its_scope() {
        let before = sched_getaffinity(None).unwrap();
        let pinned = Pinned::to(&[0]).unwrap();
        assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        drop(pinned);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }
}
