//! How much may go through an interface.

use std::time::{Duration, Instant};

use vmm_tests::network::{Besides, Site, Tenants, of_bridge, traffic};
use vmm_tests::setup::kinds;
use xtask::house::wait_until;

/// Packets that may go through an interface in a second, in each direction, and at once.
const RATE: u64 = 50;
const BURST: u64 = 64;

fn limited() -> Tenants {
    let packets = RATE.to_string();
    let spawn = ["--interface-packets", &packets];
    let besides = Besides { spawn: &spawn, ..Besides::default() };
    Tenants::with(&["ext"], &[("alice", &[&of_bridge("ext", 10, 19)])], besides)
}

/// How many packets may pass in this time, and somewhat more.
fn most(time: Duration) -> u64 {
    let rate = f64::from(u32::try_from(RATE).unwrap());
    // No more of them than there are seconds in a test.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small, positive")]
    let passed = (rate * time.as_secs_f64() * 1.2) as u64;
    2 * BURST + passed
}

#[test]
fn a_guest_is_not_sent_more_packets_than_the_host_lets_through() {
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let tenants = limited();
        let (at, _) = tenants.echo("alice", "echo");
        traffic::reaches(at);
        let begun = Instant::now();
        let mut sent = 0;
        // However slow this host is, much more than may pass, and for longer than the burst lasts.
        while sent < 10 * most(begun.elapsed()) || begun.elapsed() < Duration::from_secs(1) {
            traffic::unheeded(at, 64);
            sent += 1;
        }
        // Whoever has counted these has counted all of those.
        let marked = tenants.traffic("alice", "echo").map_or(0, |it| it.sent.1) + 5 * 1000;
        traffic::echoes(at, 5, 1000);
        let last = || tenants.traffic("alice", "echo").filter(|it| it.sent.1 >= marked);
        wait_until("all packets counted", || last().is_some()).unwrap();
        let received = last().unwrap().received.0;
        let most = most(begun.elapsed());
        assert!((BURST..=most).contains(&received), "{received} of {sent}, at most {most}");
        assert!(most < sent, "sent too slowly to tell: {sent}, at most {most}");
    });
}

#[test]
fn a_guest_does_not_send_more_packets_than_the_host_lets_through() {
    const SENT: u64 = 10_000;
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let tenants = limited();
        for kind in kinds() {
            let image = format!("sender.{kind}");
            let (count, port) =
                (format!("--count={SENT}"), format!("--port={}", traffic::UNHEEDED));
            let more = ["--attach", "--", "--to=10.0.0.1", "--window=0", &count, &port];
            let begun = Instant::now();
            let (passed, done) = traffic::arriving([10, 0, 0, 1], || {
                tenants.run("alice", kind, &image, &["service=ext"], &more)
            });
            let most = most(begun.elapsed());
            assert!(done.expect(0).out.contains(&format!("{SENT} sent")), "{}", done.out);
            assert!((BURST / 2..=most).contains(&passed), "{kind}: {passed} of at most {most}");
            assert!(most < SENT / 2, "{kind}: sent too slowly to tell, {:?}", begun.elapsed());
        }
    });
}
