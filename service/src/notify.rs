//! What a service manager is told of this process: `sd_notify(3)`. Without one, nothing is.

use std::convert::Infallible;

use sd_notify::NotifyState;

/// It serves. `status` says so in few words.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What it does now, in few words.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// It looks at its files again; [`ready`] says when it has.
pub fn reloading(status: &str) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Status(status)]),
        Err(error) => tracing::warn!("the time of a reload is not known: {error}"),
    }
}

/// It was asked to end, and does.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("ending")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}

/// Tells the watchdog, twice in the time that it allows, that this process does its work: each time
/// when `answers` has come to its end. Whoever does the work has to be asked by it.
pub async fn watchdog<F: Future<Output = ()>>(answers: impl Fn() -> F) -> Infallible {
    let Some(allowed) = sd_notify::watchdog_enabled().filter(|time| !time.is_zero()) else {
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval(allowed / 2);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        answers().await;
        tell(&[NotifyState::Watchdog]);
    }
}
