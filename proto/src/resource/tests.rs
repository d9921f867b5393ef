use super::*;

fn share(machines: u16, memory_mib: u32, cpus: &[u16]) -> Delegation {
    Delegation {
        generation: 1,
        machines,
        memory_mib,
        cpus: cpus.iter().copied().collect(),
        storage_mib: 10,
        bridges: Bridges::default(),
        hosts: None,
    }
}

fn range(first: &str, last: &str, gateway: &str, prefix: u8) -> Result<AddressRange, RangeError> {
    let ip = |text: &str| text.parse().unwrap();
    AddressRange::new(ip(first), ip(last), ip(gateway), prefix)
}

fn on_bridge(range: Option<AddressRange>) -> Delegation {
    let bridge = Bridge::new(BridgeName::parse("ext").unwrap(), range, None).unwrap();
    Delegation { bridges: Bridges::new(vec![bridge]).unwrap(), ..share(1, 1, &[0]) }
}

#[test]
fn a_share_fits_when_nothing_in_it_is_larger() {
    let issuer = share(2, 100, &[0, 1]);
    assert_eq!(share(2, 100, &[0, 1]).fits_in(&issuer), Ok(()));
    assert_eq!(share(0, 0, &[]).fits_in(&issuer), Ok(()));
    assert!(matches!(
        share(3, 1, &[]).fits_in(&issuer),
        Err(Misfit::Number { what: "machines", asked: 3, limit: 2 })
    ));
    assert!(matches!(
        share(1, 101, &[]).fits_in(&issuer),
        Err(Misfit::Number { what: "memory", .. })
    ));
    assert_eq!(share(1, 1, &[2]).fits_in(&issuer), Err(Misfit::Cpu(2)));
}

#[test]
fn a_range_must_lie_inside_the_issuers_with_the_same_gateway_and_prefix() {
    let wide = on_bridge(Some(range("10.0.0.2", "10.0.0.9", "10.0.0.1", 24).unwrap()));
    let fits = |first, last, gateway, prefix| {
        on_bridge(Some(range(first, last, gateway, prefix).unwrap())).fits_in(&wide).is_ok()
    };
    assert!(fits("10.0.0.2", "10.0.0.9", "10.0.0.1", 24));
    assert!(fits("10.0.0.4", "10.0.0.4", "10.0.0.1", 24));
    assert!(!fits("10.0.0.2", "10.0.0.10", "10.0.0.1", 24));
    assert!(!fits("10.0.0.3", "10.0.0.4", "10.0.0.254", 24));
    assert!(!fits("10.0.0.3", "10.0.0.4", "10.0.0.1", 25));
    assert!(on_bridge(None).fits_in(&wide).is_err(), "a range must be named");
    assert!(wide.fits_in(&on_bridge(None)).is_err(), "nothing to delegate from");
    assert!(wide.fits_in(&share(1, 1, &[0])).is_err(), "no such bridge");
}

#[test]
fn a_range_has_only_usable_addresses_of_one_subnet() {
    assert!(range("10.0.0.2", "10.0.0.5", "10.0.0.1", 24).is_ok());
    assert!(range("10.0.0.2", "10.0.0.2", "10.0.0.3", 31).is_ok(), "RFC 3021");
    assert!(range("fd00::2", "fd00::9", "fe80::1", 64).is_ok(), "link-local gateway");
    assert!(range("1.0.0.2", "9.0.0.2", "200.0.0.1", 0).is_ok());
    for (first, last, gateway, prefix, why) in [
        ("10.0.0.5", "10.0.0.2", "10.0.0.1", 24, "order"),
        ("10.0.0.2", "10.0.1.5", "10.0.0.1", 24, "last in another subnet"),
        ("10.0.0.2", "10.0.0.5", "10.0.1.1", 24, "gateway in another subnet"),
        ("10.0.0.2", "10.0.0.5", "10.0.0.3", 24, "gateway inside"),
        ("10.0.0.0", "10.0.0.5", "10.0.0.9", 24, "network address"),
        ("10.0.0.2", "10.0.0.255", "10.0.0.1", 24, "broadcast address"),
        ("10.0.0.2", "10.0.0.5", "10.0.0.1", 33, "prefix"),
        ("10.0.0.2", "fd00::1", "10.0.0.1", 24, "family"),
        ("0.0.0.0", "10.0.0.5", "10.0.0.9", 0, "unspecified"),
        ("127.0.0.2", "127.0.0.5", "127.0.0.1", 8, "loopback"),
        ("224.0.0.2", "224.0.0.5", "224.0.0.1", 24, "multicast"),
        ("ff02::2", "ff02::5", "fe80::1", 64, "multicast"),
        ("fd00::2", "fd00::9", "fd01::1", 64, "gateway in another subnet"),
    ] {
        assert!(range(first, last, gateway, prefix).is_err(), "{why}");
    }
}

#[test]
fn hosts_narrow_and_are_never_widened() {
    let key = |byte| Digest([byte; 32]);
    let bound = |keys: &[u8]| Delegation {
        hosts: Some(Hosts::new(keys.iter().copied().map(key).collect()).unwrap()),
        ..share(1, 1, &[0])
    };
    assert!(bound(&[1]).fits_in(&share(1, 1, &[0])).is_ok());
    assert!(bound(&[1]).fits_in(&bound(&[1, 2])).is_ok());
    assert_eq!(bound(&[3]).fits_in(&bound(&[1, 2])), Err(Misfit::Host(key(3))));
    assert!(share(1, 1, &[0]).fits_in(&bound(&[1])).is_ok(), "absent: inherited");
    assert!(Hosts::new(vec![]).is_err());
    assert!(Hosts::new(vec![key(1), key(1)]).is_err());
}

#[test]
fn device_names_are_unique_over_networks_and_volumes() {
    let device = |name: &str| DeviceName::parse(name).unwrap();
    let network =
        |name: &str| Network::new(device(name), BridgeName::parse("br0").unwrap(), None).unwrap();
    let volume = |name: &str| Volume {
        device: device(name),
        volume: crate::name::Label::parse("data").unwrap(),
        sector_size: None,
    };
    assert!(Devices::new(vec![network("a")], vec![volume("b")]).is_ok());
    assert!(Devices::new(vec![network("a")], vec![volume("a")]).is_err());
    assert!(Devices::new(vec![network("a"); 2], vec![]).is_err());
    let many = |n: usize| (0..n).map(|i| network(&format!("n{i}"))).collect();
    assert!(Devices::new(many(63), vec![]).is_ok());
    assert!(Devices::new(many(64), vec![]).is_err());
}

#[test]
fn small_values_have_their_rules() {
    assert!(Arguments::new(vec!["x".into(); 256]).is_ok());
    assert!(Arguments::new(vec!["x".into(); 257]).is_err());
    assert!(Arguments::new(vec!["x".repeat(8191)]).is_ok());
    assert!(Arguments::new(vec!["x".repeat(8190), String::new()]).is_ok());
    assert!(Arguments::new(vec!["x".repeat(8191), String::new()]).is_err());
    assert!(Arguments::new(vec!["a\nb".into()]).is_err());
    assert!([512, 1024, 32768].into_iter().all(|size| SectorSize::new(size).is_ok()));
    assert!([0, 256, 1000, 65536].into_iter().all(|size| SectorSize::new(size).is_err()));
    assert!(CpuSet::ascending(vec![0, 4095]).is_ok());
    assert!(CpuSet::ascending(vec![1, 1]).is_err());
    assert!(CpuSet::ascending(vec![4096]).is_err());
    let bridge = BridgeName::parse("ext").unwrap();
    let mac = |mac| Network::new(DeviceName::parse("a").unwrap(), bridge.clone(), Some(mac));
    assert!(mac([2, 0, 0, 0, 0, 1]).is_ok());
    assert!(mac([1, 0, 0, 0, 0, 1]).is_err());
    assert!(mac([0; 6]).is_err());
    assert!(Restart::on_failure(vec![1, 2], 0).is_ok());
    assert!(Restart::on_failure(vec![1, 1], 0).is_err());
}
