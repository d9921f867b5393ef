//! Between the engine's words and those of the log and the wire.

use vmm_engine::{
    Exit, HostNetworkRefusal, Interface, NetworkRefusal, Overlap, Record, Refusal, Spent, Token,
    View, What,
};
use vmm_proto::id::MachineId;
use vmm_proto::message;
use vmm_proto::message::client::{Amount, Error, ErrorCode, Machine, Network, Quota};
use vmm_proto::resource::TapName;

use crate::core::Requester;
use crate::links::log::Entry;

/// The wire's word for how a machine ended.
pub(crate) const fn exit_to_wire(exit: Exit) -> message::Exit {
    match exit {
        Exit::Code(code) => message::Exit::Code(code),
        Exit::Signal(signal) => message::Exit::Signal(signal),
        Exit::OutOfMemory => message::Exit::OutOfMemory,
        Exit::Unknown => message::Exit::Unknown,
    }
}

/// The engine's word for how a machine ended.
pub(crate) const fn exit_to_engine(exit: message::Exit) -> Exit {
    match exit {
        message::Exit::Code(code) => Exit::Code(code),
        message::Exit::Signal(signal) => Exit::Signal(signal),
        message::Exit::OutOfMemory => Exit::OutOfMemory,
        message::Exit::Unknown => Exit::Unknown,
    }
}

/// What a client is told of a refusal.
pub(crate) fn error(refusal: &Refusal) -> Error {
    Error::new(code(refusal), refusal)
}

const fn code(refusal: &Refusal) -> ErrorCode {
    match refusal {
        Refusal::Stale { .. }
        | Refusal::OtherShare { .. }
        | Refusal::Expired { .. }
        | Refusal::BrokenChain
        | Refusal::TooManyDelegations { .. }
        | Refusal::UnknownDelegation { .. }
        | Refusal::Revoked { .. }
        | Refusal::ListNotTaken(_) => ErrorCode::Chain,
        Refusal::NotKept { .. } | Refusal::Draining | Refusal::NotDraining | Refusal::Ending => {
            ErrorCode::Unavailable
        }
        Refusal::Outside { .. } => ErrorCode::Permission,
        Refusal::Quota { .. }
        | Refusal::Cpu { .. }
        | Refusal::Bridge { .. }
        | Refusal::ImageRoom { .. }
        | Refusal::ImageCount { .. }
        | Refusal::ImageTooLarge { .. } => ErrorCode::Quota,
        Refusal::Network(refusal) => match **refusal {
            NetworkRefusal::NoAddress { .. }
            | NetworkRefusal::Diverged { .. }
            | NetworkRefusal::NotDelegated { .. }
            | NetworkRefusal::AddressInUse { .. }
            | NetworkRefusal::MacInUse { .. } => ErrorCode::Address,
            NetworkRefusal::Argument { .. }
            | NetworkRefusal::Arguments
            | NetworkRefusal::MacTwice { .. } => ErrorCode::Usage,
        },
        Refusal::HostNetwork(refusal) => match **refusal {
            HostNetworkRefusal::Exists { .. } => ErrorCode::Name,
            HostNetworkRefusal::TooMany => ErrorCode::Quota,
            HostNetworkRefusal::Overlap { .. } | HostNetworkRefusal::NotDone { .. } => {
                ErrorCode::Address
            }
            HostNetworkRefusal::NotFound(_) => ErrorCode::NotFound,
            HostNetworkRefusal::InUse { .. } => ErrorCode::Busy,
            HostNetworkRefusal::NoSpawn | HostNetworkRefusal::SpawnLost(_) => {
                ErrorCode::Unavailable
            }
        },
        Refusal::NoImage { .. } => ErrorCode::Image,
        Refusal::NameInUse { .. } | Refusal::AlreadyRunning { .. } => ErrorCode::Name,
        Refusal::NotFound { .. } => ErrorCode::NotFound,
        Refusal::StartFailed { .. } | Refusal::NoSpawn { .. } => ErrorCode::StartFailed,
        Refusal::Busy { .. } | Refusal::CalledOff { .. } => ErrorCode::Busy,
        Refusal::IdInUse { .. } | Refusal::ImageInUse { .. } => ErrorCode::Internal,
    }
}

/// The request that led to a record.
pub(crate) const fn cause(record: &Record) -> Option<Token> {
    match record {
        Record::Machine { cause, .. }
        | Record::Revoked { cause, .. }
        | Record::HostNetwork { cause, .. }
        | Record::Doors { cause, .. } => *cause,
        Record::Renewed { .. } | Record::Overlap(_) => None,
    }
}

/// A record as an entry of the log.
pub(crate) fn entry(record: &Record, by: Option<&Requester>) -> Entry {
    let entry = match record {
        Record::Machine { name, id, what, .. } => {
            // A refusal may tell what is used below the requester's own path: it is for that path
            // to read, not for the machine's.
            let path = match (what, by) {
                (What::Refused { .. }, Some(by)) => &by.path,
                _ => &name.path,
            };
            let entry = Entry::of(what.as_str(), path).about(name);
            let entry = match id {
                Some(id) => entry.with("id", id),
                None => entry,
            };
            details(entry, what)
        }
        Record::Revoked { issuer, number, serials, .. } => {
            Entry::of("list", issuer).with("number", number).with("serials", serials)
        }
        Record::HostNetwork { network, removed, .. } => {
            let entry = Entry::of(if *removed { "network-removed" } else { "network-added" }, "");
            let entry = entry.with("name", network.name()).with("address", network);
            match network.uplink() {
                Some(uplink) => entry.with("uplink", uplink),
                None => entry,
            }
        }
        Record::Doors { draining, .. } => Entry::of(if *draining { "drain" } else { "open" }, ""),
        Record::Renewed { path, before, generation } => {
            Entry::of("renewed", path).with("before", before).with("generation", generation)
        }
        // It tells of a sibling: it is for the issuer of both to read.
        Record::Overlap(overlap) => {
            let Overlap { path, sibling, bridge, first, last, more } = &**overlap;
            let issuer = path.ancestor(path.depth().saturating_sub(1));
            Entry::of("overlap", &issuer)
                .with("delegation", path)
                .with("sibling", sibling)
                .with("bridge", bridge)
                .with("first", first)
                .with("last", last)
                .with("more", more)
        }
    };
    match by {
        Some(by) => entry.with("by", &by.who),
        None => entry,
    }
}

fn details(entry: Entry, what: &What) -> Entry {
    match what {
        What::Deployed { kind, image, memory_mib, cpus } => entry
            .with("kind", kind)
            .with("image", image)
            .with("memory_mib", memory_mib)
            .with("cpus", cpus),
        What::Started { pid: Some(pid) } => entry.with("pid", pid),
        What::StartFailed { reason } | What::Revoked { reason } => entry.with("reason", reason),
        What::Exited { exit, spent } => {
            let entry = entry.with("exit", exit);
            match spent {
                Some(Spent { user_us, system_us, max_resident_kib }) => entry
                    .with("user_us", user_us)
                    .with("system_us", system_us)
                    .with("max_resident_kib", max_resident_kib),
                None => entry,
            }
        }
        What::Restarting { delay_ms, attempt } => {
            entry.with("delay_ms", delay_ms).with("attempt", attempt)
        }
        What::Stopping { timeout_ms } => entry.with("timeout_ms", timeout_ms),
        What::Replaced { by } => entry.with("by_machine", by),
        What::RolledBack { to, reason } => entry.with("to_machine", to).with("reason", reason),
        What::PushedOut { full } => entry.with("full", full),
        What::Expires { path, not_after } => {
            entry.with("delegation", path).with("not_after", rfc3339(*not_after))
        }
        What::Expired { path, not_after, stopped } => entry
            .with("delegation", path)
            .with("not_after", rfc3339(*not_after))
            .with("stopped", stopped),
        What::Refused { code, message } => entry.with("code", code).with("message", message),
        What::Started { pid: None } | What::Killed | What::Stopped | What::Destroyed => entry,
    }
}

/// A time in Unix seconds for people, as the log has it.
fn rfc3339(unix_s: i64) -> String {
    jiff::Timestamp::from_second(unix_s)
        .map_or_else(|_| unix_s.to_string(), |time| time.to_string())
}

/// A listed machine as a client sees it.
pub(crate) fn machine(view: &View<'_>, jail: &[String]) -> Machine {
    Machine {
        name: view.name.to_string(),
        state: view.state.as_str().to_owned(),
        id: view.id,
        pid: view.pid,
        kind: view.spec.kind.as_str().to_owned(),
        memory_mib: view.spec.memory_mib,
        cpus: view.spec.cpus.ids().to_vec(),
        image_sha256: view.spec.image_sha256,
        image_size: view.spec.image_size,
        started_ms: view.started_unix_ms,
        restarts: view.restarts,
        exit: view.exit.map(exit_to_wire),
        reason: view.reason.map(str::to_owned),
        over_quota: view.over_quota,
        jail: jail.to_vec(),
        run: view.run,
        former: view.former,
        networks: (0..)
            .zip(view.interfaces)
            .map(|(index, it)| network(view.id, index, it))
            .collect(),
    }
}

fn network(machine: MachineId, index: u16, interface: &Interface) -> Network {
    // The group is between the host and vmm-spawn.
    let Interface { device, bridge, mac, address, address6, group: _ } = interface;
    Network {
        device: device.to_string(),
        bridge: bridge.to_string(),
        tap: TapName::of(machine, index).to_string(),
        mac: *mac,
        address: *address,
        address6: *address6,
    }
}

/// A row of limits as a client sees it.
pub(crate) fn quota(row: &vmm_engine::QuotaRow) -> Quota {
    let amount = |used: vmm_engine::Used| Amount { limit: used.limit, used: used.used };
    Quota {
        path: row.path.to_string(),
        machines: amount(row.machines),
        memory_mib: amount(row.memory_mib),
        storage_mib: amount(row.storage_mib),
        cpus: row.cpus.ids().to_vec(),
        bridges: row.bridges.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use vmm_proto::name::MachineName;

    use super::*;

    #[test]
    fn the_end_of_a_run_is_recorded_with_what_it_used_if_somebody_saw_it() {
        let fields = |exit, spent| {
            let name = MachineName::parse("dev/one").unwrap();
            let what = What::Exited { exit, spent };
            let record = Record::Machine { name, id: None, cause: None, what };
            entry(&record, None).fields
        };
        let spent = Spent { user_us: 1, system_us: 2, max_resident_kib: 3 };
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let exit = field("exit", &Exit::Code(4).to_string());
        assert_eq!(
            fields(Exit::Code(4), Some(spent)),
            [exit, field("user_us", "1"), field("system_us", "2"), field("max_resident_kib", "3")]
        );
        assert_eq!(fields(Exit::Unknown, None).len(), 1);
    }
}
