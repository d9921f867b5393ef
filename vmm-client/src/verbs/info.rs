//! Listing machines, and looking at one.

use vmm_ca::describe::mac_address;
use vmm_proto::message::client::{Machine, Network, Reply};

use super::Asked;
use super::console::exit_text;
use crate::failure::Stop;
use crate::output::table::{Side, Table};
use crate::output::{Screen, full, json};
use crate::time::rfc3339;

/// Lists machines; shows all there is about one that was named.
pub(super) async fn info(
    asked: &mut Asked<'_>,
    name: Option<&str>,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let told = asked.every(|reply| match reply {
        Reply::Machines(more) => Some(more),
        _ => None,
    });
    let machines = told.await?;
    if screen.is_json() {
        let machines: Vec<_> = machines.iter().map(json::Machine::of).collect();
        return screen.json(&machines);
    }
    let one = name.is_some_and(|name| !name.is_empty() && !name.ends_with('/'));
    let shown = match machines.as_slice() {
        [machine] if one => details(machine),
        machines => list(machines),
    };
    screen.text(&shown.to_string())
}

fn list(machines: &[Machine]) -> Table {
    let mut table = Table::new(&[
        ("NAME", Side::Left),
        ("STATE", Side::Left),
        ("KIND", Side::Left),
        ("MIB", Side::Right),
        ("CPUS", Side::Left),
        ("ADDRESSES", Side::Left),
        ("STARTED", Side::Left),
        ("RESTARTS", Side::Right),
        ("EXIT", Side::Left),
        ("REASON", Side::Left),
    ]);
    for machine in machines {
        table.row(&[
            full(&machine.name),
            state(machine),
            machine.kind.clone(),
            machine.memory_mib.to_string(),
            numbers(&machine.cpus),
            machine.networks.iter().flat_map(addresses).collect::<Vec<_>>().join(","),
            started(machine),
            machine.restarts.to_string(),
            machine.exit.map(exit_text).unwrap_or_default(),
            machine.reason.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn details(machine: &Machine) -> Table {
    let mut table = Table::new(&[("", Side::Left), ("", Side::Left)]);
    let image = format!("SHA-256 {}, {} bytes", machine.image_sha256, machine.image_size);
    for (what, value) in [
        ("name", full(&machine.name)),
        ("state", state(machine)),
        ("id", machine.id.to_string()),
        ("pid", machine.pid.map(|pid| pid.to_string()).unwrap_or_default()),
        ("kind", machine.kind.clone()),
        ("memory", format!("{} MiB", machine.memory_mib)),
        ("CPUs", numbers(&machine.cpus)),
        ("image", image),
        ("started", started(machine)),
        ("restarts", machine.restarts.to_string()),
        ("exit", machine.exit.map(exit_text).unwrap_or_default()),
        ("reason", machine.reason.clone().unwrap_or_default()),
        ("start", machine.run.to_string()),
        ("former", machine.former.map(|id| id.to_string()).unwrap_or_default()),
    ] {
        if !value.is_empty() {
            table.row(&[what.to_owned(), value]);
        }
    }
    for network in &machine.networks {
        table.row(&["network".to_owned(), described(network)]);
    }
    for missing in &machine.jail {
        table.row(&["jail".to_owned(), missing.clone()]);
    }
    table
}

/// The addresses that are managed on a network, without their prefixes.
fn addresses(network: &Network) -> impl Iterator<Item = String> {
    let (address, address6) = (network.address, network.address6);
    let address = address.map(|(address, _)| address.to_string());
    address.into_iter().chain(address6.map(|(address, _)| address.to_string()))
}

fn described(network: &Network) -> String {
    let Network { device, bridge, tap, mac, address, address6 } = network;
    let address = address.map(|(address, prefix)| format!(", {address}/{prefix}"));
    let address6 = address6.map(|(address, prefix)| format!(", {address}/{prefix}"));
    let addresses: String = address.into_iter().chain(address6).collect();
    format!("{device} on bridge {bridge}{addresses}, MAC {}, tap {tap}", mac_address(*mac))
}

fn state(machine: &Machine) -> String {
    let over = if machine.over_quota { " (over quota)" } else { "" };
    format!("{}{over}", machine.state)
}

fn started(machine: &Machine) -> String {
    machine.started_ms.map(rfc3339).unwrap_or_default()
}

/// Numbers with commas.
pub(super) fn numbers(numbers: &[u16]) -> String {
    let numbers: Vec<_> = numbers.iter().map(u16::to_string).collect();
    numbers.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::json::tests::machine;

    #[test]
    fn a_list_has_a_line_for_each_machine() {
        let other = Machine {
            name: "dev/x".to_owned(),
            state: "running".to_owned(),
            exit: None,
            reason: None,
            over_quota: false,
            networks: Vec::new(),
            ..machine()
        };
        let expected = "\
NAME        STATE                KIND  MIB  CPUS  ADDRESSES         STARTED                   RESTARTS  EXIT         REASON
/dev/hello  exited (over quota)  spt   512  1,2   10.0.0.2,fd00::2  2026-01-01T00:00:00.042Z         3  exit code 0  by itself
/dev/x      running              spt   512  1,2                     2026-01-01T00:00:00.042Z         3
";
        assert_eq!(list(&[machine(), other]).to_string(), expected);
    }

    #[test]
    fn a_machine_that_was_named_is_shown_whole() {
        let shown = details(&machine()).to_string();
        assert!(shown.contains("id        11111111-1111-1111-1111-111111111111\n"), "{shown}");
        let networks = "\
network   service on bridge ext, 10.0.0.2/24, fd00::2/64, MAC 02:00:00:ab:00:01, tap vm2492492492400
network   management on bridge int, MAC 02:00:00:ab:00:02, tap vm2492492492401
jail      no cgroup: not root
";
        assert!(shown.ends_with(networks), "{shown}");
    }
}
