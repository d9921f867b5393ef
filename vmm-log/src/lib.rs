//! `vmm-log`: the durable, tamper-evident event log.
//!
//! ```text
//!  vmmd ── Append ──▶ server ──▶ writer ──▶ store ──▶ events.jsonl, events.jsonl.N
//!       ◀─ Durable ──         ◀── fsync ──                     │
//!  vmmd ── Read ────▶ server ◀──────────── reading ◀───────────┘
//! ```
//!
//! One JSON document a line ([`record`]), each with a `chain` value that covers it and everything
//! before it ([`chain`]): whoever changes, removes or inserts a line in the middle breaks the chain.
//! Nothing is acknowledged that is not on disk; what is sent twice is written once ([`store`]).
//!
//! A file that has grown to 64 MiB becomes `events.jsonl.N`, N counting up; the newest eight of these
//! are kept ([`files`]). The chain goes on from one file to the next.
//!
//! What the chain cannot show: that lines were cut off the end, or the oldest files removed, by
//! someone who may write here. Copy the newest chain value elsewhere to notice that too.

#![forbid(unsafe_code)]

pub mod chain;
pub mod files;
pub mod lines;
pub mod reading;
pub mod record;
pub mod server;
pub mod store;
pub mod verify;
pub mod writer;

use std::pin::pin;

use vmm_service::dirs::Dirs;
use vmm_service::socket::{Door, Listener};

use crate::store::{Limits, Store};

/// Serves `log.sock` until the process is asked to end.
///
/// # Errors
/// When the socket cannot be served, or the log cannot be opened.
pub async fn run(dirs: Dirs, door: Door) -> anyhow::Result<()> {
    let mut asked = pin!(vmm_service::run::asked_to_end());
    let open = async {
        // First, for its lock: nobody else writes the files from here on.
        let listener = Listener::open("log", &dirs, door)?;
        let state = dirs.state("log")?;
        let store =
            tokio::task::spawn_blocking(move || Store::open(&state, Limits::default())).await??;
        tracing::info!("vmm-log serves {}", dirs.socket("log").display());
        anyhow::Ok((listener, store))
    };
    let (listener, store) = tokio::select! {
        // First, so that signals are watched before the socket exists.
        biased;
        asked = &mut asked => return Ok(asked?),
        opened = open => opened?,
    };
    server::serve(&listener, store, asked).await
}
