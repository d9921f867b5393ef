//! That the tests of this directory see what they look for.

use std::collections::BTreeSet;
use std::process::Command;

use vmm_tests::network::{Direction, Site, Wire, traffic};
use vmm_tests::setup::{Setup, kinds, programs};
use xtask::house::wait_until;

/// What no bridge passes on: sources that are no hardware's, and what goes to the next bridge only.
const STOPPED_BY_BRIDGES: [&str; 4] =
    ["link-layer-discovery", "mac-multicast", "mac-zero", "pause"];

#[test]
fn without_a_filter_every_lie_is_heard() {
    let Some(site) = Site::with(&["ext"]) else { return };
    let setup = Setup::without_daemons();
    for kind in kinds() {
        let heard = site.in_world(Wire::listen);
        let said = site.on_host(|| {
            traffic::shell("ip tuntap add dev tap0 mode tap; ip link set tap0 master ext up");
            let mut command = Command::new(programs().path("vmm-tender"));
            command.args(["run", "--mem=8", "--net=service=tap0"]);
            command.arg(setup.file(&format!("liar.{kind}"))).arg("--");
            command.args(["--ipv4=10.0.0.2/24", "--ipv6=fd00::2/64"]);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            traffic::shell("ip link del tap0");
            String::from_utf8(output.stdout).unwrap()
        });
        let mut said: BTreeSet<String> = said
            .lines()
            .filter_map(|line| line.strip_prefix("liar: sent "))
            .map(str::to_owned)
            .collect();
        assert!(said.len() > 30, "{said:?}");
        assert!(STOPPED_BY_BRIDGES.iter().all(|name| said.remove(*name)), "{said:?}");
        let all = || {
            let marks = site.in_world(|| heard.marks("ext", Direction::Heard));
            marks.into_keys().collect::<BTreeSet<_>>() == said
        };
        let complete = wait_until("all marks", all);
        assert!(complete.is_ok(), "{:?}", site.in_world(|| heard.marks("ext", Direction::Heard)));
    }
}
