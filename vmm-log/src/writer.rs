//! The one who writes: takes what waits, and acknowledges it when it is on disk.

use tokio::sync::{mpsc, oneshot, watch};
use vmm_proto::message::log::Event;

use crate::store::{Acknowledged, AppendError, Durable, Store};

/// The most requests that wait, and that are written with one wait for the disk.
pub const WAITING: usize = 16;

/// Events to be written.
#[derive(Debug)]
pub struct Append {
    /// In order.
    pub events: Vec<Event>,
    /// Comes back with the answer.
    pub request: u32,
    /// Where the answer goes.
    pub answers: mpsc::UnboundedSender<Answer>,
}

/// What became of an [`Append`].
#[derive(Debug)]
pub struct Answer {
    /// Which one.
    pub request: u32,
    /// What became of it.
    pub result: Result<Acknowledged, AppendError>,
}

/// Writes until `stop` comes or is dropped, and finishes what it has begun.
///
/// # Errors
/// When the task that writes is broken.
pub async fn write(
    mut store: Store,
    mut requests: mpsc::Receiver<Append>,
    durable: watch::Sender<Durable>,
    mut stop: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    loop {
        let first = tokio::select! {
            biased;
            _ = &mut stop => return Ok(()),
            first = requests.recv() => first,
        };
        let Some(first) = first else { return Ok(()) };
        let mut batch = vec![first];
        while batch.len() < WAITING
            && let Ok(next) = requests.try_recv()
        {
            batch.push(next);
        }
        let results;
        (store, batch, results) = tokio::task::spawn_blocking(move || {
            let results = store.append(batch.iter().map(|append| &append.events[..]));
            (store, batch, results)
        })
        .await?;
        durable.send_replace(store.durable());
        for (append, result) in batch.into_iter().zip(results) {
            if append.answers.send(Answer { request: append.request, result }).is_err() {
                tracing::debug!("nobody waits for an acknowledgement any more");
            }
        }
    }
}
