use proptest::prelude::*;
use vmm_proto::authority::{Serial, Validity};
use vmm_proto::id::Digest;
use vmm_proto::resource::{BridgeName, Bridges};

use super::*;

const NOW: i64 = 100;

fn share(generation: u64, machines: u16, addresses: Option<(u8, u8)>) -> Delegation {
    let bridge = addresses.map(|(first, last)| {
        let address = |n: u8| std::net::IpAddr::from([10, 0, 0, n]);
        let range = AddressRange::new(address(first), address(last), address(254), 24).unwrap();
        Bridge::new(BridgeName::parse("ext").unwrap(), Some(range), None).unwrap()
    });
    Delegation {
        generation,
        machines,
        memory_mib: u32::from(machines) * 10,
        cpus: [0].into_iter().collect(),
        storage_mib: u32::from(machines) * 100,
        bridges: Bridges::new(bridge.into_iter().collect()).unwrap(),
        hosts: None,
    }
}

fn issued(name: &str, kind: Kind, not_after: i64) -> Issued {
    Issued {
        serial: Serial([1].into()),
        name: name.to_owned(),
        validity: Validity { not_before: 0, not_after },
        key: Digest([0; 32]),
        kind,
    }
}

fn delegation(name: &str, share: Delegation) -> Issued {
    issued(name, Kind::Delegation(Box::new(share)), NOW)
}

fn label(text: &str) -> Label {
    text.parse().unwrap()
}

#[test]
fn of_a_label_only_the_newest_delegation_counts() {
    let all = [
        delegation("a", share(2, 1, None)),
        delegation("a", share(1, 5, None)),
        delegation("b", share(1, 7, None)),
        issued("b", Kind::Machine { memory_mib: 3 }, NOW),
        issued("gone", Kind::Machine { memory_mib: 1000 }, NOW - 1),
        issued("ca root", Kind::Root, NOW),
        issued("who", Kind::Permissions, NOW),
    ];
    let asked = Grant::Delegation(share(0, 1, None));
    let sum = Given::to_others(&all, &label("c"), &asked, NOW).sum();
    assert_eq!(sum, Sum { machines: 1 + 7 + 1, memory_mib: 10 + 70 + 3, storage_mib: 100 + 700 });
    // What b holds as a delegation is what it asks anew for; its machine is another thing.
    let sum = Given::to_others(&all, &label("b"), &asked, NOW).sum();
    assert_eq!(sum, Sum { machines: 2, memory_mib: 13, storage_mib: 100 });
}

#[test]
fn the_same_address_is_not_given_twice_even_by_a_root() {
    let all = [delegation("a", share(1, 0, Some((10, 20))))];
    let overcommitted = |first, last| {
        let asked = Grant::Delegation(share(0, 0, Some((first, last))));
        let given = Given::to_others(&all, &label("b"), &asked, NOW);
        given.overcommitted(&asked, None).len()
    };
    assert_eq!(overcommitted(20, 30), 1);
    assert_eq!(overcommitted(1, 10), 1);
    assert_eq!(overcommitted(12, 13), 1);
    assert_eq!(overcommitted(21, 30), 0);
    assert_eq!(overcommitted(1, 9), 0);
}

#[test]
fn what_asks_for_nothing_of_a_kind_does_not_overcommit_it() {
    let bounds = share(1, 3, None);
    let all = [delegation("a", share(1, 5, None))];
    let asked = Grant::Delegation(share(0, 0, None));
    let given = Given::to_others(&all, &label("b"), &asked, NOW);
    assert_eq!(given.overcommitted(&asked, Some(&bounds)), []);
}

proptest! {
    /// The model: for each of three labels, look for the largest generation that can be used, the
    /// last one where several are equal.
    #[test]
    fn the_sum_is_that_of_a_naive_model(
        all in prop::collection::vec((0_usize..3, 0_u64..4, 0_u16..9, any::<bool>()), 0..12),
        asked in 0_u16..9,
        limit in 0_u16..30,
    ) {
        let names = ["a", "b", "c"];
        let certificates: Vec<Issued> = all
            .iter()
            .map(|(who, generation, machines, usable)| {
                let kind = Kind::Delegation(Box::new(share(*generation, *machines, None)));
                issued(names[*who], kind, if *usable { NOW } else { NOW - 1 })
            })
            .collect();
        let mut promised = 0;
        for who in [0, 1] {
            let mut newest: Option<(u64, u16)> = None;
            for (_, generation, machines, _) in all.iter().filter(|each| each.0 == who && each.3) {
                if newest.is_none_or(|(known, _)| *generation >= known) {
                    newest = Some((*generation, *machines));
                }
            }
            promised += newest.map_or(0, |(_, machines)| u64::from(machines));
        }
        let grant = Grant::Delegation(share(0, asked, None));
        let given = Given::to_others(&certificates, &label("c"), &grant, NOW);
        prop_assert_eq!(given.sum().machines, promised);
        let expected = asked > 0 && promised + u64::from(asked) > u64::from(limit);
        let found = given.overcommitted(&grant, Some(&share(1, limit, None)));
        prop_assert_eq!(!found.is_empty(), expected);
    }
}
