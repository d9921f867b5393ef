//! Every machine comes back as it was, and no bytes do harm.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use vmm_engine::{
    Exit, ImageId, KeptMachine, KeptPhase, KeptProbation, KeptStop, KeptThen, Kind, Outcome, Spec,
    StartedBy,
};
use vmm_proto::authority::{LeafIdentity, Link, Serial, Validity};
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::name::{Label, MachineName};
use vmm_proto::resource::{Arguments, Bridges, Delegation, Devices, Restart};

use super::{DEPTH, machine, machine_to_der};

fn label() -> impl Strategy<Value = Label> {
    "[a-z][a-z0-9]{0,8}".prop_map(|text| text.parse().unwrap())
}

fn serial() -> impl Strategy<Value = Serial> {
    vec(any::<u8>(), 1..=20).prop_map(|octets| Serial(octets.into()))
}

fn link() -> impl Strategy<Value = Link> {
    let numbers = (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<i64>(), any::<i64>());
    (label(), serial(), 0..=u64::MAX >> 1, numbers).prop_map(
        |(label, serial, generation, numbers)| {
            let (issuer, key, not_before, not_after) = numbers;
            let grant = Delegation {
                generation,
                machines: 7,
                memory_mib: 1 << 20,
                cpus: [0, 4095].into_iter().collect(),
                storage_mib: 1,
                bridges: Bridges::default(),
                hosts: None,
            };
            let validity = Validity { not_before, not_after };
            Link { label, issuer: Digest(issuer), key: Digest(key), serial, grant, validity }
        },
    )
}

fn spec() -> impl Strategy<Value = Spec> {
    let restart = prop_oneof![
        Just(Restart::Never),
        Just(Restart::Always),
        (vec(1..=255_u8, 0..4), 0..=1000_u16).prop_map(|(mut codes, limit)| {
            codes.sort_unstable();
            codes.dedup();
            Restart::OnFailure { codes, limit }
        }),
    ];
    let words = vec("[ -~é]{0,20}", 0..5);
    let numbers = (1..=u32::MAX, 1..=1_u32 << 30, 0..=100_u8, any::<u64>());
    (any::<bool>(), any::<[u8; 32]>(), vec(0..=4095_u16, 1..5), words, restart, numbers).prop_map(
        |(hvt, sha256, cpus, words, restart, (memory_mib, image_size, priority, image))| Spec {
            kind: if hvt { Kind::Hvt } else { Kind::Spt },
            image: ImageId(image),
            image_sha256: Digest(sha256),
            image_size,
            memory_mib,
            cpus: cpus.into_iter().collect(),
            devices: Devices::default(),
            arguments: Arguments::new(words).unwrap(),
            restart,
            priority,
        },
    )
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![
        any::<u8>().prop_map(Exit::Code),
        any::<u8>().prop_map(Exit::Signal),
        Just(Exit::OutOfMemory),
        Just(Exit::Unknown),
    ]
}

/// A phase of a machine that brings along no other.
fn phase() -> impl Strategy<Value = KeptPhase> {
    let then = prop_oneof![
        Just(KeptThen::Stay),
        Just(KeptThen::Fail),
        Just(KeptThen::Revoke),
        Just(KeptThen::Destroy),
        Just(KeptThen::Start),
        Just(KeptThen::Hold),
    ];
    let stop = (any::<u64>(), option::of(any::<u64>()), any::<bool>(), any::<bool>(), then);
    let stop = stop.prop_map(|(timeout_ms, deadline_unix_ms, killed, gone, then)| KeptStop {
        timeout_ms,
        deadline_unix_ms,
        killed,
        gone,
        then,
    });
    let by = prop_oneof![Just(StartedBy::Request), Just(StartedBy::Policy), Just(StartedBy::Host)];
    let outcome = prop_oneof![
        Just(Outcome::Stopped),
        Just(Outcome::Exited),
        Just(Outcome::Failed),
        Just(Outcome::Revoked),
    ];
    let stop = stop.boxed();
    prop_oneof![
        (by, option::of(stop.clone())).prop_map(|(by, stop)| KeptPhase::Starting { by, stop }),
        Just(KeptPhase::Running),
        stop.prop_map(KeptPhase::Stopping),
        any::<u64>().prop_map(|until_unix_ms| KeptPhase::Waiting { until_unix_ms }),
        Just(KeptPhase::Queued),
        (outcome, any::<u64>()).prop_map(|(outcome, place)| KeptPhase::Ended { outcome, place }),
    ]
}

fn name() -> impl Strategy<Value = MachineName> {
    let text = (vec(label(), 0..4), label());
    text.prop_map(|(path, label)| {
        let parts: Vec<_> = path.iter().chain([&label]).map(ToString::to_string).collect();
        MachineName::parse(&parts.join("/")).unwrap()
    })
}

/// A machine that brings along no other.
fn alone() -> BoxedStrategy<KeptMachine> {
    let leaf = (label(), any::<[u8; 32]>(), serial())
        .prop_map(|(label, issuer, serial)| LeafIdentity { label, issuer: Digest(issuer), serial });
    let what = (any::<[u8; 16]>(), name(), spec(), vec(link(), 0..3), option::of(leaf));
    let state = (any::<u64>(), phase(), option::of(any::<u32>()), option::of(any::<u64>()));
    let past = (option::of(exit()), option::of("[ -~…]{0,40}"), any::<[u32; 2]>(), any::<u64>());
    (what, state, past, any::<i64>())
        .prop_map(|(what, state, past, looked_s)| {
            let (id, name, spec, chain, leaf) = what;
            let (run, phase, pid, started_unix_ms) = state;
            let (exit, reason, [in_a_row, restarts], output_end) = past;
            KeptMachine {
                id: MachineId(id),
                name,
                spec: Arc::new(spec),
                chain: chain.into(),
                leaf,
                interfaces: Arc::new([]),
                run,
                phase,
                pid,
                started_unix_ms,
                exit,
                reason,
                in_a_row,
                restarts,
                output_end,
                looked_s,
                probation: None,
            }
        })
        .boxed()
}

/// A machine that may bring along others, which may bring along others.
fn any_machine() -> impl Strategy<Value = KeptMachine> {
    let until = option::of(any::<u64>());
    (alone(), alone(), alone(), any::<u64>(), until, 0..4).prop_map(
        |(mut outer, mut other, inner, probation_ms, until_unix_ms, how)| {
            let on_probation = |former| KeptProbation { former, probation_ms, until_unix_ms };
            let replaced_by = |successor| KeptStop {
                timeout_ms: 1,
                deadline_unix_ms: until_unix_ms,
                killed: true,
                gone: false,
                then: KeptThen::Replace { successor: Box::new(successor), probation_ms },
            };
            match how {
                0 => {}
                1 => outer.probation = Some(Box::new(on_probation(other))),
                2 => {
                    other.probation = Some(Box::new(on_probation(inner)));
                    outer.phase = KeptPhase::Stopping(replaced_by(other));
                }
                _ => {
                    let (by, stop) = (StartedBy::Request, Some(replaced_by(inner)));
                    outer.phase = KeptPhase::Starting { by, stop };
                    outer.probation = Some(Box::new(on_probation(other)));
                }
            }
            outer
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_machine_comes_back_as_it_was(kept in any_machine()) {
        let der = machine_to_der(&kept).unwrap();
        prop_assert_eq!(machine(&der).unwrap(), kept);
    }

    #[test]
    fn a_record_with_other_bytes_is_an_error_or_another_machine_and_never_a_panic(
        kept in alone(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut der = machine_to_der(&kept).unwrap();
        prop_assert!(machine(&der[..cut.index(der.len())]).is_err());
        let at = at.index(der.len());
        der[at] = byte;
        if let Ok(other) = machine(&der) {
            machine_to_der(&other).unwrap();
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = machine(&bytes);
    }
}

#[test]
fn machines_that_stand_too_deep_in_each_other_are_refused() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut kept = alone().new_tree(&mut runner).unwrap().current();
    for depth in 1..=DEPTH {
        assert!(machine(&machine_to_der(&kept).unwrap()).is_ok(), "{depth}");
        let former = kept.clone();
        let probation = KeptProbation { former, probation_ms: 1, until_unix_ms: None };
        kept.probation = Some(Box::new(probation));
    }
    assert!(machine(&machine_to_der(&kept).unwrap()).is_err());
}
