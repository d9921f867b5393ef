//! What went through an interface.

use vmm_tests::network::{Site, Tenants, of_bridge, traffic};
use vmm_tests::setup::kinds;
use xtask::house::wait_until;

/// Bytes in front of the contents of a datagram over IPv4: Ethernet, IPv4 and UDP.
const HEADERS: u64 = 14 + 20 + 8;

/// Bytes by which answers may be longer than what they answer: those to ARP are filled up.
const ALLOWANCE: u64 = 1000;

/// Frames that were sent in the place of the guest.
const ANNOUNCED: u64 = 1;

#[test]
fn received_is_what_the_guest_got_and_sent_what_it_gave_back() {
    const ECHOES: u32 = 20;
    const ECHO_SIZE: usize = 500;
    const UNHEEDED: u32 = 40;
    const UNHEEDED_SIZE: usize = 1000;
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let tenants = Tenants::new(&["ext"], &[("alice", &[&of_bridge("ext", 10, 19)])]);
        for kind in kinds() {
            let image = format!("echo.{kind}");
            tenants.run("alice", kind, &image, &["service=ext"], &[]).expect(0);
            let at = &tenants.info("alice", kind)["networks"][0]["address"];
            let at = vmm_tests::network::address(at).unwrap();
            traffic::reaches(at);
            traffic::echoes(at, ECHOES, ECHO_SIZE);
            (0..UNHEEDED).for_each(|_| traffic::unheeded(at, UNHEEDED_SIZE));
            let bytes = |count: u32, size: usize| {
                u64::from(count) * (HEADERS + u64::try_from(size).unwrap())
            };
            let echoed = bytes(ECHOES, ECHO_SIZE);
            let unheeded = bytes(UNHEEDED, UNHEEDED_SIZE);
            let all = || {
                tenants.traffic("alice", kind).is_some_and(|it| {
                    it.received.0 >= u64::from(ECHOES + UNHEEDED)
                        && it.received.1 >= echoed + unheeded
                        && it.sent.0 >= u64::from(ECHOES)
                        && it.sent.1 >= echoed
                })
            };
            let counted = wait_until("everything counted", all);
            let said = tenants.traffic("alice", kind).unwrap();
            assert!(counted.is_ok(), "{kind}: {said:?}");
            // It only answers, and not those. That its address was announced counts as sent.
            let sent = said.sent.0 - ANNOUNCED;
            assert!(sent + u64::from(UNHEEDED) <= said.received.0, "{kind}: {said:?}");
            assert!(said.sent.1 + unheeded <= said.received.1 + ALLOWANCE, "{kind}: {said:?}");
        }
    });
}
