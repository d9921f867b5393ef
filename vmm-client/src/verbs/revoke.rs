//! Handing in a revocation list: its bytes when the server asks for them, and what it did.

use vmm_proto::frame::MAX_DATA;
use vmm_proto::message::client::{Reply, Revoked};

use super::Asked;
use crate::failure::Stop;
use crate::output::Screen;
use crate::output::escape::on_one_line;
use crate::output::json;

/// Sees a list through.
pub(super) async fn revoke(
    asked: &mut Asked<'_>,
    list: &[u8],
    screen: &mut Screen,
) -> Result<(), Stop> {
    let mut early = None;
    loop {
        let reply = match early.take() {
            Some(reply) => reply,
            None => asked.next().await?,
        };
        match reply {
            Reply::NeedList => early = send(asked, list).await?,
            Reply::Revoked(revoked) => show(&revoked, screen)?,
            Reply::Done => return Ok(()),
            other => return Err(asked.unexpected(&other)),
        }
    }
}

/// Sends all pieces. A reply that comes meanwhile ends it, and is returned.
async fn send(asked: &mut Asked<'_>, list: &[u8]) -> Result<Option<Reply>, Stop> {
    for piece in list.chunks(MAX_DATA) {
        if let Some(reply) = asked.session.send_piece(asked.number, piece.to_vec()).await? {
            return Ok(Some(reply));
        }
    }
    Ok(None)
}

fn show(revoked: &Revoked, screen: &mut Screen) -> Result<(), Stop> {
    let Revoked { issuer, number, serials, machines } = revoked;
    if screen.is_json() {
        return screen.json(&json::Revoked {
            issuer,
            number,
            serials: *serials,
            machines: *machines,
        });
    }
    let count = |count: u32, one: &str, more: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    };
    let line = on_one_line(&format!(
        "list {number} of /{issuer} is in force: {} revoked, {} below you ended",
        count(*serials, "certificate", "certificates"),
        count(*machines, "machine", "machines"),
    ));
    screen.text(&format!("{line}\n"))
}
