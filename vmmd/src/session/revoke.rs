//! Handing in a revocation list (rule 8).

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use vmm_engine::Refusal;
use vmm_proto::message::client::{Error, ErrorCode, Reply, Revoked};
use vmm_proto::revocation::{MAX_BYTES, MAX_CHAIN_BYTES};

use super::Turn;
use crate::budget::{Rate, Spent};
use crate::failure::Failure;
use crate::places::{Full, Origin, Place};
use crate::records;
use crate::revocation::{SHORT, Spool, not_stored};

/// Long lists on their way at once: of all delegations together, and of one delegation's own and of all
/// below it. Each takes up to 64 MiB of disk.
const LISTS: usize = 28;
const LISTS_PER_DELEGATION: usize = 4;

/// Bytes of long lists over time: of one delegation's own and of all below it, and of all delegations
/// together. The host's own are not counted, and nor are short lists.
const BYTES_PER_DELEGATION: Rate = Rate { most: 64 << 20, per: Duration::from_mins(10) };
const BYTES: Rate = Rate { most: 256 << 20, per: Duration::from_mins(10) };

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
    let _place = if size > SHORT { Some(place(turn, size)?) } else { None };
    let spool = receive(turn, size).await?;
    let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
    let read = move || {
        let der = spool.read().map_err(|error| not_stored(&error))?;
        Ok((der, chain))
    };
    let done = turn.shared.desk.hand_in(&turn.by, size, read).await?;
    let done = done.map_err(|reason| records::error(&Refusal::ListNotTaken(Box::new(reason))))?;
    let (issuer, number) = (done.issuer.to_string(), done.number.to_string());
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

/// A place for a long list, if there is one and such lists have not been too many lately.
fn place(turn: &Turn, size: usize) -> Result<Place<Origin>, Error> {
    let path = turn.authorization.path();
    let place = turn.shared.lists.take_at(path, LISTS, LISTS_PER_DELEGATION);
    let place = place.map_err(|Full { of, limit }| {
        let message = format!("{limit} lists of {of} are on their way already; try again");
        Error::new(ErrorCode::Busy, message)
    })?;
    let rates = Origin::all(path).filter(|_| !path.is_host()).map(|origin| {
        let rate = if origin.is_all_of_host() { BYTES } else { BYTES_PER_DELEGATION };
        (origin, rate)
    });
    let amount = u32::try_from(size).unwrap_or(u32::MAX);
    let taken = turn.shared.list_budget.take(Instant::now(), amount, rates);
    taken.map(|()| place).map_err(|Spent { of, rate, wait }| {
        let message = format!(
            "lists of more than {} KiB that {of} may hand in have {} MiB in {} minutes, and this one \
             has {size} bytes: try again in {} s, or hand in a shorter list, without what has expired",
            SHORT >> 10,
            rate.most >> 20,
            rate.per.as_secs() / 60,
            wait.as_secs() + 1,
        );
        Error::new(ErrorCode::Busy, message)
    })
}

async fn receive(turn: &mut Turn, size: usize) -> Result<Spool, Error> {
    let dir = turn.shared.dirs.state("vmmd").map_err(|error| not_stored(&error))?;
    let mut spool = Spool::new(&dir, size).map_err(|error| not_stored(&error))?;
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
        spool.write(&piece).map_err(|error| not_stored(&error))?;
    }
    turn.wanting.store(false, Ordering::Relaxed);
    turn.pieces.close();
    Ok(spool)
}
