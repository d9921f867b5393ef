//! Every decision of the supervisor, as a pure state machine.
//!
//! [`Engine::handle`] takes what happened and when, and returns what is to be done. It opens
//! nothing, waits for nothing, and looks at no clock; chance (ids, jitter) comes with the events.
//! So the whole of it can be tested as what it is, a function, and one task that owns it can
//! never be asked two things at once: whoever wants the last free place at the same time as
//! somebody else gets one yes and one no.
//!
//! * [`Event`], [`Effect`], [`Record`], [`Refusal`], [`View`]: the words of the interface.
//! * The ledger holds what live machines (`starting`, `running`, `stopping`, `restarting`) take
//!   of every delegation above them and of the host. Checking and reserving is one step.
//! * The newest certificate of each delegation that was ever shown bounds it, for everyone.
//! * A machine's authority ends with the first of its delegations; what then becomes of one that
//!   runs is the host's choice.
//! * What an issuer has taken back is refused from then on, and what runs under it is killed.
//! * What must outlive the process is said first, as [`Effect::Keep`]; what has to wait until that is
//!   durable is a promise ([`Effect::is_promise`]).
//! * What vmm-spawn knows and what should be meet in one event, [`Event::SpawnKnows`]: after a restart
//!   of either side, and after a reboot.
//! * An address belongs to a machine's name, out of the ranges of all delegations above it, and on a
//!   bridge to no other name.
//! * An image is cached for the path it was uploaded under, while a listed machine or a session
//!   needs it.
//!
//! ```text
//!   Event ─▶ engine ─┬─▶ admission ──▶ delegations (rule 9), bounds (rule 7), networks, images
//!                    ├─▶ power ──────▶ again, ending ─▶ ledger, ended               ─▶ Effects
//!                    ├─▶ lifecycle ──▶ restart, probation, ending
//!                    ├─▶ reconcile ──▶ lifecycle, boot
//!                    ├─▶ doors (drain, and the end of all)
//!                    └─▶ host_networks (private networks that vmm-spawn makes)
//!   show, explain: look at everything, change nothing;  keep: what of it outlives the process
//! ```

mod admission;
mod again;
mod boot;
mod bounds;
mod delegations;
mod doors;
mod effect;
mod ended;
mod ending;
mod engine;
mod event;
mod expiry;
mod explain;
mod host_networks;
mod images;
mod keep;
mod ledger;
mod lifecycle;
mod machine;
mod machines;
mod names;
mod networks;
mod per_path;
mod power;
mod probation;
mod reconcile;
mod record;
mod refusal;
mod restart;
mod revoking;
mod show;
mod view;

pub use boot::BOOT_AT_ONCE;
pub use delegations::{MAX_BELOW_TOP, MAX_CHILDREN, Remembered};
pub use effect::{Answer, Effect};
pub use ending::DEFAULT_STOP_MS;
pub use engine::Engine;
pub use event::{
    Chain, Event, Exit, HostLimits, ImageId, Kind, KnownRun, Need, Now, Spec, Spent, Token,
};
pub use expiry::{ANNOUNCED_S, OnExpiry};
pub use explain::{Explanation, Level, Question, Room, Told, Walked};
pub use host_networks::{HostNetworkRefusal, NetworkState, NetworkView};
pub use images::PARKED_MS;
pub use keep::{
    Keep, KeptHost, KeptMachine, KeptPhase, KeptProbation, KeptStop, KeptThen, Outcome, Slot,
    StartedBy,
};
pub use ledger::Amount;
pub use lifecycle::{KILL_AGAIN_MS, START_PATIENCE_MS};
pub use networks::{Interface, NetworkRefusal};
pub use record::{Overlap, Record, What};
pub use refusal::{Context, Quantity, Refusal, Share};
pub use restart::{BACKOFF_BASE_MS, BACKOFF_CAP_MS, HEALTHY_MS};
pub use view::{QuotaRow, State, Used, User, View};
