//! The doors: TLS for the world, a Unix socket for the host's admin. Behind each, a connection
//! becomes a session with an authorization.

pub(crate) mod local;
pub(crate) mod tls;

use std::sync::Arc;

use tokio::net::TcpListener;
use vmm_service::socket::Listener;

use crate::Shared;

/// The names of the sockets that a service manager may pass.
pub const LOCAL: &str = "local";
/// See [`LOCAL`].
pub const TLS: &str = "tls";

/// Serves all doors until one of them fails for good.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    doors: Vec<TcpListener>,
    local: &Arc<Listener>,
) -> anyhow::Result<()> {
    let entrance = Arc::new(tls::Entrance::new(shared));
    let mut all = tokio::task::JoinSet::new();
    for door in doors {
        all.spawn(tls::serve(Arc::clone(&entrance), door));
    }
    all.spawn(local::serve(Arc::clone(shared), Arc::clone(local)));
    match all.join_next().await {
        Some(ended) => ended?,
        None => Ok(()),
    }
}
