//! `vmm-console`: the console output of all machines, history and live, to many readers.
//!
//! ```text
//!  vmm-spawn ═══ writes ═══▶ ring in memory ◀═══ reads by position ═══ attachment ──▶ a reader
//!      │                                                                  ▲
//!      └── its descriptors, once ──▶ spawn ──▶ consoles ── "has grown" ───┘
//! ```
//!
//! [`ring`] reads a ring of [`vmm_proto::ring`]; [`history`] remembers when what was written;
//! [`consoles`] holds both for each machine and tells who reads that there is more; [`spawn`] gets
//! the rings from `vmm-spawn`; [`attachment`] is one reader.
//!
//! An attachment is a position and nothing else: no output is copied for it before it is sent, so a
//! slow reader costs nothing and holds up nobody; and one that was broken off can be gone on with. What is overwritten before it gets there, it gets
//! told as a gap of exactly that size.
//!
//! A restarted `vmm-console` gets the rings from `vmm-spawn` again, with all that they hold; when what
//! of it was written is in small files ([`kept`]) beside the sockets.

#![forbid(unsafe_code)]

pub mod attachment;
pub mod consoles;
pub mod history;
pub mod kept;
pub mod ring;
pub mod spawn;

use std::sync::Arc;

use vmm_service::dirs::Dirs;
use vmm_service::notify;
use vmm_service::run::allow_descriptors;
use vmm_service::socket::{Door, Listener};

use crate::consoles::Consoles;
use crate::kept::Directory;

/// The most readers at a time.
const CONNECTIONS: usize = 1024;

/// Serves `console.sock` until the process is asked to end.
///
/// # Errors
/// When the socket cannot be served.
pub async fn run(dirs: Dirs, door: Door) -> anyhow::Result<()> {
    let serve = async {
        // Each machine takes two descriptors and each reader one.
        allow_descriptors();
        let listener = Listener::open("console", &dirs, door)?;
        tracing::info!("vmm-console serves {}", dirs.socket("console").display());
        let consoles = Arc::new(Consoles::new(Directory::open(dirs.runtime("console"))));
        let spawn = dirs.socket("spawn");
        let served = listener.serve(CONNECTIONS, |stream| {
            let consoles = Arc::clone(&consoles);
            async move { attachment::serve(stream, &consoles).await }
        });
        notify::ready("serving consoles");
        tokio::select! {
            served = served => served,
            // One thread does everything: that this gets a turn is the answer.
            never = notify::watchdog(|| std::future::ready(())) => match never {},
            never = spawn::follow(&spawn, &consoles) => match never {},
        }
    };
    tokio::select! {
        // First, so that signals are watched before the socket exists.
        biased;
        asked = vmm_service::run::asked_to_end() => Ok(asked?),
        served = serve => served,
    }
}
