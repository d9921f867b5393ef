//! Draining the host, and opening it again.

use vmm_engine::{Answer, Event, Token};
use vmm_proto::message::client::{Doorkeeping, Doors, Reply};
use vmm_proto::verb::Verb;

use super::Turn;
use super::order::internal;
use crate::failure::Failure;

/// `host`
pub(super) async fn host(turn: &Turn, doorkeeping: Doorkeeping) -> Result<(), Failure> {
    // Only who speaks for everything on the host.
    turn.target(Verb::Host, Some("/"))?;
    turn.shared.recorder.check_room()?;
    let (on, wait) = match doorkeeping {
        Doorkeeping::Drain { wait } => (true, wait),
        Doorkeeping::Open => (false, false),
    };
    match ask(turn, move |token| Event::Drain { token, on }).await? {
        Answer::Doors { draining, live } => {
            turn.say(Reply::Doors(Doors { draining, live })).await?;
        }
        other => return Err(internal(&format!("the engine answered {other:?}")).into()),
    }
    if wait {
        let _drained: Answer = ask(turn, |token| Event::AwaitDrained { token }).await?;
        turn.say(Reply::Doors(Doors { draining: true, live: 0 })).await?;
    }
    Ok(())
}

async fn ask(
    turn: &Turn,
    make: impl FnOnce(Token) -> Event + Send + 'static,
) -> Result<Answer, Failure> {
    turn.shared.core.request(&turn.by, make).await
}
