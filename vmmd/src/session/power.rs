//! Starting, stopping, restarting, destroying what exists.

use std::time::Duration;

use vmm_engine::{Answer, Event};
use vmm_proto::message::client::{Error, ErrorCode};
use vmm_proto::verb::Verb;

use super::Turn;
use crate::failure::Failure;

/// How long a machine is given to end by itself when the client does not say, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;

/// The longest time that it can be given: an hour.
const MAX_TIMEOUT_MS: u64 = 3_600_000;

/// How long `vmm-spawn` may be away before nobody waits for a machine's end any longer.
const ABSENCE: Duration = Duration::from_secs(5);

fn timeout(timeout_ms: Option<u32>) -> u64 {
    timeout_ms.map_or(TIMEOUT_MS, u64::from).min(MAX_TIMEOUT_MS)
}

/// `stop`
pub(super) async fn stop(turn: &Turn, name: &str, timeout_ms: Option<u32>) -> Result<(), Failure> {
    let name = turn.machine(Verb::Stop, name)?;
    let timeout_ms = timeout(timeout_ms);
    end(turn, move |token| Event::Stop { token, name, timeout_ms }).await
}

/// `start`
pub(super) async fn start(turn: &Turn, name: &str) -> Result<(), Failure> {
    let name = turn.machine(Verb::Start, name)?;
    let own = turn.authorization.path().clone();
    ask(turn, move |token| Event::Start { token, name, own }).await
}

/// `restart`
pub(super) async fn restart(
    turn: &Turn,
    name: &str,
    timeout_ms: Option<u32>,
) -> Result<(), Failure> {
    let name = turn.machine(Verb::Restart, name)?;
    let own = turn.authorization.path().clone();
    let timeout_ms = timeout(timeout_ms);
    end(turn, move |token| Event::Restart { token, name, timeout_ms, own }).await
}

/// `destroy`
pub(super) async fn destroy(turn: &Turn, name: &str) -> Result<(), Failure> {
    let name = turn.machine(Verb::Destroy, name)?;
    end(turn, move |token| Event::Destroy { token, name }).await
}

/// Asks for something that ends a machine, and so needs `vmm-spawn`.
async fn end(
    turn: &Turn,
    make: impl FnOnce(vmm_engine::Token) -> Event + Send + 'static,
) -> Result<(), Failure> {
    tokio::select! {
        biased;
        done = ask(turn, make) => done,
        () = turn.shared.spawn.is_away(ABSENCE) => {
            let message = format!(
                "vmm-spawn has been away for {} seconds; what was asked for is done when it is back",
                ABSENCE.as_secs()
            );
            Err(Error::new(ErrorCode::Unavailable, message).into())
        }
    }
}

async fn ask(
    turn: &Turn,
    make: impl FnOnce(vmm_engine::Token) -> Event + Send + 'static,
) -> Result<(), Failure> {
    turn.shared.recorder.check_room()?;
    let answer: Answer = turn.shared.core.request(&turn.by, make).await?;
    tracing::debug!(?answer);
    Ok(())
}
