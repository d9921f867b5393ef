//! From the words of a record to the engine's.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use vmm_engine::{
    Exit, ImageId, Interface, KeptMachine, KeptPhase, KeptProbation, KeptStop, KeptThen, Kind,
    Outcome, Spec, StartedBy,
};
use vmm_proto::authority::{LeafIdentity, Link, Serial, Validity};
use vmm_proto::grant::Grant;
use vmm_proto::id::MachineId;
use vmm_proto::name::{Label, MachineName};
use vmm_proto::resource::{Image, Network};

use super::asn1;
use crate::journal::record::digest;

/// A machine, in which others stand at most `depth` deep.
pub(super) fn machine(der: &[u8], depth: usize) -> anyhow::Result<KeptMachine> {
    let depth = depth.checked_sub(1).context("machines stand too deep in each other")?;
    let record: asn1::Machine = rasn::der::decode(der).context("a machine")?;
    let chain = record.chain.iter().map(link).collect::<anyhow::Result<Arc<[_]>>>()?;
    let spec = spec(&record.grant, record.kind, record.image)?;
    let interfaces = interfaces(spec.devices.networks(), record.interfaces.as_deref())?;
    Ok(KeptMachine {
        id: MachineId(record.id.as_ref().try_into().context("a kept id is not 16 octets")?),
        name: MachineName::parse(&record.name).context("a kept name")?,
        spec: Arc::new(spec),
        chain,
        leaf: record.leaf.as_ref().map(leaf_identity).transpose()?,
        interfaces,
        run: record.run,
        phase: phase(record.phase, depth)?,
        pid: record.pid,
        started_unix_ms: record.started_unix_ms,
        exit: record.exit.as_ref().map(exit),
        reason: record.reason,
        in_a_row: record.in_a_row,
        restarts: record.restarts,
        output_end: record.output_end,
        looked_s: record.looked,
        probation: match record.probation {
            Some(probation) => Some(Box::new(KeptProbation {
                former: machine(&probation.former, depth)?,
                probation_ms: probation.probation_ms,
                until_unix_ms: probation.until_unix_ms,
            })),
            None => None,
        },
    })
}

fn spec(grant: &[u8], kind: asn1::Kind, image: u64) -> anyhow::Result<Spec> {
    let Grant::Machine(machine) = Grant::from_der(grant).context("a kept grant")? else {
        bail!("a kept grant is not a machine's");
    };
    let Image::Digest { sha256, size } = machine.image else {
        bail!("the image of a kept machine is not in a file of its own");
    };
    Ok(Spec {
        kind: match kind {
            asn1::Kind::Hvt => Kind::Hvt,
            asn1::Kind::Spt => Kind::Spt,
        },
        image: ImageId(image),
        image_sha256: sha256,
        image_size: size,
        memory_mib: machine.memory_mib,
        cpus: machine.cpus,
        devices: machine.devices,
        arguments: machine.arguments,
        restart: machine.restart,
        priority: machine.priority,
    })
}

/// The interfaces on these networks of the grant. What was kept without them has none until it is
/// started again.
fn interfaces(
    networks: &[Network],
    kept: Option<&[asn1::Interface]>,
) -> anyhow::Result<Arc<[Interface]>> {
    let Some(kept) = kept else { return Ok(Arc::new([])) };
    let (count, granted) = (kept.len(), networks.len());
    ensure!(count == granted && count > 0, "{count} interfaces are kept of {granted} networks");
    networks.iter().zip(kept).map(|(network, kept)| interface(network, kept)).collect()
}

fn interface(network: &Network, kept: &asn1::Interface) -> anyhow::Result<Interface> {
    let asn1::Interface { mac, address, address6, group } = kept;
    let mac = mac.as_ref().try_into().context("a kept hardware address is not 6 octets")?;
    // It keeps the rules of one that a grant names.
    let Network { device, bridge, mac: _ } =
        Network::new(network.device.clone(), network.bridge.clone(), Some(mac))
            .context("a kept hardware address")?;
    let address = address.as_ref().map(placed::<4>).transpose()?;
    let address6 = address6.as_ref().map(placed::<16>).transpose()?;
    Ok(Interface {
        device,
        bridge,
        mac,
        address: address.map(|(octets, prefix)| (octets.into(), prefix)),
        address6: address6.map(|(octets, prefix)| (octets.into(), prefix)),
        group: *group,
    })
}

/// An address of so many octets, and the bits of its subnet.
fn placed<const OCTETS: usize>(address: &asn1::Address) -> anyhow::Result<([u8; OCTETS], u8)> {
    let asn1::Address { octets, prefix } = address;
    let octets = octets.as_ref().try_into();
    let octets = octets.with_context(|| format!("a kept address is not {OCTETS} octets"))?;
    ensure!(usize::from(*prefix) <= 8 * OCTETS, "a kept prefix of {prefix} bits");
    Ok((octets, *prefix))
}

fn link(link: &asn1::Link) -> anyhow::Result<Link> {
    let Grant::Delegation(grant) = Grant::from_der(&link.grant).context("a kept grant")? else {
        bail!("the kept grant of \"{}\" is not a delegation's", link.label);
    };
    Ok(Link {
        label: link.label.parse::<Label>().context("a kept label")?,
        issuer: digest(&link.issuer)?,
        key: digest(&link.key)?,
        serial: Serial(link.serial.to_vec().into()),
        grant,
        validity: Validity { not_before: link.not_before, not_after: link.not_after },
    })
}

fn leaf_identity(leaf: &asn1::Leaf) -> anyhow::Result<LeafIdentity> {
    Ok(LeafIdentity {
        label: leaf.label.parse::<Label>().context("a kept label")?,
        issuer: digest(&leaf.issuer)?,
        serial: Serial(leaf.serial.to_vec().into()),
    })
}

fn phase(phase: asn1::Phase, depth: usize) -> anyhow::Result<KeptPhase> {
    Ok(match phase {
        asn1::Phase::Starting(asn1::Starting { by, stop: then }) => KeptPhase::Starting {
            by: match by {
                asn1::StartedBy::Request => StartedBy::Request,
                asn1::StartedBy::Policy => StartedBy::Policy,
                asn1::StartedBy::Host => StartedBy::Host,
            },
            stop: then.map(|then| stop(then, depth)).transpose()?,
        },
        asn1::Phase::Running(()) => KeptPhase::Running,
        asn1::Phase::Stopping(then) => KeptPhase::Stopping(stop(then, depth)?),
        asn1::Phase::Waiting(until_unix_ms) => KeptPhase::Waiting { until_unix_ms },
        asn1::Phase::Queued(()) => KeptPhase::Queued,
        asn1::Phase::Ended(asn1::Ended { outcome, place }) => KeptPhase::Ended {
            outcome: match outcome {
                asn1::Outcome::Stopped => Outcome::Stopped,
                asn1::Outcome::Exited => Outcome::Exited,
                asn1::Outcome::Failed => Outcome::Failed,
                asn1::Outcome::Revoked => Outcome::Revoked,
            },
            place,
        },
    })
}

fn stop(stop: asn1::Stop, depth: usize) -> anyhow::Result<KeptStop> {
    let asn1::Stop { timeout_ms, deadline_unix_ms, killed, gone, then } = stop;
    let then = match then {
        asn1::Then::Stay(()) => KeptThen::Stay,
        asn1::Then::Fail(()) => KeptThen::Fail,
        asn1::Then::Revoke(()) => KeptThen::Revoke,
        asn1::Then::Destroy(()) => KeptThen::Destroy,
        asn1::Then::Start(()) => KeptThen::Start,
        asn1::Then::Hold(()) => KeptThen::Hold,
        asn1::Then::Replace(asn1::Replace { successor, probation_ms }) => {
            KeptThen::Replace { successor: Box::new(machine(&successor, depth)?), probation_ms }
        }
    };
    Ok(KeptStop { timeout_ms, deadline_unix_ms, killed, gone, then })
}

const fn exit(exit: &asn1::Exit) -> Exit {
    match exit {
        asn1::Exit::Code(code) => Exit::Code(*code),
        asn1::Exit::Signal(signal) => Exit::Signal(*signal),
        asn1::Exit::OutOfMemory(()) => Exit::OutOfMemory,
        asn1::Exit::Unknown(()) => Exit::Unknown,
    }
}
