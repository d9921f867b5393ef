//! What may happen, at random.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::world::{LABELS, NODES};

/// One thing that somebody does. Numbers choose among what there is.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Reissue {
        node: usize,
        machines: u16,
        memory: u32,
        cpus: u8,
        ranges: u8,
        newer: u8,
        lasts_s: Option<u8>,
    },
    Present {
        node: usize,
        old: bool,
    },
    Offer {
        what: What,
        sha: u8,
        size_mib: u8,
    },
    UploadEnds {
        which: usize,
        stored: bool,
    },
    UploadBreaks {
        which: usize,
    },
    Release {
        which: usize,
    },
    Deploy {
        what: What,
        file: usize,
        restart: u8,
    },
    ProcessStarts {
        which: usize,
    },
    ProcessFails {
        which: usize,
    },
    ProcessExits {
        which: usize,
        exit: u8,
    },
    /// One that is on probation fails.
    ProbationFails {
        which: usize,
    },
    Stop {
        which: usize,
        timeout_ms: u16,
    },
    Start {
        which: usize,
    },
    Restart {
        which: usize,
        timeout_ms: u16,
    },
    Destroy {
        which: usize,
    },
    /// The connection to vmm-spawn breaks.
    SpawnLost,
    /// vmm-spawn is gone with all it had, and the host is not.
    SpawnDies,
    /// vmm-spawn is there again and says what it knows.
    Join,
    /// Everything becomes durable that is not yet.
    Flush,
    /// The supervisor dies in the middle of the next event.
    Doom {
        cut: usize,
        durable: bool,
    },
    Reboot,
    Drain {
        on: bool,
    },
    /// The supervisor ends together with all machines, and is started again.
    StopAll,
    Revoke {
        node: usize,
        all: bool,
        stale: bool,
        reissue: bool,
    },
    /// The supervisor dies, and the clock is set meanwhile.
    Crash {
        skew_s: i8,
    },
    Pass {
        ms: u16,
    },
    Nonsense {
        id: u8,
        kind: u8,
    },
}

/// A machine that somebody wants.
#[derive(Debug, Clone)]
pub(crate) struct What {
    pub(crate) node: usize,
    pub(crate) label: usize,
    /// How much deeper the machine lies than the requester's path.
    pub(crate) deeper: usize,
    pub(crate) old: bool,
    pub(crate) memory: u32,
    pub(crate) cpu: u16,
    pub(crate) replace: bool,
    pub(crate) probation_s: u8,
    pub(crate) networks: u8,
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let how = (any::<bool>(), 0..20_u8, 0..12_u8);
    let what = (0..NODES.len(), 0..LABELS.len(), 0..2_usize, 0..20, 1..9_u32, 0..40_u16, how)
        .prop_map(|(node, label, deeper, old, memory, cpu, (replace, probation_s, networks))| {
            // Mostly CPU 0, which nearly everybody has.
            let cpu = if cpu < 4 { cpu } else { 0 };
            let probation_s = probation_s.saturating_sub(3) * 4;
            let old = old == 0;
            What { node, label, deeper, old, memory, cpu, replace, probation_s, networks }
        });
    let share = (0..7_u16, 0..32_u32, 0..32_u8, 0..20_u8);
    let reissue = (1..NODES.len(), share, 0..3_u8, any::<u8>()).prop_map(
        |(node, (machines, memory, cpus, ranges), newer, lasts)| Op::Reissue {
            node,
            machines,
            memory,
            cpus: if cpus < 8 { cpus } else { 7 },
            ranges,
            newer,
            lasts_s: (lasts < 16).then_some(lasts),
        },
    );
    let op = prop_oneof![
        1 => reissue,
        2 => (1..NODES.len(), any::<bool>()).prop_map(|(node, old)| Op::Present { node, old }),
        8 => (what.clone(), 0..3_u8, 1..4_u8)
            .prop_map(|(what, sha, size_mib)| Op::Offer { what, sha, size_mib }),
        8 => (any::<usize>(), 0..6).prop_map(|(which, n)| Op::UploadEnds { which, stored: n > 0 }),
        1 => any::<usize>().prop_map(|which| Op::UploadBreaks { which }),
        3 => any::<usize>().prop_map(|which| Op::Release { which }),
        16 => (what, any::<usize>(), 0..4_u8)
            .prop_map(|(what, file, restart)| Op::Deploy { what, file, restart }),
        12 => any::<usize>().prop_map(|which| Op::ProcessStarts { which }),
        2 => any::<usize>().prop_map(|which| Op::ProcessFails { which }),
        8 => (any::<usize>(), any::<u8>())
            .prop_map(|(which, exit)| Op::ProcessExits { which, exit }),
        4 => any::<usize>().prop_map(|which| Op::ProbationFails { which }),
        5 => (any::<usize>(), 0..500_u16)
            .prop_map(|(which, timeout_ms)| Op::Stop { which, timeout_ms }),
        5 => any::<usize>().prop_map(|which| Op::Start { which }),
        4 => (any::<usize>(), 0..500_u16)
            .prop_map(|(which, timeout_ms)| Op::Restart { which, timeout_ms }),
        2 => any::<usize>().prop_map(|which| Op::Destroy { which }),
        1 => Just(Op::SpawnLost),
        1 => (1..NODES.len(), any::<bool>(), 0..4, any::<bool>()).prop_map(
            |(node, all, stale, reissue)| Op::Revoke { node, all, stale: stale == 0, reissue }
        ),
        1 => any::<i8>().prop_map(|skew_s| Op::Crash { skew_s }),
        1 => (0..6).prop_map(|n| match n {
            0 => Op::Reboot,
            1 => Op::StopAll,
            2 => Op::SpawnDies,
            _ => Op::SpawnLost,
        }),
        4 => Just(Op::Join),
        3 => Just(Op::Flush),
        2 => (0..8_usize, any::<bool>()).prop_map(|(cut, durable)| Op::Doom { cut, durable }),
        1 => (0..4).prop_map(|n| Op::Drain { on: n == 0 }),
        6 => (0..12_000_u16).prop_map(|ms| Op::Pass { ms }),
        1 => Just(Op::Pass { ms: u16::MAX }),
        2 => (any::<u8>(), 0..6_u8).prop_map(|(id, kind)| Op::Nonsense { id, kind }),
    ];
    vec(op, 1..160)
}
