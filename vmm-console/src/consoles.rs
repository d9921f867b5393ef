//! The consoles of all machines, and who waits for them.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use vmm_proto::id::MachineId;
use vmm_proto::ring;
use vmm_service::readiness;
use vmm_service::socket::Backoff;

use crate::history::History;
use crate::kept::{Directory, Kept};
use crate::ring::{Ring, RingError};

/// How long someone waits for the ring of a machine that may just be starting.
pub const ARRIVAL: Duration = Duration::from_secs(2);

/// What is known of one console. Who reads it waits for its next change; when nobody can change it
/// any more, the machine was forgotten.
#[derive(Debug)]
pub struct Console {
    /// Its ring.
    pub ring: Arc<Ring>,
    /// How many bytes were written when it was last looked at.
    pub written: u64,
    /// When what was written.
    pub history: History,
    /// What of that outlives this process.
    kept: Kept,
}

/// All of them.
#[derive(Debug)]
pub struct Consoles {
    known: Mutex<HashMap<MachineId, Known>>,
    arrivals: watch::Sender<()>,
    directory: Directory,
}

#[derive(Debug)]
struct Known {
    console: Arc<watch::Sender<Console>>,
    /// The task that looks at the ring when it has grown.
    watcher: AbortHandle,
    /// What its machine writes while no `vmm-spawn` lives is in these, as long as they are open.
    _held: [OwnedFd; 2],
    /// Which connection to `vmm-spawn` named it last.
    connection: u64,
}

impl Consoles {
    /// None yet; what of their histories is to outlive this process goes to a directory.
    pub fn new(directory: Directory) -> Self {
        Self { known: Mutex::default(), arrivals: watch::Sender::new(()), directory }
    }

    /// Takes a machine's ring, the eventfd that tells of its growth, and what is only to be held open,
    /// as `connection` (a number) to `vmm-spawn` sent them.
    ///
    /// The same ring gotten again, also from another `vmm-spawn`, goes on with its history. Another
    /// ring takes the place of the one before.
    ///
    /// # Errors
    /// When they aren't a ring that can be read and something to wait for.
    pub fn arrived(
        &self,
        id: MachineId,
        ring: OwnedFd,
        growth: OwnedFd,
        held: [OwnedFd; 2],
        connection: u64,
    ) -> anyhow::Result<()> {
        let arrived = Console::new(Ring::new(ring)?, id, &self.directory)?;
        fcntl_setfl(&growth, fcntl_getfl(&growth)? | OFlags::NONBLOCK)?;
        let growth = readiness::watch(growth)?;
        let mut known = self.lock();
        let console = match known.remove(&id) {
            Some(Known { console, watcher, .. }) => {
                watcher.abort();
                if !console.borrow().ring.is(&arrived.ring) {
                    console.send_replace(arrived);
                }
                console
            }
            None => Arc::new(watch::Sender::new(arrived)),
        };
        let watcher = tokio::spawn(watch_growth(id, growth, Arc::clone(&console))).abort_handle();
        known.insert(id, Known { console, watcher, _held: held, connection });
        drop(known);
        self.arrivals.send_replace(());
        Ok(())
    }

    /// A machine is forgotten: its readers get what is still there, and then the end.
    pub fn gone(&self, id: MachineId) {
        if let Some(known) = self.lock().remove(&id) {
            known.end(id);
        }
    }

    /// Forgets every machine that `connection` has not named; returns how many.
    pub fn keep_only(&self, connection: u64) -> usize {
        let mut all = self.lock();
        let gone = all
            .extract_if(|_, known| known.connection != connection)
            .map(|(id, known)| known.end(id))
            .count();
        self.directory.keep_only(all.keys().copied());
        gone
    }

    /// The console of a machine; waits a little for one that is not there yet.
    pub async fn find(&self, id: MachineId) -> Option<watch::Receiver<Console>> {
        let deadline = Instant::now() + ARRIVAL;
        let mut arrivals = self.arrivals.subscribe();
        loop {
            if let Some(known) = self.lock().get(&id) {
                // Its task may not have got to what was written just now.
                known.look(id);
                return Some(known.console.subscribe());
            }
            // The sender lives as long as `self`, so only the deadline can end this.
            timeout_at(deadline, arrivals.changed()).await.ok()?.ok()?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MachineId, Known>> {
        // Everything happens on one thread and nobody waits while holding it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn end(self, id: MachineId) {
        self.watcher.abort();
        self.look(id);
        self.console.send_if_modified(|console| {
            console.kept.remove();
            false
        });
    }

    fn look(&self, id: MachineId) {
        if let Err(error) = look(&self.console) {
            tracing::warn!(machine = %id, "the newest of a console may be missing: {error}");
        }
    }
}

impl Console {
    /// What a ring holds when it arrives counts as read now, or when it was kept to have been.
    fn new(ring: Ring, id: MachineId, directory: &Directory) -> Result<Self, RingError> {
        let written = ring.written()?;
        let (history, kept) = directory.find(id, written, now_ms());
        Ok(Self { ring: Arc::new(ring), written, history, kept })
    }
}

/// Looks at a ring now and each time it has grown.
async fn watch_growth(
    id: MachineId,
    growth: AsyncFd<OwnedFd>,
    console: Arc<watch::Sender<Console>>,
) {
    let failed = async {
        loop {
            let mut backoff = Backoff::default();
            while let Err(error) = look(&console) {
                // Its writer was stopped while it stored a counter, perhaps for long.
                tracing::debug!(machine = %id, "{error}");
                backoff.wait().await;
            }
            // The look comes after the growth was noted, so that none is missed.
            if let Err(error) = grown(&growth).await {
                return error;
            }
        }
    };
    let error = failed.await;
    tracing::error!(machine = %id, "the growth of a console cannot be noticed: {error}");
}

/// Waits until the eventfd is readable, and empties it.
async fn grown(growth: &AsyncFd<OwnedFd>) -> std::io::Result<()> {
    loop {
        let mut ready = growth.readable().await?;
        match ready.try_io(|growth| Ok(rustix::io::read(growth, &mut [0; 8])?)) {
            Ok(Ok(0)) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => return read.map(drop),
            Err(_would_block) => {}
        }
    }
}

/// Notes how far a ring was written, and tells its readers when that is farther than before.
fn look(console: &watch::Sender<Console>) -> Result<(), RingError> {
    let ring = Arc::clone(&console.borrow().ring);
    let written = ring.written()?;
    console.send_if_modified(|console| {
        let grown = written > console.written;
        if grown {
            let now_ms = now_ms();
            console.history.note(console.written, now_ms, ring::oldest(written));
            console.kept.note(console.written, now_ms, &console.history);
            console.written = written;
        }
        grown
    });
    Ok(())
}

/// Now, in Unix milliseconds.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
