//! `vmm-stats`: what each machine uses, sampled once a second from `/proc`, as its latest values
//! and a short history; and what its network interfaces have carried, as latest values.
//!
//! ```text
//!  vmmd ── Reset, Watch, Ended, Forget ──▶ table ◀── once a second ── sampler ◀── /proc/PID/stat
//!       ◀──────── Query → Report ───────────┘                             ◀────── rtnetlink
//! ```
//!
//! [`table`] is all state and does no input or output; [`process`] reads `/proc`; [`interface`] asks
//! rtnetlink; [`server`] joins the three. Nothing is kept on disk: a restarted `vmm-stats` is told by `vmmd` what runs, and begins
//! a new history.

#![forbid(unsafe_code)]

pub mod interface;
pub mod process;
pub mod server;
pub mod table;

use vmm_service::dirs::Dirs;
use vmm_service::socket::{Door, Listener};

/// Serves `stats.sock` until the process is asked to end.
///
/// # Errors
/// When the socket cannot be served.
pub async fn run(dirs: Dirs, door: Door) -> anyhow::Result<()> {
    let serve = async {
        let listener = Listener::open("stats", &dirs, door)?;
        tracing::info!("vmm-stats serves {}", dirs.socket("stats").display());
        server::serve(&listener).await
    };
    tokio::select! {
        // First, so that signals are watched before the socket exists.
        biased;
        asked = vmm_service::run::asked_to_end() => Ok(asked?),
        served = serve => served,
    }
}
