//! The local admin's way in: a Unix socket, judged by the peer's credentials.

use std::os::unix::net::UnixListener;
use std::sync::Arc;

use anyhow::Context;
use nix::unistd::{Gid, Group, Uid, User};
use vmm_proto::authority::Authorization;
use vmm_proto::message::client::ToServer;
use vmm_service::connection::greet;
use vmm_service::dirs::Dirs;
use vmm_service::socket::{Claim, Listener, own_user_or_root};

use crate::Shared;
use crate::session;

/// The group whose members are admins.
const GROUP: &str = "vmm";

/// Sessions at the same time; past that, new ones are turned away.
const SESSIONS: usize = 64;

/// Claims the socket: as long as it is held, this process is the only supervisor here.
pub(crate) fn claim(dirs: &Dirs) -> anyhow::Result<Claim> {
    Claim::of(&dirs.socket("vmmd"))
}

/// Opens the socket, unless it was passed: for its owner, and for the group when there is one that it
/// can be given to.
pub(crate) fn listen(
    dirs: &Dirs,
    claim: Claim,
    passed: Option<UnixListener>,
) -> anyhow::Result<Listener> {
    let path = dirs.socket("vmmd");
    let was_passed = passed.is_some();
    let listener = claim.listen(0o660, passed)?;
    if was_passed {
        return Ok(listener);
    }
    match Group::from_name(GROUP) {
        Ok(Some(group)) => {
            if let Err(error) = std::os::unix::fs::chown(&path, None, Some(group.gid.as_raw())) {
                tracing::warn!("{} is not given to group {GROUP}: {error}", path.display());
            }
        }
        Ok(None) => {}
        Err(error) => tracing::warn!("cannot look up group {GROUP}: {error}"),
    }
    Ok(listener)
}

/// Whether a local peer is an admin: root, this daemon's own user, or a member of the group.
fn is_admin(uid: u32, gid: u32) -> bool {
    own_user_or_root(uid, gid) || in_group(uid, gid).unwrap_or(false)
}

fn in_group(uid: u32, gid: u32) -> Option<bool> {
    let group = Group::from_name(GROUP).ok()??.gid;
    if group == Gid::from_raw(gid) {
        return Some(true);
    }
    let user = User::from_uid(Uid::from_raw(uid)).ok()??;
    let name = std::ffi::CString::new(user.name).ok()?;
    let groups = nix::unistd::getgrouplist(&name, user.gid).ok()?;
    Some(groups.contains(&group))
}

/// Serves the socket.
pub(crate) async fn serve(shared: Arc<Shared>, listener: Arc<Listener>) -> anyhow::Result<()> {
    let places = Arc::new(tokio::sync::Semaphore::new(SESSIONS));
    loop {
        let stream = listener.accept(is_admin).await.context("the local socket failed")?;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!("{SESSIONS} local sessions are open; another one was turned away");
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _place = place;
            match greet::<ToServer, _>(stream, "vmmd").await {
                Ok((reader, writer)) => {
                    let admin = Arc::new(Authorization::admin());
                    session::run(shared, admin, reader, writer).await;
                }
                Err(error) => tracing::debug!("a local peer: {error}"),
            }
        });
    }
}
