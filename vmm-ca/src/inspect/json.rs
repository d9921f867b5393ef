//! The contents of a file for scripts.

use serde_json::{Value, json};
use vmm_proto::grant::Grant;
use vmm_proto::permission::Permission;
use vmm_proto::resource::{
    AddressRange, Bridge, Delegation, Encoding, Image, Machine, Network, Volume,
};

use super::{CertificateFacts, Contents, Item, ListFacts, hex};
use crate::describe;
use crate::request::Request;
use crate::time::Moment;

/// One object for the file, with its parts in `items`. `now` (Unix seconds) tells what has expired.
pub fn to_json(file: &str, contents: &Contents, now: i64) -> Value {
    let items: Vec<Value> = contents.items.iter().map(|each| item(each, now)).collect();
    let (is_chain, problem) = match &contents.chain {
        None => (None, None),
        Some(Ok(())) => (Some(true), None),
        Some(Err(problem)) => (Some(false), Some(problem)),
    };
    json!({ "file": file, "items": items, "is_chain": is_chain, "problem": problem })
}

fn item(item: &Item, now: i64) -> Value {
    match item {
        Item::Certificate(facts) => certificate(facts, now),
        Item::Request(asked) => request(asked),
        Item::RevocationList(facts) => revocation_list(facts),
        Item::PrivateKey => json!({ "type": "private key" }),
        Item::Other(label) => json!({ "type": label }),
        Item::Broken { what, problem } => {
            json!({ "type": "broken", "claims": what, "problem": problem })
        }
    }
}

fn certificate(facts: &CertificateFacts, now: i64) -> Value {
    let (role, problem) = match &facts.role {
        Ok(role) => (Some(role), None),
        Err(problem) => (None, Some(problem)),
    };
    json!({
        "type": "certificate",
        "kind": role,
        "problem": problem,
        "subject": facts.subject,
        "issuer": facts.issuer,
        "serial": facts.serial.to_string(),
        "not_before": Moment(facts.validity.not_before).to_string(),
        "not_after": Moment(facts.validity.not_after).to_string(),
        "valid_now": facts.validity.contains(now),
        "key": { "algorithm": facts.algorithm, "sha256": facts.key.to_string() },
        "subject_key_id": facts.subject_key_id.as_deref().map(hex),
        "authority_key_id": facts.authority_key_id.as_deref().map(hex),
        "names": facts.names,
        "grant": facts.grant.as_ref().map(grant),
    })
}

fn request(asked: &Request) -> Value {
    json!({
        "type": "request",
        "kind": asked.grant.kind(),
        "subject": asked.label.as_str(),
        "key": {
            "algorithm": asked.algorithm.to_string(),
            "sha256": asked.key_digest().to_string(),
        },
        "left_out": asked.left_out,
        "grant": grant(&asked.grant),
    })
}

fn revocation_list(facts: &ListFacts) -> Value {
    let revoked: Vec<Value> = facts
        .revoked
        .iter()
        .map(|(serial, at)| json!({ "serial": serial.to_string(), "at": Moment(*at).to_string() }))
        .collect();
    json!({
        "type": "revocation list",
        "issuer": facts.issuer,
        "number": facts.number,
        "this_update": Moment(facts.this_update).to_string(),
        "next_update": facts.next_update.map(|next| Moment(next).to_string()),
        "authority_key_id": facts.authority_key_id.as_deref().map(hex),
        "revoked": revoked,
    })
}

/// A grant under the name of its kind.
fn grant(grant: &Grant) -> Value {
    match grant {
        Grant::Delegation(share) => json!({ "delegation": delegation(share) }),
        Grant::Permissions(allowed) => {
            let names: Vec<&str> = allowed.iter().map(Permission::as_str).collect();
            json!({ "permissions": names })
        }
        Grant::Machine(one) => json!({ "machine": machine(one) }),
    }
}

fn delegation(share: &Delegation) -> Value {
    let hosts = share
        .hosts
        .as_ref()
        .map(|hosts| hosts.keys().iter().map(ToString::to_string).collect::<Vec<_>>());
    json!({
        "generation": share.generation,
        "machines": share.machines,
        "memory_mib": share.memory_mib,
        "cpus": share.cpus.ids(),
        "storage_mib": share.storage_mib,
        "bridges": share.bridges.iter().map(bridge).collect::<Vec<_>>(),
        "hosts": hosts,
    })
}

fn bridge(bridge: &Bridge) -> Value {
    json!({
        "name": bridge.name().as_str(),
        "range": bridge.range().map(range),
        "range6": bridge.range6().map(range),
    })
}

fn range(range: &AddressRange) -> Value {
    json!({
        "first": range.first(),
        "last": range.last(),
        "gateway": range.gateway(),
        "prefix": range.prefix(),
    })
}

fn machine(machine: &Machine) -> Value {
    json!({
        "image": image(&machine.image),
        "memory_mib": machine.memory_mib,
        "cpus": machine.cpus.ids(),
        "networks": machine.devices.networks().iter().map(network).collect::<Vec<_>>(),
        "volumes": machine.devices.volumes().iter().map(volume).collect::<Vec<_>>(),
        "arguments": machine.arguments.words(),
        "restart": describe::restart(&machine.restart),
        "replace": machine.replace,
        "priority": machine.priority,
    })
}

fn image(image: &Image) -> Value {
    match image {
        Image::Digest { sha256, size } => json!({ "sha256": sha256.to_string(), "size": size }),
        Image::Embedded { encoding, size, data } => {
            let encoding = match encoding {
                Encoding::Identity => "identity",
                Encoding::Zstd => "zstd",
            };
            json!({ "embedded": encoding, "size": size, "encoded_size": data.len() })
        }
    }
}

fn network(network: &Network) -> Value {
    json!({
        "device": network.device.as_str(),
        "bridge": network.bridge.as_str(),
        "mac": network.mac.map(describe::mac_address),
    })
}

fn volume(volume: &Volume) -> Value {
    json!({
        "device": volume.device.as_str(),
        "volume": volume.volume.as_str(),
        "sector_size": volume.sector_size.map(vmm_proto::resource::SectorSize::bytes),
    })
}
