//! Reading consoles.

use vmm_engine::Engine;
use vmm_proto::id::MachineId;
use vmm_proto::message::ConsoleStart;
use vmm_proto::message::client::{Error, ErrorCode, Reply};
use vmm_proto::name::MachineName;
use vmm_proto::verb::Verb;

use super::Turn;
use crate::failure::Failure;
use crate::links::console::{Connection, Piece};
use crate::records;

/// `attach`
pub(super) async fn attach(
    turn: &Turn,
    name: &str,
    start: ConsoleStart,
    follow: bool,
) -> Result<(), Failure> {
    let name = turn.machine(Verb::Attach, name)?;
    let id = machine_id(turn, name).await?;
    let connection = connect(turn).await?;
    read(turn, connection, id, start, follow).await
}

/// A connection to read a console on.
pub(super) fn connect(
    turn: &Turn,
) -> impl Future<Output = Result<Connection, Error>> + Send + use<> {
    let socket = turn.shared.dirs.socket("console");
    async move { Connection::open(&socket).await }
}

/// `detach`
pub(super) async fn detach(turn: &Turn, name: &str) -> Result<(), Failure> {
    let name = turn.machine(Verb::Detach, name)?;
    let id = machine_id(turn, name).await?;
    let ended = turn.shared.attachments.detach(id, &turn.by.who);
    Ok(turn.say(Reply::Detached(ended)).await?)
}

async fn machine_id(turn: &Turn, name: MachineName) -> Result<MachineId, Error> {
    let missing = Error::new(ErrorCode::NotFound, format!("there is no machine \"{name}\""));
    let id = move |engine: &Engine| engine.machine(&name).map(|view| view.id);
    turn.shared.core.look(id).await?.ok_or(missing)
}

/// Passes a console on until its end; when it follows, until the machine has settled or somebody
/// detaches this reader.
pub(super) async fn read(
    turn: &Turn,
    connection: Connection,
    id: MachineId,
    start: ConsoleStart,
    follow: bool,
) -> Result<(), Failure> {
    let shared = &turn.shared;
    let _place = turn.reader_place()?;
    let mut registered = shared.attachments.register(id, &turn.by.who);
    let mut attachment = connection.attach(id, start, follow).await?;
    let mut settled = shared.core.watch(id)?;
    let mut ending = !follow;
    loop {
        tokio::select! {
            piece = attachment.next() => match piece? {
                Piece::Output(output) => turn.say(Reply::Output(output)).await?,
                Piece::End => break,
                Piece::Unknown if is_listed(turn, id).await? => {}
                // It was destroyed while nobody passed its console on.
                Piece::Unknown => {
                    if !ending && let Ok(settled) = (&mut settled).await {
                        attachment.end_at(settled.output_end).await;
                    }
                    if let Some(gap) = attachment.missing() {
                        turn.say(Reply::Output(gap)).await?;
                    }
                    break;
                }
            },
            word = &mut settled, if !ending => match word {
                Ok(settled) => {
                    ending = true;
                    attachment.end_at(settled.output_end).await;
                }
                // It is not listed any more, and its console has gone with it.
                Err(_) => break,
            },
            _ = &mut registered.detached => return Ok(()),
        }
    }
    if follow {
        turn.say(ended(turn, id).await?).await?;
    }
    Ok(())
}

async fn is_listed(turn: &Turn, id: MachineId) -> Result<bool, Error> {
    turn.shared.core.look(move |engine| engine.by_id(id).is_some()).await
}

/// How a machine that was followed has ended.
async fn ended(turn: &Turn, id: MachineId) -> Result<Reply, Error> {
    let seen = move |engine: &Engine| {
        engine.by_id(id).map(|view| (view.state.as_str().to_owned(), view.exit))
    };
    let (state, exit) =
        turn.shared.core.look(seen).await?.unwrap_or_else(|| ("destroyed".to_owned(), None));
    Ok(Reply::Ended { state, exit: exit.map(records::exit_to_wire) })
}
