//! Why something would be refused: the answers of the engine and of the session, in the order in
//! which the deed itself would meet them.

use vmm_engine::{Chain, Explanation, Level, Question, Room, User, Walked};
use vmm_proto::message::client::{Described, Error, Reply};
use vmm_proto::message::why::{self, Deed, Part};
use vmm_proto::name::Target;
use vmm_proto::verb::Verb;

use super::order::Order;
use super::{Turn, denied};
use crate::clock;
use crate::failure::Failure;

/// Machines in one reply: a name has at most 450 bytes.
const USERS: usize = 64;

/// `why`
pub(super) async fn why(turn: &Turn, deed: Deed) -> Result<(), Failure> {
    let (explanation, obstacles) = match deed {
        Deed::Deploy { described, attach } => deploy(turn, described, attach).await?,
        Deed::Start { name } => start(turn, &name).await?,
    };
    let Explanation { chain, levels, users, image: _, obstacles: _ } = explanation;
    for walked in chain {
        turn.say(Reply::Why(Part::Walked(to_wire(walked)))).await?;
    }
    for level in levels {
        turn.say(Reply::Why(Part::Level(level_to_wire(&level)))).await?;
    }
    let users: Vec<_> = users.into_iter().map(user_to_wire).collect();
    for users in users.chunks(USERS) {
        turn.say(Reply::Why(Part::Users(users.to_vec()))).await?;
    }
    for obstacle in obstacles {
        turn.say(Reply::Why(Part::Obstacle(obstacle))).await?;
    }
    Ok(())
}

async fn deploy(
    turn: &Turn,
    described: Option<Described>,
    attach: bool,
) -> Result<(Explanation, Vec<Error>), Error> {
    let order = Order::of(turn, Verb::Why, described)?;
    let mut obstacles = order.first_obstacles(turn, attach).await;
    let (sha256, size) = match order.identify(turn).await {
        Ok(image) => image,
        Err(error) => {
            obstacles.push(error);
            return Ok((Explanation::default(), obstacles));
        }
    };
    let (name, need, replace) = (order.name.clone(), order.need(), order.machine.replace);
    let question = Question { name, need, sha256, size, replace };
    let shown = Chain::from(&*turn.authorization);
    let mut explanation = turn
        .shared
        .core
        .look(move |engine| engine.explain(clock::now(), &shown, &question))
        .await?;
    obstacles.extend(of_engine(turn, &mut explanation));
    obstacles.extend(order.not_built());
    // Of one that is still to come, nobody knows what it declares.
    let known = explanation.image.and_then(|image| turn.shared.images.known(image));
    obstacles.extend(known.and_then(|known| order.check_devices(&known).err()));
    Ok((explanation, obstacles))
}

async fn start(turn: &Turn, name: &str) -> Result<(Explanation, Vec<Error>), Error> {
    let name = turn.machine(Verb::Why, name)?;
    let may = turn.authorization.may(Verb::Start, &Target::Machine(name.clone()));
    let mut obstacles: Vec<_> = may.err().map(denied).into_iter().collect();
    obstacles.extend(turn.shared.recorder.check_room().err());
    let own = turn.authorization.path().clone();
    let explain =
        move |engine: &vmm_engine::Engine| engine.explain_start(clock::now(), &name, &own);
    let mut explanation = turn.shared.core.look(explain).await?;
    obstacles.extend(of_engine(turn, &mut explanation));
    Ok((explanation, obstacles))
}

/// The engine's obstacles as this requester is told them. Who may not list machines is told of no
/// machine but its own.
fn of_engine(turn: &Turn, explanation: &mut Explanation) -> Vec<Error> {
    if !turn.by.lists {
        let own = turn.authorization.own_machine();
        explanation.users.retain(|user| Some(&user.name) == own.as_ref());
    }
    let obstacles = std::mem::take(&mut explanation.obstacles);
    obstacles.into_iter().map(|refusal| turn.by.told(refusal)).collect()
}

fn to_wire(walked: Walked) -> why::Walked {
    let Walked { path, issuer, generation, validity, newest, revoked } = walked;
    why::Walked {
        path: path.to_string(),
        issuer,
        generation,
        not_before: validity.not_before,
        not_after: validity.not_after,
        newest: newest.map(|(generation, seen_ms)| why::Newest { generation, seen_ms }),
        revoked,
    }
}

fn level_to_wire(level: &Level) -> why::Level {
    let names = |bridges: &[vmm_proto::resource::BridgeName]| {
        bridges.iter().map(ToString::to_string).collect()
    };
    why::Level {
        path: level.path.to_string(),
        machines: room_to_wire(level.machines),
        memory_mib: room_to_wire(level.memory_mib),
        image_bytes: room_to_wire(level.image_bytes),
        cpus: level.cpus.ids().to_vec(),
        cpus_missing: level.cpus_missing.ids().to_vec(),
        bridges: level.bridges.as_deref().map(names),
        bridges_missing: names(&level.bridges_missing),
    }
}

fn room_to_wire(Room { limit, asked, told, fits }: Room) -> why::Room {
    let (used, left) = (told.map(|told| told.used), told.map(|told| told.left));
    why::Room { limit, asked, used, left, fits }
}

fn user_to_wire(User { name, state, memory_mib }: User) -> why::User {
    why::User { name: name.to_string(), state: state.as_str().to_owned(), memory_mib }
}
