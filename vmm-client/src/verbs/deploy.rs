//! Deploying a machine: its image if the server asks for it, and its console if the user does.

use vmm_proto::message::client::{Machine, Reply};

use super::Asked;
use super::console::{Console, heed_interrupts, never_ran};
use crate::failure::Stop;
use crate::output::escape::on_one_line;
use crate::output::json::{self, Event};
use crate::output::{Screen, full};
use crate::plan::ImageSource;
use crate::upload;

/// Sees a deployment through.
pub(super) async fn deploy(
    asked: &mut Asked<'_>,
    attach: bool,
    image: &ImageSource,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let mut console = Console::new(screen);
    let mut name = String::from("the machine");
    let mut early = None;
    let mut failed = false;
    loop {
        let reply = match early.take() {
            Some(reply) => Ok(reply),
            None => asked.next().await,
        };
        match console.interrupted(reply, &name, screen)? {
            Reply::NeedImage { offset } => {
                early = upload::send(asked.session, asked.number, image, offset, screen).await?;
            }
            Reply::Deployed(machine) => {
                deployed(&machine, attach, screen)?;
                name = full(&machine.name);
                if attach {
                    heed_interrupts(asked, screen)?;
                }
            }
            Reply::Output(output) if attach => console.show(&output, screen)?,
            Reply::Ended { state, exit } if attach => {
                console.ended(&name, &state, exit, screen)?;
                failed = state == "failed" && exit.is_none();
            }
            Reply::Done => {
                console.finish(screen)?;
                return if failed { Err(never_ran(&name)) } else { Ok(()) };
            }
            other => return Err(asked.unexpected(&other)),
        }
    }
}

/// With `--attach` the output is the guest's alone.
fn deployed(machine: &Machine, attach: bool, screen: &mut Screen) -> Result<(), Stop> {
    if screen.is_json() {
        let shown = json::Machine::of(machine);
        return if attach { screen.json(&Event::Deployed(shown)) } else { screen.json(&shown) };
    }
    let name = full(&machine.name);
    let line = on_one_line(&format!("{name}: {}, id {}", machine.state, machine.id));
    if !machine.jail.is_empty() {
        let count = machine.jail.len();
        screen
            .note(&format!("[{name}: not all of its jail could be built ({count}): info {name}]"));
    }
    if attach {
        screen.note(&format!("[{line}]"));
        return Ok(());
    }
    screen.text(&format!("{line}\n"))
}
