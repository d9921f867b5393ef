//! Every decision of the supervisor, as a pure state machine.
//!
//! [`Engine::handle`] takes what happened and when, and returns what is to be done. It opens
//! nothing, waits for nothing, and looks at no clock; chance (ids, jitter) comes with the events.
//! So the whole of it can be tested as what it is, a function, and one task that owns it can
//! never be asked two things at once: whoever wants the last free place at the same time as
//! somebody else gets one yes and one no.

mod effect;
mod engine;
mod event;
mod record;
mod refusal;
mod view;

pub use effect::{Answer, Effect};
pub use engine::Engine;
pub use event::{Event, Exit, HostLimits, ImageId, Kind, Need, Now, Spec, Token};
pub use record::{Record, What};
pub use refusal::{Quantity, Refusal};
pub use view::{QuotaRow, State, Used, View};
