//! Why something would be refused, or that it would not.

use vmm_proto::message::client::{Error, Reply};
use vmm_proto::message::why::{Level, Part, Room, User, Walked};

use super::Asked;
use super::info::numbers;
use crate::failure::{Failure, Stop};
use crate::output::escape::printable;
use crate::output::json::why::Why;
use crate::output::table::{Side, Table};
use crate::output::{Screen, full};
use crate::time::{rfc3339, rfc3339_seconds};

/// All that was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) chain: Vec<Walked>,
    pub(crate) levels: Vec<Level>,
    pub(crate) users: Vec<User>,
    pub(crate) obstacles: Vec<Error>,
}

/// Shows what was told, and fails as the command that was asked about would.
pub(super) async fn why(asked: &mut Asked<'_>, screen: &mut Screen) -> Result<(), Stop> {
    let mut told = Told::default();
    loop {
        match asked.next().await? {
            Reply::Why(part) => told.add(part),
            Reply::Done => break,
            other => return Err(asked.unexpected(&other)),
        }
    }
    if screen.is_json() {
        screen.json(&Why::of(&told))?;
    } else {
        screen.text(&told.text())?;
    }
    match told.obstacles.into_iter().next() {
        Some(refusal) => Err(Failure::from(refusal).into()),
        None => Ok(()),
    }
}

impl Told {
    fn add(&mut self, part: Part) {
        match part {
            Part::Walked(walked) => self.chain.push(walked),
            Part::Level(level) => self.levels.push(level),
            Part::Users(users) => self.users.extend(users),
            Part::Obstacle(obstacle) => self.obstacles.push(obstacle),
        }
    }

    /// The chain, the limits, who uses them, and the verdict.
    fn text(&self) -> String {
        let mut tables = Vec::new();
        if !self.chain.is_empty() {
            tables.push(chain(&self.chain).to_string());
        }
        if !self.levels.is_empty() {
            tables.push(limits(&self.levels).to_string());
        }
        if !self.users.is_empty() {
            tables.push(users(&self.users).to_string());
        }
        tables.push(verdict(&self.obstacles));
        tables.join("\n")
    }
}

fn chain(chain: &[Walked]) -> Table {
    let mut table = Table::new(&[
        ("CHAIN", Side::Left),
        ("ISSUER KEY", Side::Left),
        ("GENERATION", Side::Right),
        ("NEWEST SEEN", Side::Left),
        ("VALID FROM", Side::Left),
        ("UNTIL", Side::Left),
    ]);
    for walked in chain {
        let newest = walked.newest.map(|newest| {
            let at = rfc3339(newest.seen_ms);
            if newest.generation == walked.generation {
                format!("this one, at {at}")
            } else {
                format!("{}, at {at}", newest.generation)
            }
        });
        table.row(&[
            path(&walked.path),
            walked.issuer.to_string().chars().take(16).collect(),
            walked.generation.to_string(),
            newest.unwrap_or_else(|| "none".to_owned()),
            rfc3339_seconds(walked.not_before),
            if walked.revoked { "revoked".to_owned() } else { rfc3339_seconds(walked.not_after) },
        ]);
    }
    table
}

/// A row for what is asked for, and one for each path; what does not fit begins with a `!`.
fn limits(levels: &[Level]) -> Table {
    let mut table = Table::new(&[
        ("LIMITS", Side::Left),
        ("MACHINES", Side::Left),
        ("MEMORY MIB", Side::Left),
        ("IMAGES KIB", Side::Left),
        ("CPUS", Side::Left),
        ("BRIDGES", Side::Left),
    ]);
    if let Some(level) = levels.first() {
        table.row(&[
            "(asked for)".to_owned(),
            level.machines.asked.to_string(),
            level.memory_mib.asked.to_string(),
            level.image_bytes.asked.div_ceil(1024).to_string(),
            String::new(),
            String::new(),
        ]);
    }
    for level in levels {
        table.row(&[
            path(&level.path),
            room(level.machines),
            room(level.memory_mib),
            room(kib(level.image_bytes)),
            members(&numbers(&level.cpus), &numbers(&level.cpus_missing)),
            match &level.bridges {
                Some(bridges) => members(&bridges.join(","), &level.bridges_missing.join(",")),
                None => "any".to_owned(),
            },
        ]);
    }
    table
}

/// As a client would name it: everything below that path.
fn path(path: &str) -> String {
    if path.is_empty() { "/".to_owned() } else { format!("/{path}/") }
}

fn kib(room: Room) -> Room {
    Room {
        limit: room.limit >> 10,
        asked: room.asked.div_ceil(1024),
        used: room.used.map(|used| used.div_ceil(1024)),
        left: room.left.map(|left| left >> 10),
        fits: room.fits,
    }
}

/// What is used above the own path is not told.
fn room(Room { limit, used, left, fits, asked: _ }: Room) -> String {
    let amounts = match (used, left) {
        (Some(used), Some(left)) => format!("{used} of {limit}, {left} left"),
        _ => format!("of {limit}"),
    };
    if fits { amounts } else { format!("! {amounts}") }
}

fn members(allowed: &str, missing: &str) -> String {
    let allowed = if allowed.is_empty() { "none" } else { allowed };
    if missing.is_empty() { allowed.to_owned() } else { format!("! {allowed}, not {missing}") }
}

fn users(users: &[User]) -> Table {
    let mut table = Table::new(&[
        ("IN USE BY", Side::Left),
        ("STATE", Side::Left),
        ("MEMORY MIB", Side::Right),
    ]);
    for User { name, state, memory_mib } in users {
        table.row(&[full(name), state.clone(), memory_mib.to_string()]);
    }
    table
}

/// Only the first line of each: the tables above tell the rest.
fn verdict(obstacles: &[Error]) -> String {
    if obstacles.is_empty() {
        return "It would be accepted.\n".to_owned();
    }
    let mut text = "It would be refused:\n".to_owned();
    for obstacle in obstacles {
        let line = obstacle.message.lines().next().unwrap_or_default();
        text.extend(["- ", &printable(line), "\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use vmm_proto::id::Digest;
    use vmm_proto::message::client::ErrorCode;
    use vmm_proto::message::why::Newest;

    use super::*;

    fn told() -> Told {
        let room = |limit, told: Option<(u64, u64)>, fits| Room {
            limit,
            asked: 10,
            used: told.map(|told| told.0),
            left: told.map(|told| told.1),
            fits,
        };
        let level = |path: &str, told, fits| Level {
            path: path.to_owned(),
            machines: room(3, told, true),
            memory_mib: room(20, told, fits),
            image_bytes: room(4096, None, true),
            cpus: vec![0, 1],
            cpus_missing: if fits { vec![] } else { vec![2, 3] },
            bridges: (!path.is_empty()).then(Vec::new),
            bridges_missing: vec![],
        };
        Told {
            chain: vec![Walked {
                path: "dev".to_owned(),
                issuer: Digest([0xab; 32]),
                generation: 7,
                not_before: 0,
                not_after: 1_800_000_000,
                newest: Some(Newest { generation: 8, seen_ms: 1000 }),
                revoked: false,
            }],
            levels: vec![level("", None, true), level("dev", Some((15, 5)), false)],
            users: vec![User {
                name: "dev/a".to_owned(),
                state: "running".to_owned(),
                memory_mib: 15,
            }],
            obstacles: vec![Error::new(ErrorCode::Quota, "too much\n  details")],
        }
    }

    #[test]
    fn a_refusal_is_shown_with_all_that_led_to_it() {
        let expected = "\
CHAIN  ISSUER KEY        GENERATION  NEWEST SEEN                     VALID FROM            UNTIL
/dev/  abababababababab           7  8, at 1970-01-01T00:00:01.000Z  1970-01-01T00:00:00Z  2027-01-15T08:00:00Z

LIMITS       MACHINES            MEMORY MIB             IMAGES KIB  CPUS            BRIDGES
(asked for)  10                  10                     1
/            of 3                of 20                  of 4        0,1             any
/dev/        15 of 3, 5 left     ! 15 of 20, 5 left     of 4        ! 0,1, not 2,3  none

IN USE BY  STATE    MEMORY MIB
/dev/a     running          15

It would be refused:
- too much
";
        let squeeze = |text: &str| {
            let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            lines.map(|words| words.join(" ")).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(squeeze(&told().text()), squeeze(expected));
    }

    #[test]
    fn in_json_nothing_is_left_out() {
        let document = serde_json::to_value(Why::of(&told())).unwrap();
        assert_eq!(document["accepted"], false);
        assert_eq!(document["obstacles"][0]["exit"], 3);
        assert_eq!(document["obstacles"][0]["message"], "too much\n  details");
        assert_eq!(document["chain"][0]["issuer"], "ab".repeat(32));
        assert_eq!(document["chain"][0]["newest_seen"], "1970-01-01T00:00:01.000Z");
        assert_eq!(document["limits"][0]["memory_mib"]["used"], serde_json::Value::Null);
        assert_eq!(document["limits"][0]["bridges"], serde_json::Value::Null);
        assert_eq!(document["limits"][1]["cpus"]["missing"], serde_json::json!([2, 3]));
        assert_eq!(document["users"][0]["name"], "dev/a");
    }
}
