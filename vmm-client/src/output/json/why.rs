//! Why something would be refused.

use serde::Serialize;
use vmm_proto::message::client::Error;
use vmm_proto::message::why;

use crate::failure::Failure;
use crate::time::rfc3339_seconds;
use crate::verbs::why::Told;

/// The whole answer.
#[derive(Debug, Serialize)]
pub(crate) struct Why<'w> {
    accepted: bool,
    /// In the order in which the command would meet them.
    obstacles: Vec<Obstacle<'w>>,
    chain: Vec<Walked<'w>>,
    limits: Vec<Level<'w>>,
    users: Vec<User<'w>>,
}

#[derive(Debug, Serialize)]
struct Obstacle<'w> {
    code: &'static str,
    /// The exit code that it stands for.
    exit: u8,
    message: &'w str,
}

#[derive(Debug, Serialize)]
struct Walked<'w> {
    path: &'w str,
    /// SHA-256 of the issuer's key.
    issuer: String,
    generation: u64,
    not_before: String,
    not_after: String,
    /// The newest generation that the host has seen.
    newest: Option<u64>,
    newest_seen: Option<String>,
    revoked: bool,
}

#[derive(Debug, Serialize)]
struct Level<'w> {
    path: &'w str,
    machines: Room,
    memory_mib: Room,
    image_bytes: Room,
    cpus: Members<&'w [u16]>,
    bridges: Option<Members<&'w [String]>>,
}

#[derive(Debug, Serialize)]
struct Room {
    limit: u64,
    asked: u64,
    /// Only of the certificate's own path and what is below it.
    used: Option<u64>,
    left: Option<u64>,
    fits: bool,
}

#[derive(Debug, Serialize)]
struct Members<T> {
    allowed: T,
    /// Asked for, and not allowed.
    missing: T,
}

#[derive(Debug, Serialize)]
struct User<'w> {
    name: &'w str,
    state: &'w str,
    memory_mib: u64,
}

impl<'w> Why<'w> {
    pub(crate) fn of(told: &'w Told) -> Self {
        Self {
            accepted: told.obstacles.is_empty(),
            obstacles: told.obstacles.iter().map(Obstacle::of).collect(),
            chain: told.chain.iter().map(Walked::of).collect(),
            limits: told.levels.iter().map(Level::of).collect(),
            users: told.users.iter().map(User::of).collect(),
        }
    }
}

impl<'w> Obstacle<'w> {
    fn of(error: &'w Error) -> Self {
        let exit = Failure::from(error.clone()).code.exit();
        Self { code: error.code.as_str(), exit, message: &error.message }
    }
}

impl<'w> Walked<'w> {
    fn of(walked: &'w why::Walked) -> Self {
        let why::Walked { path, issuer, generation, not_before, not_after, newest, revoked } =
            walked;
        Self {
            path,
            issuer: issuer.to_string(),
            generation: *generation,
            not_before: rfc3339_seconds(*not_before),
            not_after: rfc3339_seconds(*not_after),
            newest: newest.map(|newest| newest.generation),
            newest_seen: newest.map(|newest| super::rfc3339(newest.seen_ms)),
            revoked: *revoked,
        }
    }
}

impl<'w> Level<'w> {
    fn of(level: &'w why::Level) -> Self {
        let why::Level {
            path,
            machines,
            memory_mib,
            image_bytes,
            cpus,
            cpus_missing,
            bridges,
            bridges_missing,
        } = level;
        let bridges = bridges.as_deref();
        Self {
            path,
            machines: Room::of(*machines),
            memory_mib: Room::of(*memory_mib),
            image_bytes: Room::of(*image_bytes),
            cpus: Members { allowed: cpus, missing: cpus_missing },
            bridges: bridges.map(|allowed| Members { allowed, missing: bridges_missing }),
        }
    }
}

impl Room {
    fn of(why::Room { limit, asked, used, left, fits }: why::Room) -> Self {
        Self { limit, asked, used, left, fits }
    }
}

impl<'w> User<'w> {
    fn of(why::User { name, state, memory_mib }: &'w why::User) -> Self {
        Self { name, state, memory_mib: *memory_mib }
    }
}
