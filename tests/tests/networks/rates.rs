//! How much may go through an interface.

use std::time::{Duration, Instant};

use vmm_tests::network::{Besides, Site, Tenants, of_bridge, traffic};
use vmm_tests::setup::kinds;
use xtask::house::wait_until;

/// A limit of packets or bytes.
struct Limit {
    option: &'static str,
    value: &'static str,
    /// In a second.
    rate: f64,
    /// At once, beyond what a second brings.
    burst: f64,
}

const PACKETS: Limit =
    Limit { option: "--interface-packets", value: "50", rate: 50.0, burst: 64.0 };

const BYTES: Limit = Limit {
    option: "--interface-bandwidth",
    value: "1",
    rate: 125_000.0,
    burst: 125_000.0 + 65_536.0,
};

impl Limit {
    fn tenants(&self) -> Tenants {
        let spawn = [self.option, self.value];
        let besides = Besides { spawn: &spawn, ..Besides::default() };
        Tenants::with(&["ext"], &[("alice", &[&of_bridge("ext", 10, 19)])], besides)
    }

    /// How much may pass in this time, and somewhat more.
    fn most(&self, time: Duration) -> f64 {
        2.0 * self.burst + 1.2 * self.rate * time.as_secs_f64()
    }

    /// What passed is what may, and is not all that there was.
    #[track_caller]
    fn is_kept(&self, passed: u64, sent: u64, time: Duration) {
        let number = |number| f64::from(u32::try_from(number).unwrap());
        let (least, most) = (self.burst / 2.0, self.most(time));
        let said = format!("{}: {passed} of {sent} in {time:?}", self.option);
        assert!((least..=most).contains(&number(passed)), "{said}, and not {least} to {most}");
        assert!(most < number(sent), "sent too slowly to tell: {said}, {most} may pass");
    }
}

#[test]
fn a_guest_is_not_sent_more_than_the_host_lets_through() {
    /// Bytes in a datagram, and in its frame.
    const SIZE: usize = 1000;
    const FRAME: u64 = 14 + 20 + 8 + 1000;
    const MARKS: u32 = 5;
    for (limit, unit) in [(PACKETS, 1), (BYTES, FRAME)] {
        let Some(site) = Site::with(&["ext"]) else { return };
        site.on_host(|| {
            let tenants = limit.tenants();
            let (at, _) = tenants.echo("alice", "echo");
            traffic::reaches(at);
            let begun = Instant::now();
            let mut sent = 0_u32;
            // However slow this host is: much more than may pass, and for a second or longer.
            let enough = |sent: u32| {
                let unit = f64::from(u32::try_from(unit).unwrap());
                let much = 5.0 * limit.most(begun.elapsed());
                f64::from(sent) * unit > much && begun.elapsed() > Duration::from_secs(1)
            };
            while !enough(sent) {
                traffic::unheeded(at, SIZE);
                sent += 1;
            }
            // Whoever has counted these has counted all of those.
            let before = tenants.traffic("alice", "echo").map_or(0, |it| it.sent.1);
            let marks = before + u64::from(MARKS) * FRAME;
            traffic::echoes(at, MARKS, SIZE);
            let last = || tenants.traffic("alice", "echo").filter(|it| it.sent.1 >= marks);
            wait_until("everything counted", || last().is_some()).unwrap();
            let (packets, bytes) = last().unwrap().received;
            let passed = if unit == 1 { packets } else { bytes };
            limit.is_kept(passed, u64::from(sent) * unit, begun.elapsed());
        });
    }
}

#[test]
fn a_guest_does_not_send_more_packets_than_the_host_lets_through() {
    const SENT: u64 = 10_000;
    let Some(site) = Site::with(&["ext"]) else { return };
    site.on_host(|| {
        let tenants = PACKETS.tenants();
        for kind in kinds() {
            let image = format!("sender.{kind}");
            let (count, port) =
                (format!("--count={SENT}"), format!("--port={}", traffic::UNHEEDED));
            let more = ["--attach", "--", "--to=10.0.0.1", "--window=0", &count, &port];
            let begun = Instant::now();
            let (passed, done) = traffic::arriving([10, 0, 0, 1], || {
                tenants.run("alice", kind, &image, &["service=ext"], &more)
            });
            let said = format!("{SENT} sent");
            assert!(done.expect(0).out.contains(&said), "{}", done.out);
            PACKETS.is_kept(passed, SENT, begun.elapsed());
        }
    });
}
