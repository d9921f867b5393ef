//! Events that are durable in the journal and wait for `vmm-log`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use vmm_proto::message::log::Event;

/// Bytes of events that wait for `vmm-log`. Past that, requests that change something are refused,
/// and only what happens by itself is still recorded.
const LIMIT: usize = 64 << 20;

/// Bytes of events in one message.
const BATCH: usize = 64 << 10;

/// The queue to `vmm-log`. Clones are of the same one.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// In the order of their numbers.
    events: Mutex<VecDeque<Event>>,
    more: Notify,
    /// The last number that `vmm-log` has on disk.
    acknowledged: watch::Sender<u64>,
    /// Bytes of what is recorded and not acknowledged, durable or not yet.
    bytes: AtomicUsize,
}

fn size(event: &Event) -> usize {
    let fields = event.fields.iter().map(|(name, value)| name.len() + value.len() + 16);
    let machine = event.machine.as_ref().map_or(0, String::len);
    128 + event.kind.len() + event.path.len() + machine + fields.sum::<usize>()
}

impl Outbox {
    /// With what a former run left, which is sent again.
    pub(crate) fn new(left: Vec<Event>) -> Self {
        let bytes = left.iter().map(size).sum();
        Self(Arc::new(Inner {
            events: Mutex::new(left.into()),
            more: Notify::new(),
            acknowledged: watch::Sender::new(0),
            bytes: AtomicUsize::new(bytes),
        }))
    }

    fn events(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an event that is recorded and not durable yet.
    pub(crate) fn expect(&self, event: &Event) {
        self.0.bytes.fetch_add(size(event), Ordering::Relaxed);
    }

    /// Takes events that are durable, and were all expected.
    pub(crate) fn hand_over(&self, events: Vec<Event>) {
        if !events.is_empty() {
            self.events().extend(events);
            self.0.more.notify_one();
        }
    }

    /// Whether more waits than should.
    pub(crate) fn is_full(&self) -> bool {
        self.0.bytes.load(Ordering::Relaxed) > LIMIT
    }

    /// The last number that `vmm-log` has on disk; 0 before the first.
    pub(crate) fn acknowledged(&self) -> u64 {
        *self.0.acknowledged.borrow()
    }

    /// Waits until `vmm-log` has everything up to this number on disk.
    pub(crate) async fn wait_for(&self, sequence: u64) {
        let mut acknowledged = self.0.acknowledged.subscribe();
        // The sender lives as long as this does.
        let _ = acknowledged.wait_for(|last| *last >= sequence).await;
    }

    /// The oldest events that wait, as many as one message holds; waits for one.
    pub(super) async fn batch(&self) -> Vec<Event> {
        loop {
            let more = self.0.more.notified();
            {
                let mut bytes = 0;
                let events = self.events();
                let batch: Vec<_> = events
                    .iter()
                    .take_while(|event| {
                        bytes += size(event);
                        bytes <= BATCH || bytes == size(event)
                    })
                    .cloned()
                    .collect();
                if !batch.is_empty() {
                    return batch;
                }
            }
            more.await;
        }
    }

    /// `vmm-log` has everything up to this number on disk.
    pub(super) fn durable(&self, sequence: u64) {
        let mut events = self.events();
        while let Some(event) = events.pop_front_if(|event| event.sequence <= sequence) {
            self.0.bytes.fetch_sub(size(&event), Ordering::Relaxed);
        }
        drop(events);
        self.0.acknowledged.send_modify(|last| *last = sequence.max(*last));
    }
}
