//! Every machine comes back as it was, and no bytes do harm.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use vmm_engine::{
    Exit, ImageId, Interface, KeptMachine, KeptPhase, KeptProbation, KeptStop, KeptThen, Kind,
    Outcome, Spec, StartedBy,
};
use vmm_proto::authority::{LeafIdentity, Link, Serial, Validity};
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::name::{Label, MachineName};
use vmm_proto::resource::{
    Arguments, BridgeName, Bridges, Delegation, DeviceName, Devices, Network, Restart,
};

use super::{DEPTH, asn1, machine, machine_to_der};
use crate::journal::samples;

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
    let what = (any::<bool>(), any::<[u8; 32]>(), networks());
    (what, vec(0..=4095_u16, 1..5), words, restart, numbers).prop_map(
        |(what, cpus, words, restart, (memory_mib, image_size, priority, image))| {
            let (hvt, sha256, devices) = what;
            Spec {
                kind: if hvt { Kind::Hvt } else { Kind::Spt },
                image: ImageId(image),
                image_sha256: Digest(sha256),
                image_size,
                memory_mib,
                cpus: cpus.into_iter().collect(),
                devices,
                arguments: Arguments::new(words).unwrap(),
                restart,
                priority,
            }
        },
    )
}

fn networks() -> impl Strategy<Value = Devices> {
    let network = (option::of(any::<[u8; 6]>()), "[a-z][a-z0-9.]{0,14}");
    vec(network, 0..4).prop_map(|networks| {
        let network = |(index, (mac, bridge)): (usize, (Option<[u8; 6]>, String))| {
            let device = DeviceName::parse(&format!("net{index}")).unwrap();
            let bridge = BridgeName::parse(&bridge).unwrap();
            Network::new(device, bridge, mac.map(unicast)).unwrap()
        };
        let networks = networks.into_iter().enumerate().map(network);
        Devices::new(networks.collect(), Vec::new()).unwrap()
    })
}

fn unicast(mut mac: [u8; 6]) -> [u8; 6] {
    mac[0] = mac[0] & 0xfe | 2;
    mac
}

/// A machine's spec, and as many interfaces as it has networks; none when it was not started yet.
fn spec_and_interfaces() -> impl Strategy<Value = (Spec, Arc<[Interface]>)> {
    let address = option::of((any::<[u8; 4]>().prop_map(Ipv4Addr::from), 0..=32_u8));
    let address6 = option::of((any::<[u8; 16]>().prop_map(Ipv6Addr::from), 0..=128_u8));
    let one = (any::<[u8; 6]>(), address, address6, option::of(any::<u32>()));
    (spec(), vec(one, 4), any::<bool>()).prop_map(|(spec, ones, started)| {
        let networks = spec.devices.networks().iter().filter(|_| started);
        let interface = |(network, one): (&Network, _)| {
            let (mac, address, address6, group) = one;
            let Network { device, bridge, mac: _ } = network.clone();
            Interface { device, bridge, mac: unicast(mac), address, address6, group }
        };
        let interfaces = networks.zip(ones).map(interface).collect();
        (spec, interfaces)
    })
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
    let what =
        (any::<[u8; 16]>(), name(), spec_and_interfaces(), vec(link(), 0..3), option::of(leaf));
    let state = (any::<u64>(), phase(), option::of(any::<u32>()), option::of(any::<u64>()));
    let past = (option::of(exit()), option::of("[ -~…]{0,40}"), any::<[u32; 2]>(), any::<u64>());
    (what, state, past, any::<i64>())
        .prop_map(|(what, state, past, looked_s)| {
            let (id, name, (spec, interfaces), chain, leaf) = what;
            let (run, phase, pid, started_unix_ms) = state;
            let (exit, reason, [in_a_row, restarts], output_end) = past;
            KeptMachine {
                id: MachineId(id),
                name,
                spec: Arc::new(spec),
                chain: chain.into(),
                leaf,
                interfaces,
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

/// What version 3 wrote of the machine of [`samples`].
const VERSION_3: &str = "307a80100000000000000000000000000000000181066465762f6d318243a241a027a125802007070707\
    07070707070707070707070707070707070707070707070707070707810105810140a203020100a300a4\
    00a500a6028200870100880132830101840101a500870101a80281008d01008e01008f0100900100";

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

#[test]
fn a_machine_without_networks_is_written_and_read_as_version_3_did() {
    let sample = samples::machine(1, KeptPhase::Running);
    let der = machine_to_der(&sample).unwrap();
    assert_eq!(hexadecimal(&der), VERSION_3);
    assert_eq!(machine(&der).unwrap(), sample);
}

/// A machine with one interface.
fn connected() -> KeptMachine {
    let (device, bridge) =
        (DeviceName::parse("service").unwrap(), BridgeName::parse("ext").unwrap());
    let network = Network::new(device.clone(), bridge.clone(), None).unwrap();
    let mut kept = samples::machine(1, KeptPhase::Running);
    let devices = Devices::new(vec![network], Vec::new()).unwrap();
    kept.spec = Arc::new(Spec { devices, ..(*kept.spec).clone() });
    let address = Some((Ipv4Addr::new(10, 0, 0, 2), 24));
    let mac = [2, 0, 0, 0, 0, 1];
    let interface = Interface { device, bridge, mac, address, address6: None, group: Some(7) };
    kept.interfaces = [interface].into();
    kept
}

#[test]
fn interfaces_that_are_none_of_the_grant_are_neither_written_nor_read() {
    let kept = connected();
    let der = machine_to_der(&kept).unwrap();
    assert_eq!(machine(&der).unwrap(), kept);
    let mut other = kept.clone();
    other.interfaces = [&kept.interfaces[..], &kept.interfaces[..]].concat().into();
    assert!(machine_to_der(&other).is_err());
    let spec = Spec { devices: Devices::default(), ..(*kept.spec).clone() };
    assert!(machine_to_der(&KeptMachine { spec: Arc::new(spec), ..kept }).is_err());
    let two = changed(&der, |interfaces| interfaces.push(interfaces[0].clone()));
    assert!(machine(&two).is_err());
    assert!(machine(&changed(&der, Vec::clear)).is_err());
}

#[test]
fn a_kept_interface_has_the_lengths_of_its_kind() {
    let der = machine_to_der(&connected()).unwrap();
    let refused = |change: fn(&mut asn1::Interface)| {
        machine(&changed(&der, |interfaces| change(&mut interfaces[0]))).unwrap_err().to_string()
    };
    assert!(refused(|it| it.mac = vec![2; 5].into()).contains("6 octets"));
    assert!(refused(|it| it.mac = vec![1; 6].into()).contains("hardware address"));
    assert!(
        refused(|it| it.address.as_mut().unwrap().octets = vec![1; 16].into()).contains("4 octets")
    );
    assert!(refused(|it| it.address.as_mut().unwrap().prefix = 33).contains("33 bits"));
    assert!(refused(|it| it.address6 = it.address.take()).contains("16 octets"));
}

/// The record with other interfaces.
fn changed(der: &[u8], change: impl FnOnce(&mut Vec<asn1::Interface>)) -> Vec<u8> {
    let mut record: asn1::Machine = rasn::der::decode(der).unwrap();
    change(record.interfaces.as_mut().unwrap());
    rasn::der::encode(&record).unwrap()
}
