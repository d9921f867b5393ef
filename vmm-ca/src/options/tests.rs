use clap::Parser;

use super::*;

#[derive(Parser)]
struct Machines {
    #[command(flatten)]
    options: MachineOptions,
}

#[derive(Parser, Debug)]
struct Delegations {
    #[command(flatten)]
    options: DelegationOptions,
}

fn bridges(given: &[&str]) -> Result<Bridges, ResourceError> {
    let words = given.iter().flat_map(|bridge| ["--bridge", bridge]);
    let words = ["test", "--cpu", "1"].into_iter().chain(words);
    Delegations::try_parse_from(words).unwrap().options.bridges()
}

#[test]
fn a_bridge_has_a_range_of_each_family_or_none() {
    for good in [
        "int",
        "ext/10.0.0.2/10.0.0.5/10.0.0.1/24",
        "ext/fd00::2/fd00::5/fd00::1/64",
        "ext/fd00::2/fd00::5/fe80::1/64/10.0.0.2/10.0.0.5/10.0.0.1/24",
    ] {
        assert!(bridge(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "ext/",
        "ext/10.0.0.2/10.0.0.5/10.0.0.1",
        "ext/10.0.0.2/10.0.0.5/10.0.0.1/33",
        "ext/10.0.0.2/10.0.0.5/10.0.0.3/24",
        "ext/10.0.0.2/fd00::5/10.0.0.1/24",
        "ext/a/b/c/d",
        "ext/10.0.0.2/10.0.0.5/10.0.0.1/24/10.0.0.2/10.0.0.5/10.0.0.1/24",
        "much-too-long-a-name",
    ] {
        assert!(bridge(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_bridge_given_once_for_each_family_is_one() {
    let v4 = "ext/10.0.0.2/10.0.0.5/10.0.0.1/24";
    let v6 = "ext/fd00::2/fd00::5/fd00::1/64";
    let both = bridges(&[v4, "int", v6]).unwrap();
    assert_eq!(both.iter().count(), 2);
    let ext = both.get(&BridgeName::parse("ext").unwrap()).unwrap();
    assert!(ext.range().is_some() && ext.range6().is_some());
    for twice in [[v4, v4], [v6, v6], ["int", "int"], ["ext", v4], [v6, "ext"]] {
        assert!(matches!(bridges(&twice), Err(ResourceError::BridgeTwice(_))), "{twice:?}");
    }
}

#[test]
fn a_network_may_name_its_address() {
    assert_eq!(network("net0=ext").unwrap().mac, None);
    let mac = network("net0=ext=02:00:00:aa:BB:01").unwrap().mac;
    assert_eq!(mac, Some([2, 0, 0, 0xaa, 0xbb, 1]));
    for bad in [
        "net0",
        "net-0=ext",
        "net0=",
        "net0=ext=",
        "net0=ext=02:00:00:00:00",
        "net0=ext=01:00:00:00:00:01",
        "net0=ext=+2:00:00:00:00:01",
        "net0=ext=02:00:00:00:00:01:02",
    ] {
        assert!(network(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_volume_may_name_its_sector_size() {
    assert_eq!(volume("data=disk").unwrap().sector_size, None);
    assert_eq!(volume("data=disk=4096").unwrap().sector_size, SectorSize::new(4096).ok());
    for bad in ["data", "data=", "data=../x", "data=disk=0", "data=disk=1000", "data=disk=x"] {
        assert!(volume(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_restart_policy_has_codes_and_a_limit() {
    let on_failure = |codes: &[u8], limit| Restart::OnFailure { codes: codes.to_vec(), limit };
    for (text, policy) in [
        ("never", Restart::Never),
        ("always", Restart::Always),
        ("on-failure", on_failure(&[], 0)),
        ("on-failure:1,2", on_failure(&[1, 2], 0)),
        ("on-failure:1,2:5", on_failure(&[1, 2], 5)),
        ("on-failure::5", on_failure(&[], 5)),
    ] {
        assert_eq!(restart(text), Ok(policy), "{text}");
    }
    for bad in [
        "",
        "often",
        "never:1",
        "always:",
        "on-failure:256",
        "on-failure:1,1",
        "on-failure:1,",
        "on-failure::65536",
        "on-failure:1:2:3",
    ] {
        assert!(restart(bad).is_err(), "{bad}");
    }
}

#[test]
fn cpus_come_repeated_or_by_commas_in_any_order() {
    let parse = |words: &[&str]| {
        let words = ["test"].into_iter().chain(words.iter().copied());
        Machines::try_parse_from(words).map(|machines| machines.options)
    };
    let options = parse(&["--cpu", "3,1", "--cpu", "2", "--", "--name=x", "y"]).unwrap();
    assert_eq!(options.arguments, ["--name=x", "y"]);
    let image = Image::Digest { sha256: vmm_proto::id::Digest([0; 32]), size: 1 };
    let machine = options.machine(image, 512).unwrap();
    assert_eq!(machine.cpus.ids(), [1, 2, 3]);
    for bad in [&["--cpu", "4096"][..], &["--cpu", "-1"], &[], &["--cpu", "1", "--priority", "101"]]
    {
        assert!(parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn every_permission_has_a_name_and_nothing_else_does() {
    for each in Permission::EACH {
        assert_eq!(permission(each.as_str()), Ok(each));
    }
    assert!(permission("root").unwrap_err().contains("consoleInput"));
}
