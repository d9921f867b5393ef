//! The private networks of a host.

use vmm_proto::message::client::{HostNetworkInfo, NetworkDeed, Reply};

use super::{Asked, plain};
use crate::failure::Stop;
use crate::output::table::{Side, Table};
use crate::output::{Screen, json};

/// Shows them, or that one was added or removed.
pub(super) async fn perform(
    asked: &mut Asked<'_>,
    deed: &NetworkDeed,
    screen: &mut Screen,
) -> Result<(), Stop> {
    match deed {
        NetworkDeed::Add(network) => plain(asked, "host network add", &network.name, screen).await,
        NetworkDeed::Remove { name } => plain(asked, "host network remove", name, screen).await,
        NetworkDeed::List => list(asked, screen).await,
    }
}

async fn list(asked: &mut Asked<'_>, screen: &mut Screen) -> Result<(), Stop> {
    let told = asked.every(|reply| match reply {
        Reply::HostNetworks(more) => Some(more),
        _ => None,
    });
    let networks = told.await?;
    if screen.is_json() {
        let networks: Vec<_> = networks.iter().map(json::HostNetwork::of).collect();
        return screen.json(&networks);
    }
    screen.text(&table(&networks).to_string())
}

fn table(networks: &[HostNetworkInfo]) -> Table {
    let mut table = Table::new(&[
        ("NAME", Side::Left),
        ("NAT", Side::Left),
        ("UPLINK", Side::Left),
        ("MACHINES", Side::Right),
        ("STATE", Side::Left),
    ]);
    for HostNetworkInfo { network, up, problem, machines } in networks {
        let state = match (up, problem) {
            (_, Some(problem)) => format!("down: {problem}"),
            (Some(true), None) => "up".to_owned(),
            (Some(false), None) => "down".to_owned(),
            (None, None) => "unknown".to_owned(),
        };
        table.row(&[
            network.name.clone(),
            format!("{}/{}", network.address, network.prefix),
            network.uplink.clone().unwrap_or_else(|| "any".to_owned()),
            machines.to_string(),
            state,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use vmm_proto::message::spawn::HostNetwork;

    use super::*;

    #[test]
    fn what_keeps_a_network_down_is_shown_beside_it() {
        let info = |name: &str, uplink: Option<&str>, problem: Option<&str>| HostNetworkInfo {
            network: HostNetwork {
                name: name.to_owned(),
                address: [10, 0, 0, 1].into(),
                prefix: 24,
                uplink: uplink.map(str::to_owned),
            },
            up: Some(problem.is_none()),
            problem: problem.map(str::to_owned),
            machines: 2,
        };
        let networks =
            [info("nat0", None, None), info("nat1", Some("eth0"), Some("there is no eth0"))];
        let expected = "\
NAME  NAT          UPLINK  MACHINES  STATE
nat0  10.0.0.1/24  any            2  up
nat1  10.0.0.1/24  eth0           2  down: there is no eth0
";
        assert_eq!(table(&networks).to_string(), expected);
        let json = serde_json::to_string(&json::HostNetwork::of(&networks[1])).unwrap();
        let nat1 = "{\"name\":\"nat1\",\"nat\":\"10.0.0.1/24\",\"uplink\":\"eth0\",\"up\":false,\
                    \"problem\":\"there is no eth0\",\"machines\":2}";
        assert_eq!(json, nat1);
    }
}
