use std::path::Path;

use netlink_packet_route::link::{InfoBridge, InfoBridgePort as Port, InfoData, LinkInfo};
use netlink_packet_route::neighbour::NeighbourState;
use vmm_testkit::untested_here;

use super::super::tests::{Holder, empty_network, make_bridge};
use super::*;

const MAC: Mac = [2, 0, 0, 0, 0, 9];

/// A network with a bridge, and what makes taps on it without filters.
struct Host {
    netlink: Netlink,
    rules: Rules,
    owner: Owner,
}

fn host(bridge: &str) -> Option<Host> {
    let mut netlink = empty_network()?;
    let index = make_bridge(&mut netlink, bridge);
    netlink.set_up(index, true).unwrap();
    Some(Host { netlink, rules: Rules::default(), owner: owner("/run/vmm") })
}

fn owner(dir: &str) -> Owner {
    Owner::of_directory(Path::new(dir))
}

fn interface(bridge: &str, mac: Mac) -> Interface {
    let (device, bridge) = ("service".to_owned(), bridge.to_owned());
    Interface { device, bridge, mac, address: None, address6: None, group: None }
}

fn id(number: u8) -> MachineId {
    MachineId([number; 16])
}

impl Host {
    /// A tap that is up without a filter.
    fn tap(&mut self, number: u8, interface: &Interface) -> Result<Tap, TapError> {
        let Self { netlink, rules, owner } = self;
        let mut maker = Maker { netlink, rules, owner };
        let prepared = maker.prepare(id(number), 0, interface)?;
        maker.activate(prepared)
    }

    fn refused(&mut self, number: u8, interface: &Interface) -> String {
        let error = self.tap(number, interface).unwrap_err().to_string();
        let name = TapName::of(id(number), 0);
        assert_eq!(self.netlink.link(name.as_str()).unwrap(), None, "{error}");
        error
    }

    fn link(&mut self, name: &str) -> Link {
        self.netlink.link(name).unwrap().unwrap()
    }

    /// With a hardware address that is not one of the kernel's choice, which a machine might not
    /// have in any case.
    fn give_address(&mut self, name: &str, last: u8) -> Link {
        let index = self.link(name).index;
        let address = vec![LinkAttribute::Address(vec![2, 0, 0, 0, 0, last])];
        self.netlink.change_link(index, address).unwrap();
        self.link(name)
    }
}

#[test]
fn a_tap_is_a_port_with_one_address_behind_it_and_gone_with_its_descriptor() {
    let Some(mut host) = host("a-15-bytes-long") else { return };
    let bridge = host.link("a-15-bytes-long");
    let mtu = vec![LinkAttribute::Mtu(1400)];
    host.netlink.change_link(bridge.index, mtu).unwrap();
    let group = Some(7);
    let tap = host.tap(1, &Interface { group, ..interface("a-15-bytes-long", MAC) }).unwrap();
    assert_eq!((tap.mtu, tap.mac, tap.device.as_str()), (1400, MAC, "service"));
    let link = host.link(TapName::of(id(1), 0).as_str());
    assert_eq!((link.mtu, link.controller, link.is_up), (1400, Some(bridge.index), true));
    assert_eq!(link.group, 0x564d_0008);
    assert_eq!(link.mac.map(|mac| mac[0]), Some(0xFE));
    assert_eq!(host.owner.of(&link), Some(id(1).to_string().as_str()));
    for setting in [
        Port::Learning(false),
        Port::UnicastFlood(false),
        Port::BroadcastFlood(true),
        Port::MulticastFlood(true),
        Port::Guard(true),
        Port::Isolated(false),
        Port::Locked(true),
    ] {
        assert!(link.port.contains(&setting), "{setting:?}: {:?}", link.port);
    }
    let known = host.netlink.behind(bridge.index, MAC).unwrap().unwrap();
    assert_eq!((known.port, known.is_sticky), (link.index, true));
    assert_eq!(known.state, NeighbourState::Noarp);
    drop(tap);
    assert_eq!(host.netlink.link(TapName::of(id(1), 0).as_str()).unwrap(), None);
    assert_eq!(host.netlink.behind(bridge.index, MAC).unwrap(), None);
}

#[test]
fn a_tap_has_the_mtu_that_its_bridge_has_when_it_is_made() {
    let Some(mut host) = host("ext") else { return };
    let bridge = host.link("ext").index;
    let mut taps = Vec::new();
    for (number, mtu) in [(1, 9000), (2, 1400), (3, 2000)] {
        host.netlink.change_link(bridge, vec![LinkAttribute::Mtu(mtu)]).unwrap();
        let tap = host.tap(number, &interface("ext", [2, 0, 0, 0, 0, number])).unwrap();
        assert_eq!((tap.mtu, host.link("ext").mtu), (mtu, mtu));
        taps.push(tap);
    }
    let mut mtu = |number| host.link(TapName::of(id(number), 0).as_str()).mtu;
    assert_eq!([1, 2, 3].map(&mut mtu), [9000, 1400, 2000]);
}

#[test]
fn no_tap_goes_up_unless_it_is_filtered() {
    let Some(Host { mut netlink, rules, owner }) = host("ext") else { return };
    let mut maker = Maker { netlink: &mut netlink, rules: &rules, owner: &owner };
    let interface = interface("ext", MAC);
    let prepared = maker.prepare(id(1), 0, &interface).unwrap();
    assert!(!maker.netlink.link_at(prepared.facts.index).unwrap().unwrap().is_up);
    drop(prepared);
    // Its rules are somebody else's.
    let name = TapName::of(id(1), 0);
    let held = Holder::of(&format!("netdev vmm-{name}"));
    let error = maker.make(id(1), 0, &interface).unwrap_err();
    assert!(matches!(error, TapError::Filter(_)), "{error}");
    assert_eq!(maker.netlink.link(name.as_str()).unwrap(), None);
    drop(held);
    let tap = maker.make(id(1), 0, &interface).unwrap();
    assert!(maker.netlink.link(name.as_str()).unwrap().unwrap().is_up);
    drop(tap);
}

#[test]
fn a_bridge_keeps_its_hardware_address_whoever_comes_and_goes() {
    let Some(mut host) = host("ext") else { return };
    let before = host.link("ext").mac;
    let tap = host.tap(1, &interface("ext", MAC)).unwrap();
    assert_eq!(host.link("ext").mac, before);
    drop(tap);
    assert_eq!(host.link("ext").mac, before);
}

#[test]
fn a_hardware_address_is_on_a_bridge_once() {
    let Some(mut host) = host("ext") else { return };
    let tap = host.tap(1, &interface("ext", MAC)).unwrap();
    let first = TapName::of(id(1), 0);
    let error = host.refused(2, &interface("ext", MAC));
    assert_eq!(
        error,
        format!(
            "bridge \"ext\" has the hardware address 02:00:00:00:00:09 already: it is behind {first}"
        )
    );
    // Where it is then, it stays.
    let bridge = host.link("ext");
    let index = host.link(first.as_str()).index;
    let known = host.netlink.behind(bridge.index, MAC).unwrap();
    assert_eq!(known.unwrap().port, index);
    assert_eq!(host.netlink.behind_anywhere(bridge.index, MAC).unwrap(), known);

    let bridge = host.give_address("ext", 1);
    let error = host.refused(2, &interface("ext", bridge.mac.unwrap()));
    assert!(error.ends_with("it is the bridge's own"), "{error}");
    // On another bridge it is nobody's.
    make_bridge(&mut host.netlink, "other");
    let other = host.tap(2, &interface("other", MAC)).unwrap();
    drop((tap, other));
    drop(host.tap(2, &interface("ext", MAC)).unwrap());
}

#[test]
fn the_address_of_an_interface_of_the_host_is_not_a_machines() {
    let Some(mut host) = host("ext") else { return };
    let bridge = host.give_address("ext", 1);
    let port = tun::make("eth0").unwrap();
    let link = host.give_address("eth0", 2);
    let controller = vec![LinkAttribute::Controller(bridge.index)];
    host.netlink.change_link(link.index, controller).unwrap();
    let error = host.refused(1, &interface("ext", link.mac.unwrap()));
    assert!(error.ends_with("it is that of this host's interface eth0"), "{error}");
    drop(port);
}

#[test]
fn an_address_in_a_vlan_of_the_bridge_is_taken_too() {
    let Some(mut host) = host("ext") else { return };
    let bridge = host.link("ext").index;
    let filtering = InfoData::Bridge(vec![InfoBridge::VlanFiltering(true)]);
    let info = vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(filtering)];
    match host.netlink.change_link(bridge, vec![LinkAttribute::LinkInfo(info)]) {
        // The only word for it that this kernel has: so it is no matter of who runs the tests.
        Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {
            untested_here("VLANs on bridges: the kernel has no CONFIG_BRIDGE_VLAN_FILTERING");
            return;
        }
        done => done.unwrap(),
    }
    assert!(host.link("ext").keeps_vlans_apart);
    let tap = host.tap(1, &interface("ext", MAC)).unwrap();
    let error = host.refused(2, &interface("ext", MAC));
    assert!(error.contains("already: it is behind vm"), "{error}");
    drop(tap);
}

#[test]
fn what_is_no_bridge_or_no_address_of_one_interface_is_refused_with_the_rule() {
    let Some(mut host) = host("ext") else { return };
    for (bridge, mac, rule) in [
        ("gone", MAC, "bridge \"gone\" does not exist on this host"),
        ("lo", MAC, "bridge \"lo\" is no bridge: an interface of this name is something else"),
        ("a-16-bytes-long-", MAC, "does not exist"),
        ("ext", [0; 6], "00:00:00:00:00:00 cannot be"),
        ("ext", [1, 0, 0, 0, 0, 9], "it is that of a group"),
        ("ext", [0xFE, 0, 0, 0, 0, 9], "those that begin with fe"),
    ] {
        let error = host.refused(1, &interface(bridge, mac));
        assert!(error.contains(rule), "{error}");
    }
    let group = Some(GROUPS_MAX);
    let error = host.refused(1, &Interface { group, ..interface("ext", MAC) });
    assert!(error.contains("at most 65534 groups"), "{error}");
}

#[test]
fn what_an_earlier_run_has_left_is_replaced_and_what_is_of_others_is_not() {
    let Some(mut host) = host("ext") else { return };
    let left = host.tap(1, &interface("ext", MAC)).unwrap();
    let again = host.tap(1, &interface("ext", MAC)).unwrap();
    drop(left);
    assert_eq!(host.link(TapName::of(id(1), 0).as_str()).controller, Some(host.link("ext").index));
    host.owner = owner("/run/other");
    let error = host.tap(1, &interface("ext", MAC)).unwrap_err().to_string();
    assert!(error.contains("there already, and not of this vmm-spawn"), "{error}");
    drop(again);
}

#[test]
fn five_hundred_taps_are_on_one_bridge() {
    let Some(mut host) = host("ext") else { return };
    let taps: Vec<_> = (0..=255)
        .flat_map(|machine| [(machine, 0), (machine, 1)])
        .map(|(machine, index)| {
            let mac = [2, 0, 0, 0, machine, u8::try_from(index).unwrap()];
            let Host { netlink, rules, owner } = &mut host;
            let mut maker = Maker { netlink, rules, owner };
            let interface = interface("ext", mac);
            let prepared = maker.prepare(id(machine), index, &interface).unwrap();
            maker.activate(prepared).unwrap()
        })
        .collect();
    let bridge = host.link("ext").index;
    let links = host.netlink.links().unwrap();
    let ports = links.iter().filter(|link| link.controller == Some(bridge) && link.is_up);
    assert_eq!(ports.count(), taps.len());
    drop(taps);
    assert_eq!(host.netlink.links().unwrap().len(), 2);
}
