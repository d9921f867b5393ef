//! Machines that pretend to be somebody else: nobody hears them, while what they honestly say is
//! heard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use vmm_tests::network::{BOTH_ON_EXT, Direction, Site, Tenants, Wire, traffic};
use vmm_tests::setup::kinds;
use xtask::house::wait_until;

/// How often each frame is sent: when the last honest one has passed, so have the lies before it.
const ROUNDS: usize = 3;

/// Who listens: the world, the host itself, and a machine of the same tenant.
struct Ears<'a> {
    site: &'a Site,
    world: Wire,
    host: Wire,
    neighbour: String,
}

impl Ears<'_> {
    /// The interface of a machine.
    fn at(tenants: &Tenants, name: &str) -> String {
        tenants.info("alice", name)["networks"][0]["tap"].as_str().unwrap().to_owned()
    }

    fn heard(&self) -> [(&'static str, BTreeMap<String, usize>); 3] {
        [
            ("the world", self.site.in_world(|| self.world.marks("ext", Direction::Heard))),
            ("the host", self.host.marks("ext", Direction::Heard)),
            ("a neighbour", self.host.marks(&self.neighbour, Direction::Told)),
        ]
    }

    fn clear(&self) {
        self.world.clear();
        self.host.clear();
    }

    /// Has the guest speak, and waits until everybody has heard `marks` as often as they were said.
    fn speaking(&self, tenants: &Tenants, image: &str, marks: &BTreeSet<String>, more: &[&str]) {
        let rounds = format!("--rounds={ROUNDS}");
        let arguments = [&["--attach", "--replace", "--", &rounds], more].concat();
        let done = tenants.run("alice", "liar", image, &["service=ext"], &arguments);
        assert!(done.expect(0).out.contains("liar: done"), "{}", done.out);
        let all = || {
            let heard = self.heard();
            let often = |(_, heard): &(_, BTreeMap<String, usize>)| {
                marks.iter().all(|mark| heard.get(mark) == Some(&ROUNDS))
            };
            heard.iter().all(often)
        };
        let complete = wait_until("all honest frames", all);
        assert!(complete.is_ok(), "{image} said {marks:?}, heard was {:?}", self.heard());
    }
}

/// All that is honest.
const HONEST: [&str; 9] = [
    "ipv4",
    "fragment",
    "last-fragment",
    "arp-request",
    "arp-reply",
    "ipv6",
    "link-local",
    "advertisement",
    "solicitation",
];

fn honest(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| format!("honest-{name}")).collect()
}

#[test]
fn no_lie_is_heard_by_anybody_and_the_truth_is() {
    let Some(site) = Site::with(&["ext"]) else { return };
    let world = site.in_world(Wire::listen);
    site.on_host(|| {
        let tenants = Tenants::new(&["ext"], &[("alice", &BOTH_ON_EXT)]);
        let (echo, _) = tenants.echo("alice", "echo");
        traffic::reaches(echo);
        let neighbour = Ears::at(&tenants, "echo");
        let ears = Ears { site: &site, world, host: Wire::listen(), neighbour };
        let honest = honest(&HONEST);
        for kind in kinds() {
            ears.speaking(&tenants, &format!("liar.{kind}"), &honest, &[]);
            for (who, heard) in ears.heard() {
                let heard: BTreeSet<String> = heard.into_keys().collect();
                assert_eq!(heard, honest, "{who} heard {kind}");
            }
            ears.clear();
        }
    });
}

#[test]
fn on_a_bridge_without_addresses_only_hardware_addresses_and_the_services_of_hosts_are_minded() {
    let Some(site) = Site::with(&["ext"]) else { return };
    let world = site.in_world(Wire::listen);
    site.on_host(|| {
        let tenants = Tenants::new(&["ext"], &[("alice", &["ext"])]);
        let own = ["--", "--ipv4=10.0.0.50/24"];
        tenants.run("alice", "echo", "echo.spt", &["service=ext"], &own).expect(0);
        traffic::reaches(Ipv4Addr::new(10, 0, 0, 50));
        let neighbour = Ears::at(&tenants, "echo");
        let ears = Ears { site: &site, world, host: Wire::listen(), neighbour };
        // Whose addresses these are is nobody's business there, but their hardware addresses are, and
        // so is what hides what it is.
        let addresses = [
            "advertisement",
            "advertisement-link-local",
            "advertisement-without-option",
            "arp-announcement",
            "arp-reply",
            "arp-reply-of-nobody",
            "duplicate-detection",
            "ipv4-broadcast",
            "ipv4-of-another",
            "ipv4-unspecified",
            "ipv6-link-local-of-another",
            "ipv6-of-another",
            "ipv6-unspecified",
            "type-unknown",
        ];
        let mut free = honest(&HONEST);
        free.extend(addresses.map(str::to_owned));
        let own = ["--ipv4=10.0.0.51/24", "--ipv6=fd00::51/64"];
        for kind in kinds() {
            ears.speaking(&tenants, &format!("liar.{kind}"), &free, &own);
            for (who, heard) in ears.heard() {
                let heard: BTreeSet<String> = heard.into_keys().collect();
                assert_eq!(heard, free, "{who} heard {kind}");
            }
            ears.clear();
        }
    });
}
