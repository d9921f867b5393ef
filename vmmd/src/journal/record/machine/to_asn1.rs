//! From the engine's words to those of the record.

use anyhow::Context;
use vmm_engine::{
    Exit, Interface, KeptMachine, KeptPhase, KeptProbation, KeptStop, KeptThen, Kind, Outcome,
    Spec, StartedBy,
};
use vmm_proto::authority::{LeafIdentity, Link};
use vmm_proto::grant::Grant;
use vmm_proto::resource::{Image, Machine};

use super::asn1;
use crate::journal::record::octets;

/// A machine, in DER.
pub(super) fn to_der(machine: &KeptMachine) -> anyhow::Result<Vec<u8>> {
    let KeptMachine {
        id,
        name,
        spec,
        chain,
        leaf,
        interfaces,
        run,
        phase: in_the_middle_of,
        pid,
        started_unix_ms,
        exit: ended,
        reason,
        in_a_row,
        restarts,
        output_end,
        looked_s,
        probation: former,
    } = machine;
    let record = asn1::Machine {
        id: octets(&id.0),
        name: name.to_string(),
        grant: octets(&grant(spec)),
        kind: match spec.kind {
            Kind::Hvt => asn1::Kind::Hvt,
            Kind::Spt => asn1::Kind::Spt,
        },
        image: spec.image.0,
        chain: chain.iter().map(link).collect(),
        leaf: leaf.as_ref().map(leaf_identity),
        run: *run,
        phase: phase(in_the_middle_of)?,
        pid: *pid,
        started_unix_ms: *started_unix_ms,
        exit: ended.map(exit),
        reason: reason.clone(),
        in_a_row: *in_a_row,
        restarts: *restarts,
        output_end: *output_end,
        looked: *looked_s,
        probation: former.as_deref().map(probation).transpose()?,
        interfaces: interfaces_of(spec, interfaces)
            .with_context(|| format!("machine \"{name}\""))?,
    };
    rasn::der::encode(&record).context("a machine")
}

/// What the grant does not say of the interfaces: the devices and bridges are its own.
fn interfaces_of(
    spec: &Spec,
    interfaces: &[Interface],
) -> anyhow::Result<Option<Vec<asn1::Interface>>> {
    if interfaces.is_empty() {
        return Ok(None);
    }
    let networks = spec.devices.networks();
    let names = networks.iter().map(|network| (&network.device, &network.bridge));
    let same = interfaces.iter().map(|interface| (&interface.device, &interface.bridge)).eq(names);
    anyhow::ensure!(same, "its interfaces are not those of its grant");
    Ok(Some(interfaces.iter().map(interface).collect()))
}

fn interface(interface: &Interface) -> asn1::Interface {
    let Interface { device: _, bridge: _, mac, address, address6, group } = interface;
    asn1::Interface {
        mac: octets(mac),
        address: address
            .map(|(address, prefix)| asn1::Address { octets: octets(&address.octets()), prefix }),
        address6: address6
            .map(|(address, prefix)| asn1::Address { octets: octets(&address.octets()), prefix }),
        group: *group,
    }
}

/// The grant of a machine that would be just this one.
fn grant(spec: &Spec) -> Vec<u8> {
    let Spec {
        kind: _,
        image: _,
        image_sha256,
        image_size,
        memory_mib,
        cpus,
        devices,
        arguments,
        restart,
        priority,
    } = spec;
    let machine = Machine {
        image: Image::Digest { sha256: *image_sha256, size: *image_size },
        memory_mib: *memory_mib,
        cpus: cpus.clone(),
        devices: devices.clone(),
        arguments: arguments.clone(),
        restart: restart.clone(),
        replace: false,
        priority: *priority,
    };
    Grant::Machine(machine).to_der()
}

fn link(link: &Link) -> asn1::Link {
    let Link { label, issuer, key, serial, grant, validity } = link;
    asn1::Link {
        label: label.to_string(),
        issuer: octets(&issuer.0),
        key: octets(&key.0),
        serial: octets(&serial.0),
        grant: octets(&Grant::Delegation(grant.clone()).to_der()),
        not_before: validity.not_before,
        not_after: validity.not_after,
    }
}

fn leaf_identity(leaf: &LeafIdentity) -> asn1::Leaf {
    let LeafIdentity { label, issuer, serial } = leaf;
    asn1::Leaf { label: label.to_string(), issuer: octets(&issuer.0), serial: octets(&serial.0) }
}

fn phase(phase: &KeptPhase) -> anyhow::Result<asn1::Phase> {
    Ok(match phase {
        KeptPhase::Starting { by, stop: then } => asn1::Phase::Starting(asn1::Starting {
            by: match by {
                StartedBy::Request => asn1::StartedBy::Request,
                StartedBy::Policy => asn1::StartedBy::Policy,
                StartedBy::Host => asn1::StartedBy::Host,
            },
            stop: then.as_ref().map(stop).transpose()?,
        }),
        KeptPhase::Running => asn1::Phase::Running(()),
        KeptPhase::Stopping(then) => asn1::Phase::Stopping(stop(then)?),
        KeptPhase::Waiting { until_unix_ms } => asn1::Phase::Waiting(*until_unix_ms),
        KeptPhase::Queued => asn1::Phase::Queued(()),
        KeptPhase::Ended { outcome, place } => asn1::Phase::Ended(asn1::Ended {
            outcome: match outcome {
                Outcome::Stopped => asn1::Outcome::Stopped,
                Outcome::Exited => asn1::Outcome::Exited,
                Outcome::Failed => asn1::Outcome::Failed,
                Outcome::Revoked => asn1::Outcome::Revoked,
            },
            place: *place,
        }),
    })
}

fn stop(stop: &KeptStop) -> anyhow::Result<asn1::Stop> {
    let KeptStop { timeout_ms, deadline_unix_ms, killed, gone, then } = stop;
    let then = match then {
        KeptThen::Stay => asn1::Then::Stay(()),
        KeptThen::Fail => asn1::Then::Fail(()),
        KeptThen::Revoke => asn1::Then::Revoke(()),
        KeptThen::Destroy => asn1::Then::Destroy(()),
        KeptThen::Start => asn1::Then::Start(()),
        KeptThen::Hold => asn1::Then::Hold(()),
        KeptThen::Replace { successor, probation_ms } => asn1::Then::Replace(asn1::Replace {
            successor: to_der(successor)?.into(),
            probation_ms: *probation_ms,
        }),
    };
    Ok(asn1::Stop {
        timeout_ms: *timeout_ms,
        deadline_unix_ms: *deadline_unix_ms,
        killed: *killed,
        gone: *gone,
        then,
    })
}

const fn exit(exit: Exit) -> asn1::Exit {
    match exit {
        Exit::Code(code) => asn1::Exit::Code(code),
        Exit::Signal(signal) => asn1::Exit::Signal(signal),
        Exit::OutOfMemory => asn1::Exit::OutOfMemory(()),
        Exit::Unknown => asn1::Exit::Unknown(()),
    }
}

fn probation(probation: &KeptProbation) -> anyhow::Result<asn1::Probation> {
    let KeptProbation { former, probation_ms, until_unix_ms } = probation;
    Ok(asn1::Probation {
        former: to_der(former)?.into(),
        probation_ms: *probation_ms,
        until_unix_ms: *until_unix_ms,
    })
}
