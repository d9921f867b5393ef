//! What a service manager is told of this process: `sd_notify(3)`. Without one, nothing is.

use std::convert::Infallible;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

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
    pulse(allowed, answers, || tell(&[NotifyState::Watchdog])).await
}

async fn pulse<F: Future<Output = ()>>(
    allowed: Duration,
    answers: impl Fn() -> F,
    tell: impl Fn(),
) -> Infallible {
    let mut ticks = interval(allowed / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        answers().await;
        tell();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::watch;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_told_twice_in_its_time_and_only_while_there_are_answers() {
        let works = watch::Sender::new(true);
        let told = Cell::new(0);
        let answers = || {
            let mut works = works.subscribe();
            async move {
                works.wait_for(|works| *works).await.expect("the sender lives");
            }
        };
        let mut pulse =
            std::pin::pin!(pulse(Duration::from_secs(10), answers, || told.set(told.get() + 1)));
        let minute = Duration::from_secs(59);
        assert!(timeout(minute, &mut pulse).await.is_err());
        assert_eq!(told.get(), 12);
        works.send_replace(false);
        assert!(timeout(minute, &mut pulse).await.is_err());
        assert_eq!(told.get(), 12);
        works.send_replace(true);
        assert!(timeout(minute, &mut pulse).await.is_err());
        assert!(told.get() > 22, "{}", told.get());
    }
}
