//! With the kernel's own judgement, in network namespaces of their own, which only root can make.

mod altered;
mod bytes;
mod limits;
mod model;
mod rig;
mod to_guest;

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use vmm_proto::message::spawn::Interface;

use super::*;
use bytes::{Named, bad, good};
use model::Model;
use rig::{MAC, Rig, count, nft, passed};
use words::{Family, go_to};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 2);
const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 2);

/// Which addresses are managed.
const KINDS: [(Option<Ipv4Addr>, Option<Ipv6Addr>); 4] =
    [(Some(OWN), Some(OWN6)), (Some(OWN), None), (None, Some(OWN6)), (None, None)];

fn interface((address, address6): (Option<Ipv4Addr>, Option<Ipv6Addr>)) -> Interface {
    let (device, bridge) = ("service".to_owned(), "ext".to_owned());
    Interface { device, bridge, mac: MAC, address, address6, group: None }
}

/// A filtered tap, behind which it is counted.
fn filtered(kind: (Option<Ipv4Addr>, Option<Ipv6Addr>), rules: &Rules) -> Option<Rig> {
    let mut rig = Rig::new()?;
    let name = rig.add_tap(0);
    rig.filter(rules, name, &interface(kind)).unwrap();
    count(name);
    Some(rig)
}

#[test]
fn the_kernel_has_the_rules_that_it_was_given() {
    let rules = Rules::default();
    for (address, address6) in KINDS {
        for limits in [
            Limits::default(),
            Limits { bandwidth: Some(1), packets: Some(1) },
            Limits { bandwidth: Some(1024), packets: None },
            Limits { bandwidth: None, packets: Some(Limits::PACKETS_MAX) },
            Limits { bandwidth: Some(Limits::BANDWIDTH_MAX), packets: Some(4096) },
        ] {
            let Some(mut rig) = Rig::new() else { return };
            let name = rig.add_tap(0);
            rules.prepare().unwrap();
            let facts = Facts { name: name.as_str(), mac: MAC, address, address6, limits };
            rules.set(&frames::rules_for(&facts)).unwrap();
        }
    }
}

#[test]
fn what_a_guest_may_send_gets_through_and_nothing_else() {
    for (place, kind) in KINDS.into_iter().enumerate() {
        let Some(rig) = filtered(kind, &Rules::default()) else { return };
        let model = Model { mac: MAC, address: kind.0, address6: kind.1 };
        for (all, expected) in [(good(), true), (bad(), false)] {
            for Named { name, frame, kinds } in all {
                if !kinds.contains(&place) {
                    continue;
                }
                assert_eq!(model.passes(&frame), expected, "the model: {name}, {kind:?}");
                let before = passed().0;
                rig.send(0, &frame);
                assert_eq!(passed().0 - before, u64::from(expected), "{name}, {kind:?}");
            }
        }
    }
}

/// A frame out of those of the tests, of which some bytes are others: mostly such as mean something.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let all: Vec<Vec<u8>> = good().into_iter().chain(bad()).map(|it| it.frame).collect();
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![
            0, 1, 2, 4, 6, 8, 17, 41, 44, 50, 58, 67, 68, 0x45, 0x46, 0x60, 0x81, 0x86, 0x88, 130,
            133, 134, 135, 136, 137, 143, 255
        ]),
    ];
    let changes = prop::collection::vec((0..110_usize, byte), 0..3);
    let length = prop_oneof![3 => Just(usize::MAX), 1 => 0..120_usize];
    (prop::sample::select(all), changes, length).prop_map(|(mut frame, changes, length)| {
        for (place, byte) in changes {
            if let Some(it) = frame.get_mut(place) {
                *it = byte;
            }
        }
        frame.truncate(length);
        frame
    })
}

#[test]
fn the_kernel_judges_arbitrary_frames_as_the_model_does() {
    const FRAMES: usize = 10_000;
    for kind in KINDS {
        let Some(rig) = filtered(kind, &Rules::default()) else { return };
        let model = Model { mac: MAC, address: kind.0, address6: kind.1 };
        let mut runner = TestRunner::new_with_rng(
            Config::default(),
            TestRng::deterministic_rng(RngAlgorithm::ChaCha),
        );
        let strategy = mutated();
        let mut frame = || strategy.new_tree(&mut runner).unwrap().current();
        let all: Vec<Vec<u8>> = (0..FRAMES).map(|_| frame()).collect();
        let (yes, no): (Vec<Vec<u8>>, Vec<Vec<u8>>) =
            all.into_iter().partition(|it| model.passes(it));
        assert!(yes.len() > FRAMES / 20 && no.len() > FRAMES / 20, "{} {}", yes.len(), no.len());
        for (frames, passes) in [(yes, true), (no, false)] {
            let before = passed().0;
            for frame in &frames {
                rig.send(0, frame);
            }
            let count = passed().0 - before;
            if count == if passes { frames.len() as u64 } else { 0 } {
                continue;
            }
            for frame in &frames {
                let before = passed().0;
                rig.send(0, frame);
                assert_eq!(passed().0 - before, u64::from(passes), "{kind:?} {frame:02x?}");
            }
        }
    }
}

#[test]
fn a_filter_is_replaced_and_removed_as_often_as_anybody_likes() {
    let rules = Rules::default();
    let Some(mut rig) = Rig::new() else { return };
    let tap = rig.add_tap(0);
    rules.forget(tap).unwrap();
    rig.filter(&rules, tap, &interface(KINDS[0])).unwrap();
    // Again: what is there is replaced.
    rig.filter(&rules, tap, &interface(KINDS[1])).unwrap();
    assert_eq!(tables(), [frames::table_of(tap.as_str())]);
    for _ in 0..2 {
        rules.forget(tap).unwrap();
        assert!(tables().is_empty());
    }
}

/// The names of tables of single interfaces.
fn tables() -> Vec<String> {
    tables::all().unwrap().into_keys().collect()
}

#[test]
fn whatever_is_changed_in_a_table_of_ours_is_noticed() {
    const POLICY: &str = "type filter hook ingress device TAP priority -500; policy accept;";
    const LATER: &str = "type filter hook ingress device TAP priority 5; policy drop;";
    let changes: [(&str, &[&[&str]]); 10] = [
        ("switched off", &[&["add table netdev T { flags dormant; }"]]),
        ("rules", &[&["add rule netdev T from-guest accept"]]),
        ("types\" of", &[&["insert rule netdev T types accept"]]),
        ("ip4-udp\" of", &[&["flush chain netdev T ip4-udp"]]),
        ("just its", &[&["add chain netdev T more"]]),
        ("just its", &[&["add set netdev T more { type ether_addr; }"]]),
        ("\"from-guest\" of", &[&["add chain netdev T from-guest {", POLICY, "}"]]),
        (
            "all of its chains",
            &[&["flush chain netdev T from-guest"], &["delete chain netdev T from-guest"]],
        ),
        (
            "\"from-guest\" of",
            &[
                &["flush chain netdev T from-guest"],
                &["delete chain netdev T from-guest"],
                &["add chain netdev T from-guest {", LATER, "}"],
            ],
        ),
        (
            "is another one",
            &[
                &["flush chain netdev T to-guest"],
                &["add rule netdev T to-guest accept"],
                &["add rule netdev T to-guest accept"],
            ],
        ),
    ];
    let Some(mut rig) = Rig::new() else { return };
    let name = rig.add_tap(0);
    let (address, address6) = KINDS[0];
    let limits = Limits::default();
    let facts = Facts { name: name.as_str(), mac: MAC, address, address6, limits };
    let program = frames::rules_for(&facts);
    for (said, commands) in changes {
        Rules::default().set(&program).unwrap();
        for words in commands {
            let command = words.join(" ").replace(" T ", &format!(" {} ", program.table()));
            nft(&[&command.replace("TAP", name.as_str())]);
        }
        let error = read_back::check(&program).unwrap_err();
        assert!(error.to_string().contains(said), "{commands:?}: {error}");
    }
}

#[test]
fn a_refusal_names_what_the_kernel_does_not_take() {
    let Some(mut rig) = Rig::new() else { return };
    let name = rig.add_tap(0);
    let mut program = Program::new(Family::NetDev, frames::table_of(name.as_str()));
    program.chain("all").rule("what is nowhere", [go_to("nowhere")]);
    let error = Rules::default().set(&program).unwrap_err().to_string();
    assert!(error.contains("the rule \"what is nowhere\" of the chain \"all\""), "{error}");
    assert!(error.contains("No such file or directory"), "{error}");
    assert!(tables().is_empty());
}
