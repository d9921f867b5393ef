//! Draining a host.

use vmm_proto::message::client::{Doors, Reply};

use super::Asked;
use crate::failure::Stop;
use crate::output::{Screen, json};

/// Shows whether the host takes machines, each time that it is told.
pub(super) async fn host(asked: &mut Asked<'_>, screen: &mut Screen) -> Result<(), Stop> {
    loop {
        match asked.next().await? {
            Reply::Doors(doors) if screen.is_json() => screen.json(&json::Doors::from(doors))?,
            Reply::Doors(doors) => screen.text(&text(doors))?,
            Reply::Done => return Ok(()),
            other => return Err(asked.unexpected(&other)),
        }
    }
}

fn text(Doors { draining, live }: Doors) -> String {
    let live = match live {
        0 => "nothing is live".to_owned(),
        1 => "1 machine is live".to_owned(),
        more => format!("{more} machines are live"),
    };
    let takes = if draining { "takes no new machines" } else { "takes new machines" };
    format!("the host {takes}; {live}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_takes_is_one_line() {
        let line = |draining, live| text(Doors { draining, live });
        assert_eq!(line(true, 0), "the host takes no new machines; nothing is live\n");
        assert_eq!(line(false, 1), "the host takes new machines; 1 machine is live\n");
        assert_eq!(line(true, 12), "the host takes no new machines; 12 machines are live\n");
    }
}
