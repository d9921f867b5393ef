//! Grants against golden vectors that another encoder made (`vectors/make.py`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use vmm_proto::grant::{Grant, GrantError};
use vmm_proto::id::Digest;
use vmm_proto::name::Label;
use vmm_proto::permission::{Permission, Permissions};
use vmm_proto::resource::{
    AddressRange, Arguments, Bridge, BridgeName, Bridges, CpuSet, Delegation, DeviceName, Devices,
    Encoding, Hosts, Image, Machine, Network, Restart, SectorSize, Volume,
};

fn vectors() -> BTreeMap<&'static str, Vec<u8>> {
    let parse = |line: &'static str| {
        let (name, hex) = line.split_once(' ').unwrap();
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (name, (0..hex.len()).step_by(2).map(byte).collect())
    };
    include_str!("vectors/grants.txt").lines().map(parse).collect()
}

fn cpus(ids: &[u16]) -> CpuSet {
    CpuSet::ascending(ids.to_vec()).unwrap()
}

fn range(first: &str, last: &str, gateway: &str, prefix: u8) -> AddressRange {
    let ip = |text: &str| text.parse().unwrap();
    AddressRange::new(ip(first), ip(last), ip(gateway), prefix).unwrap()
}

fn bridge(name: &str, range: Option<AddressRange>, range6: Option<AddressRange>) -> Bridge {
    Bridge::new(BridgeName::parse(name).unwrap(), range, range6).unwrap()
}

fn counting() -> [u8; 32] {
    std::array::from_fn(|index| u8::try_from(index).unwrap())
}

fn small() -> Delegation {
    Delegation {
        generation: 0,
        machines: 0,
        memory_mib: 0,
        cpus: cpus(&[]),
        storage_mib: 0,
        bridges: Bridges::default(),
        hosts: None,
    }
}

fn named() -> Machine {
    Machine {
        image: Image::Digest { sha256: Digest(counting()), size: 1 << 30 },
        memory_mib: 512,
        cpus: cpus(&[1]),
        devices: Devices::default(),
        arguments: Arguments::default(),
        restart: Restart::Never,
        replace: false,
        priority: 0,
    }
}

fn full() -> Machine {
    let device = |name| DeviceName::parse(name).unwrap();
    let network = |name, bridge, mac| {
        Network::new(device(name), BridgeName::parse(bridge).unwrap(), mac).unwrap()
    };
    let volume = |name, volume, sector_size| Volume {
        device: device(name),
        volume: Label::parse(volume).unwrap(),
        sector_size,
    };
    let sector = SectorSize::new(4096).unwrap();
    Machine {
        image: Image::Embedded {
            encoding: Encoding::Zstd,
            size: 16 << 20,
            data: vec![0x28, 0xb5, 0x2f, 0xfd],
        },
        memory_mib: u32::MAX,
        cpus: cpus(&[0, 1, 2]),
        devices: Devices::new(
            vec![
                network("service", "ext", Some([2, 0, 0, 0, 0, 1])),
                network("management", "int", None),
            ],
            vec![volume("storage", "data", Some(sector)), volume("log", "l0", None)],
        )
        .unwrap(),
        arguments: Arguments::new(vec!["--name=hello".into(), "grüß dich".into(), String::new()])
            .unwrap(),
        restart: Restart::on_failure(vec![1, 255], u16::MAX).unwrap(),
        replace: true,
        priority: 100,
    }
}

fn meaning(name: &str) -> Grant {
    let ext = || {
        let range = range("10.0.0.2", "10.0.0.5", "10.0.0.1", 24);
        bridge("ext", Some(range), None)
    };
    match name {
        "delegation-small" => Grant::Delegation(small()),
        "delegation-large" => Grant::Delegation(Delegation {
            generation: i64::MAX as u64,
            machines: u16::MAX,
            memory_mib: u32::MAX,
            cpus: cpus(&[0, 1, 127, 128, 4095]),
            storage_mib: u32::MAX,
            bridges: Bridges::new(vec![
                ext(),
                bridge("int", None, None),
                bridge("br-6.x_0", None, Some(range("fd00::10", "fd00::1ff", "fe80::1", 64))),
            ])
            .unwrap(),
            hosts: Some(Hosts::new(vec![Digest([7; 32]), Digest(counting())]).unwrap()),
        }),
        "delegation-walkthrough" => Grant::Delegation(Delegation {
            generation: 1_790_000_000,
            machines: 2,
            memory_mib: 1024,
            cpus: cpus(&[1]),
            bridges: Bridges::new(vec![ext()]).unwrap(),
            ..small()
        }),
        "permissions-all" => Grant::Permissions(Permissions::of([Permission::All])),
        "permissions-info-console" => {
            Grant::Permissions(Permissions::of([Permission::Info, Permission::Console]))
        }
        "permissions-input" => Grant::Permissions(Permissions::of([Permission::ConsoleInput])),
        "permissions-eight" => Grant::Permissions(Permissions::of([Permission::Destroy])),
        "machine-named" => Grant::Machine(named()),
        "machine-full" => Grant::Machine(full()),
        "machine-always" => Grant::Machine(Machine {
            image: Image::Embedded { encoding: Encoding::Identity, size: 1, data: b"x".to_vec() },
            restart: Restart::Always,
            ..named()
        }),
        other => panic!("vector \"{other}\" has no meaning here"),
    }
}

#[test]
fn every_golden_vector_decodes_to_its_meaning_and_encodes_to_its_bytes() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 10);
    for (name, der) in vectors {
        let grant = meaning(name);
        assert_eq!(Grant::from_der(&der).as_ref(), Ok(&grant), "{name}");
        assert_eq!(grant.to_der(), der, "{name}");
    }
}

#[test]
fn no_other_bytes_than_the_canonical_ones_are_a_grant() {
    let delegation = vectors()["delegation-small"].clone();
    let with = |at: usize, byte: u8| {
        let mut der = delegation.clone();
        der[at] = byte;
        der
    };
    let mut trailing = delegation.clone();
    trailing.push(0);
    let mut unknown_field = with(1, delegation[1] + 3);
    unknown_field.extend([0x87, 1, 0]);
    let mut empty_hosts = with(1, delegation[1] + 2);
    empty_hosts.extend([0xa6, 0]);
    let mut wide_integer = delegation.clone();
    wide_integer.splice(2..5, [0x80, 2, 0, 0]);
    wide_integer[1] += 1;
    let mut long_length = vec![0xa0, 0x81, delegation[1]];
    long_length.extend(&delegation[2..]);
    let mut indefinite = vec![0xa0, 0x80];
    indefinite.extend(&delegation[2..]);
    indefinite.extend([0, 0]);
    let cases: [(&str, Vec<u8>); 11] = [
        ("nothing", vec![]),
        ("trailing byte", trailing),
        ("unknown field", unknown_field),
        ("empty hosts", empty_hosts),
        ("a wide integer", wide_integer),
        ("a long length", long_length),
        ("an indefinite length", indefinite),
        ("a negative number", with(4, 0x80)),
        ("permissions: no bit", vec![0x81, 1, 0]),
        ("permissions: last bit clear", vec![0x81, 2, 6, 0x80]),
        ("permissions: fourteen bits", vec![0x81, 3, 2, 0x80, 0x04]),
    ];
    for (what, der) in cases {
        assert!(Grant::from_der(&der).is_err(), "{what}: {der:02x?}");
    }
    for end in 0..delegation.len() {
        assert!(Grant::from_der(&delegation[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn the_rules_hold_in_what_is_decoded() {
    let cases: [(&str, Grant); 3] = [
        ("no CPU", Grant::Machine(Machine { cpus: cpus(&[]), ..named() })),
        ("no memory", Grant::Machine(Machine { memory_mib: 0, ..named() })),
        ("priority", Grant::Machine(Machine { priority: 101, ..named() })),
    ];
    for (what, grant) in cases {
        let refused = Grant::from_der(&grant.to_der());
        assert!(matches!(refused, Err(GrantError::Rule(_))), "{what}: {refused:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_decode_to_nothing_or_to_what_encodes_to_them(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(grant) = Grant::from_der(&bytes) {
            prop_assert_eq!(grant.to_der(), bytes);
        }
    }

    #[test]
    fn a_changed_byte_is_never_the_same_grant(
        which in 0..10usize, at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let (name, der) = vectors().into_iter().nth(which).unwrap();
        let mut changed = der.clone();
        changed[at.index(der.len())] = byte;
        if let Ok(grant) = Grant::from_der(&changed) {
            prop_assert_eq!(grant == meaning(name), changed == der);
        }
    }
}
