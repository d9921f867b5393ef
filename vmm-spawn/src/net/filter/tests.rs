//! With the kernel's own judgement, in network namespaces of their own, which only root can make.

mod bytes;
mod limits;
mod model;
mod rig;

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;
use bytes::{Named, bad, good};
use model::Model;
use rig::{MAC, Rig};

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
fn filtered(kind: (Option<Ipv4Addr>, Option<Ipv6Addr>), rules: &mut Rules) -> Option<Rig> {
    let mut rig = Rig::new()?;
    let name = rig.add_tap(0);
    rig.filter(rules, name, &interface(kind)).unwrap();
    rig.count(name);
    Some(rig)
}

#[test]
fn the_kernel_has_the_rules_that_it_was_given() {
    let mut rules = Rules::default();
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
        let Some(mut rig) = filtered(kind, &mut Rules::default()) else { return };
        let model = Model { mac: MAC, address: kind.0, address6: kind.1 };
        for (all, expected) in [(good(), true), (bad(), false)] {
            for Named { name, frame, kinds } in all {
                if !kinds.contains(&place) {
                    continue;
                }
                assert_eq!(model.passes(&frame), expected, "the model: {name}, {kind:?}");
                let before = rig.passed().0;
                rig.send(0, &frame);
                assert_eq!(rig.passed().0 - before, u64::from(expected), "{name}, {kind:?}");
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
        let Some(mut rig) = filtered(kind, &mut Rules::default()) else { return };
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
            let before = rig.passed().0;
            for frame in &frames {
                rig.send(0, frame);
            }
            let passed = rig.passed().0 - before;
            if passed == if passes { frames.len() as u64 } else { 0 } {
                continue;
            }
            for frame in &frames {
                let before = rig.passed().0;
                rig.send(0, frame);
                assert_eq!(rig.passed().0 - before, u64::from(passes), "{kind:?} {frame:02x?}");
            }
        }
    }
}

#[test]
fn a_filter_is_gone_with_its_tap_and_only_then() {
    let mut rules = Rules::default();
    let Some(mut rig) = Rig::new() else { return };
    let (first, second) = (rig.add_tap(0), rig.add_tap(1));
    for tap in [first, second] {
        rig.filter(&mut rules, tap, &interface(KINDS[0])).unwrap();
        // Again: what is there is replaced.
        rig.filter(&mut rules, tap, &interface(KINDS[1])).unwrap();
    }
    let table = |tap: TapName| frames::table_of(tap.as_str());
    let sorted = |mut names: Vec<_>| {
        names.sort();
        names
    };
    rules.sweep(&[]);
    assert_eq!(sorted(tables::names().unwrap()), [table(first), table(second)]);
    rig.taps.remove(0);
    rules.sweep(&[first]);
    assert_eq!(tables::names().unwrap().len(), 2);
    rules.sweep(&[]);
    assert_eq!(tables::names().unwrap(), [table(second)]);
    rules.forget(first);
    rules.forget(second);
    assert!(tables::names().unwrap().is_empty());
}

#[test]
fn without_a_usable_nft_there_is_no_filter() {
    let Some(mut rig) = Rig::new() else { return };
    let name = rig.add_tap(0);
    let mut error_with = |program: &str| {
        let mut rules = Rules::default().with(Nft::at(program.into()));
        rig.filter(&mut rules, name, &interface(KINDS[0])).unwrap_err().to_string()
    };
    let missing = error_with("/nonexistent/nft");
    assert!(missing.contains("Debian's package nftables has it"), "{missing}");
    // It says nothing and does nothing.
    let silent = error_with("/bin/true");
    assert!(silent.contains("cannot be read"), "{silent}");
    assert!(error_with("/bin/false").contains("exit status: 1"));
    assert!(tables::names().unwrap().is_empty());
}

#[test]
fn an_nft_that_hangs_is_killed_and_not_waited_for_again() {
    let Some(mut rig) = Rig::new() else { return };
    let name = rig.add_tap(0);
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("nft");
    std::fs::write(&program, "#!/bin/sh\nexec /bin/sleep 1000\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable).unwrap();
    let mut rules = Rules::default().with(Nft::at(program));
    let mut error = || rig.filter(&mut rules, name, &interface(KINDS[0])).unwrap_err();
    let first = error();
    assert!(matches!(first, FilterError::Nft(NftError::Slow | NftError::Paused)), "{first}");
    let second = error();
    assert!(matches!(second, FilterError::Nft(NftError::Paused)), "{second}");
}

#[test]
fn somebody_elses_rules_among_ours_are_noticed() {
    let Some(mut rig) = Rig::new() else { return };
    let mut rules = Rules::default();
    rules.prepare().unwrap();
    let mut more = groups::rules();
    more.chain("more");
    rules.nft.order(&more.order()).unwrap();
    let name = rig.add_tap(0);
    let error = rig.filter(&mut rules, name, &interface(KINDS[0])).unwrap_err();
    assert!(matches!(error, FilterError::NotAsSet(_)), "{error}");
}
