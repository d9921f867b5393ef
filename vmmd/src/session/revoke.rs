//! Handing in a revocation list (rule 8).

use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use vmm_proto::message::client::{Error, ErrorCode, Reply, Revoked};
use vmm_proto::revocation::{MAX_BYTES, MAX_CHAIN_BYTES};

use super::Turn;
use crate::failure::Failure;
use crate::places::Full;
use crate::revocation::Spool;

/// Lists on their way at once, of all and below one delegation. Each takes up to 64 MiB of disk.
const LISTS: usize = 32;
const LISTS_PER_DELEGATION: usize = 4;

/// How long the answer waits for the machines that are killed.
const KILL_TIME: Duration = Duration::from_secs(5);

/// `revoke`
pub(super) async fn revoke(turn: &mut Turn, size: u32, chain: Vec<Vec<u8>>) -> Result<(), Failure> {
    turn.shared.recorder.check_room()?;
    let size = usize::try_from(size).ok().filter(|size| (1..=MAX_BYTES).contains(size));
    let usage = |message: String| Error::new(ErrorCode::Usage, message);
    let size = size.ok_or_else(|| usage(format!("a list has 1 to {MAX_BYTES} bytes")))?;
    if chain.iter().map(Vec::len).sum::<usize>() > MAX_CHAIN_BYTES {
        let message = format!("the chain of a list has at most {MAX_CHAIN_BYTES} bytes");
        return Err(usage(message).into());
    }
    let path = turn.authorization.path();
    let place = turn.shared.lists.take_at(path, LISTS, LISTS_PER_DELEGATION);
    let _place = place.map_err(|Full { of, limit }| {
        Error::new(ErrorCode::Busy, format!("{of} hands in {limit} lists already; try again"))
    })?;
    let spool = receive(turn, size).await?;
    let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
    let read = move || {
        let der = spool.read().map_err(|error| stored(&error))?;
        Ok((der, chain))
    };
    let list = turn.shared.desk.verify(read).await?;
    let (issuer, number) = (list.path.to_string(), list.number.to_string());
    let done = turn.shared.desk.enforce(&turn.by, list).await?;
    let gone = done.machines.iter().filter_map(|id| turn.shared.core.watch(*id).ok());
    let gone: Vec<_> = gone.collect();
    let all_gone = async {
        for machine in gone {
            // Dropped: it is not even listed any more.
            let _listed = machine.await;
        }
    };
    // They are being killed, whether or not the answer can wait for it.
    let _killed = tokio::time::timeout(KILL_TIME, all_gone).await;
    // Only what the client may see is counted for it.
    let own = turn.authorization.path().clone();
    let machines = done.machines;
    let count = turn.shared.core.look(move |engine| {
        let below = |id: &&_| engine.by_id(**id).is_some_and(|view| view.name.path.is_within(&own));
        machines.iter().filter(below).count()
    });
    let count = count.await?;
    turn.say(Reply::Revoked(Revoked {
        issuer,
        number,
        serials: u32::try_from(done.serials).unwrap_or(u32::MAX),
        machines: u32::try_from(count).unwrap_or(u32::MAX),
    }))
    .await?;
    Ok(())
}

async fn receive(turn: &mut Turn, size: usize) -> Result<Spool, Error> {
    let dir = turn.shared.dirs.state("vmmd").map_err(|error| stored(&error))?;
    let mut spool = Spool::new(&dir, size).map_err(|error| stored(&error))?;
    turn.wanting.store(true, Ordering::Relaxed);
    turn.say(Reply::NeedList).await?;
    while spool.left() > 0 {
        let piece = turn.piece("list").await?;
        if piece.is_empty() {
            return Err(Error::new(ErrorCode::Usage, "an empty piece of a list"));
        }
        if piece.len() > spool.left() {
            let message = format!("the list has more than the {size} bytes that were announced");
            return Err(Error::new(ErrorCode::Usage, message));
        }
        spool.write(&piece).map_err(|error| stored(&error))?;
    }
    turn.wanting.store(false, Ordering::Relaxed);
    turn.pieces.close();
    Ok(spool)
}

fn stored(error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorCode::Internal, format!("the list cannot be stored here: {error}"))
}
