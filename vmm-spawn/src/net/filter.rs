//! What may leave a tap: nothing that pretends to be somebody else. Not built yet, so that no tap
//! ever carries a packet: what cannot be filtered is refused.

use vmm_proto::resource::TapName;

use super::tap::TapFacts;

/// Why a tap has no filter. It does not go up then.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// machines can have no networks yet
    #[error("machines can have no networks yet: what they send could not be filtered")]
    NotBuilt,
}

/// The filters of all taps of this installation.
#[derive(Debug, Default)]
pub struct Rules {}

impl Rules {
    /// Filters what comes through a tap, which is on its bridge and still down: with what it
    /// replaces, all at once or not at all.
    ///
    /// # Errors
    /// The kernel did not take it as it was meant. Nothing of it is left then.
    pub fn apply(&mut self, tap: &TapFacts<'_>) -> Result<(), FilterError> {
        let _ = tap;
        Err(FilterError::NotBuilt)
    }

    /// Removes the filter of a tap that is gone, or was never up. That it has none is no error.
    pub fn forget(&mut self, tap: TapName) {
        let _ = tap;
    }

    /// Removes the filters that earlier ones of this installation have left, but for those of taps
    /// that are still there.
    pub fn sweep(&mut self, kept: &[TapName]) {
        let _ = kept;
    }
}
