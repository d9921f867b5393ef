//! Ending all machines with the supervisor, where that was asked for (`--stop-machines`). They are to
//! run all the same, and are started by the next one, as after a reboot.

use std::time::Duration;

use anyhow::bail;
use vmm_engine::{DEFAULT_STOP_MS, Event};
use vmm_service::notify;

use crate::core::{Core, Requester};

/// How long machines may take to end: what each is given to do it by itself, and then to be killed.
const TIME: Duration = Duration::from_millis(DEFAULT_STOP_MS + 10_000);

/// Ends all machines.
///
/// # Errors
/// When they do not end in time; those run on.
pub(crate) async fn stop_machines(core: &Core) -> anyhow::Result<()> {
    notify::status("ending machines");
    tracing::info!("ending all machines");
    let by = Requester::host("vmmd --stop-machines".to_owned());
    let all = core.request(&by, |token| Event::StopAll { token });
    match tokio::time::timeout(TIME, all).await {
        Ok(Ok(_stopped)) => Ok(()),
        Ok(Err(failure)) => bail!("machines were not ended: {}", failure.error),
        Err(_) => bail!(
            "machines did not end within {} seconds and may run on: vmm-spawn, which ends them, does \
             not say that they have",
            TIME.as_secs()
        ),
    }
}
