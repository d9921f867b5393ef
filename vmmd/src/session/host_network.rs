//! The private networks of the host: adding, listing, removing.

use vmm_engine::{Answer, Event, NetworkState, NetworkView};
use vmm_proto::authority::Holder;
use vmm_proto::message::client::{Error, ErrorCode, HostNetworkInfo, NetworkDeed, Reply};
use vmm_proto::resource::BridgeName;
use vmm_proto::verb::Verb;

use super::Turn;
use crate::failure::Failure;

/// `host network`
pub(super) async fn host_network(turn: &Turn, deed: NetworkDeed) -> Result<(), Failure> {
    turn.target(Verb::Host, Some("/"))?;
    if !matches!(turn.authorization.holder(), Holder::Admin) {
        let message = "networks of the host are for its admin, on the local socket (--socket PATH)";
        return Err(Error::new(ErrorCode::Permission, message).into());
    }
    let usage = |error: &dyn std::fmt::Display| Error::new(ErrorCode::Usage, error);
    match deed {
        NetworkDeed::List => return list(turn).await,
        NetworkDeed::Add(network) => {
            let network = network.checked().map_err(|error| usage(&error))?;
            turn.shared.recorder.check_room()?;
            // vmm-spawn may come a moment after this.
            turn.shared.spawn.ready().await?;
            let add = |token| Event::AddNetwork { token, network };
            let _done: Answer = turn.shared.core.request(&turn.by, add).await?;
        }
        NetworkDeed::Remove { name } => {
            let name = BridgeName::parse(&name).map_err(|error| usage(&error))?;
            turn.shared.recorder.check_room()?;
            turn.shared.spawn.ready().await?;
            let remove = |token| Event::RemoveNetwork { token, name };
            let _done: Answer = turn.shared.core.request(&turn.by, remove).await?;
        }
    }
    Ok(())
}

async fn list(turn: &Turn) -> Result<(), Failure> {
    let views: Vec<NetworkView> =
        turn.shared.core.look(|engine| engine.host_networks().collect()).await?;
    let info = |view: NetworkView| {
        let NetworkView { network, state, machines } = view;
        let (up, problem) = match state {
            NetworkState::Unknown => (None, None),
            NetworkState::Up => (Some(true), None),
            NetworkState::Down(problem) => (Some(false), Some(problem)),
        };
        HostNetworkInfo { network: (&network).into(), up, problem, machines }
    };
    let networks = views.into_iter().map(info).collect();
    Ok(turn.say(Reply::HostNetworks(networks)).await?)
}
