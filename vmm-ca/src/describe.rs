//! Grants in words, one line for each thing that they say.

use vmm_proto::grant::Grant;
use vmm_proto::permission::Permissions;
use vmm_proto::resource::{
    AddressRange, Bridge, Delegation, Encoding, Hosts, Image, Machine, Network, Restart, Volume,
};

/// A name and what there is to say under it.
pub type Line = (&'static str, String);

/// What a grant says.
pub fn grant(grant: &Grant) -> Vec<Line> {
    match grant {
        Grant::Delegation(share) => delegation(share),
        Grant::Permissions(allowed) => permissions(*allowed),
        Grant::Machine(one) => machine(one),
    }
}

/// A share of a host. The generation is left out when it is 0, as in a request.
pub fn delegation(share: &Delegation) -> Vec<Line> {
    let mut lines = vec![
        ("machines", share.machines.to_string()),
        ("memory", mib(share.memory_mib)),
        ("CPUs", share.cpus.to_string()),
        ("storage", mib(share.storage_mib)),
    ];
    lines.extend(share.bridges.iter().map(|each| ("bridge", bridge(each))));
    if lines.len() == 4 {
        lines.push(("bridges", "none".to_owned()));
    }
    lines.push(("hosts", hosts(share.hosts.as_ref())));
    if share.generation != 0 {
        lines.push(("generation", share.generation.to_string()));
    }
    lines
}

fn permissions(allowed: Permissions) -> Vec<Line> {
    vec![("permissions", allowed.to_string())]
}

fn machine(machine: &Machine) -> Vec<Line> {
    let mut lines = vec![
        ("image", image(&machine.image)),
        ("memory", mib(machine.memory_mib)),
        ("CPUs", machine.cpus.to_string()),
    ];
    lines.extend(machine.devices.networks().iter().map(|each| ("network", network(each))));
    lines.extend(machine.devices.volumes().iter().map(|each| ("volume", volume(each))));
    let arguments: Vec<String> =
        machine.arguments.words().iter().map(|word| printable(word)).collect();
    if !arguments.is_empty() {
        lines.push(("arguments", arguments.join(" ")));
    }
    lines.push(("restart", restart(&machine.restart)));
    let replace = if machine.replace { "may replace a live machine" } else { "no" };
    lines.push(("replace", replace.to_owned()));
    lines.push(("priority", machine.priority.to_string()));
    lines
}

/// An image, `digest SHA-256 …, 123 bytes`.
pub fn image(image: &Image) -> String {
    match image {
        Image::Digest { sha256, size } => format!("SHA-256 {sha256}, {size} bytes"),
        Image::Embedded { encoding, size, data } => match encoding {
            Encoding::Identity => format!("embedded, {size} bytes"),
            Encoding::Zstd => format!("embedded, {size} bytes ({} by zstd)", data.len()),
        },
    }
}

fn bridge(bridge: &Bridge) -> String {
    format!("{}: {}", bridge.name(), addresses(bridge))
}

/// The addresses of a bridge.
pub fn addresses(bridge: &Bridge) -> String {
    let ranges: Vec<String> =
        [bridge.range(), bridge.range6()].into_iter().flatten().map(range).collect();
    if ranges.is_empty() { "addresses are not managed".to_owned() } else { ranges.join("; ") }
}

fn range(range: &AddressRange) -> String {
    let (first, last, gateway) = (range.first(), range.last(), range.gateway());
    format!("{first} to {last}, gateway {gateway}, prefix {}", range.prefix())
}

fn hosts(hosts: Option<&Hosts>) -> String {
    match hosts {
        None => "those of the issuer".to_owned(),
        Some(hosts) => hosts.keys().iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn network(network: &Network) -> String {
    let mac = network.mac.map_or_else(String::new, |mac| format!(", MAC {}", mac_address(mac)));
    format!("{} on bridge {}{mac}", network.device, network.bridge)
}

/// A MAC address as people write it.
pub fn mac_address(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

fn volume(volume: &Volume) -> String {
    let size = volume
        .sector_size
        .map_or_else(String::new, |size| format!(", sectors of {} bytes", size.bytes()));
    format!("{} is volume {}{size}", volume.device, volume.volume)
}

/// A restart policy as the option writes it.
pub fn restart(restart: &Restart) -> String {
    match restart {
        Restart::Never => "never".to_owned(),
        Restart::Always => "always".to_owned(),
        Restart::OnFailure { codes, limit } => {
            let codes: Vec<String> = codes.iter().map(u8::to_string).collect();
            match (codes.is_empty(), limit) {
                (true, 0) => "on-failure".to_owned(),
                (false, 0) => format!("on-failure:{}", codes.join(",")),
                _ => format!("on-failure:{}:{limit}", codes.join(",")),
            }
        }
    }
}

/// Text that someone else chose, so that it cannot play tricks with a terminal.
pub fn printable(text: &str) -> String {
    let plain = |c: &char| c.is_ascii_graphic() || c.is_alphanumeric();
    if !text.is_empty() && text.chars().all(|c| plain(&c)) {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

fn mib(count: u32) -> String {
    format!("{count} MiB")
}
