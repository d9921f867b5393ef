use vmm_proto::id::{Digest, MachineId};
use vmm_proto::message::Exit as How;

use super::*;

/// A machine with something in every field.
pub(crate) fn machine() -> client::Machine {
    client::Machine {
        name: "dev/hello".to_owned(),
        state: "exited".to_owned(),
        id: MachineId([0x11; 16]),
        pid: Some(123),
        kind: "spt".to_owned(),
        memory_mib: 512,
        cpus: vec![1, 2],
        image_sha256: Digest([0xab; 32]),
        image_size: 123,
        started_ms: Some(1_767_225_600_042),
        restarts: 3,
        exit: Some(How::Code(0)),
        reason: Some("by itself".to_owned()),
        over_quota: true,
        jail: vec!["no cgroup: not root".to_owned()],
        run: 4,
        former: Some(MachineId([0x22; 16])),
        networks: networks(),
    }
}

/// One that has addresses, and one on a bridge without.
fn networks() -> Vec<client::Network> {
    let network = |device: &str, bridge: &str, tap: &str, last| client::Network {
        device: device.to_owned(),
        bridge: bridge.to_owned(),
        tap: tap.to_owned(),
        mac: [2, 0, 0, 0xab, 0, last],
        address: None,
        address6: None,
    };
    let service = client::Network {
        address: Some(([10, 0, 0, 2].into(), 24)),
        address6: Some(("fd00::2".parse().unwrap(), 64)),
        ..network("service", "ext", "vm2492492492400", 1)
    };
    vec![service, network("management", "int", "vm2492492492401", 2)]
}

fn golden(document: &impl Serialize, file: &str) {
    let text = serde_json::to_string_pretty(document).unwrap() + "\n";
    assert_eq!(text, file);
}

#[test]
fn a_machine_has_the_fields_that_were_promised() {
    golden(&[Machine::of(&machine())], include_str!("golden/info.json"));
    let bare = client::Machine {
        pid: None,
        started_ms: None,
        exit: None,
        reason: None,
        over_quota: false,
        jail: Vec::new(),
        former: None,
        networks: Vec::new(),
        ..machine()
    };
    golden(&[Machine::of(&bare)], include_str!("golden/info-bare.json"));
}

#[test]
fn an_exit_says_how_in_one_field() {
    let exits = [How::Code(7), How::Signal(9), How::OutOfMemory, How::Unknown].map(Exit);
    let text = serde_json::to_string(&exits).unwrap();
    assert_eq!(text, r#"[{"code":7},{"signal":9},{"oom":true},{"unknown":true}]"#);
}

#[test]
fn a_quota_has_the_fields_that_were_promised() {
    let amount = |limit, used| client::Amount { limit, used };
    let quota = |path: &str| client::Quota {
        path: path.to_owned(),
        machines: amount(2, 1),
        memory_mib: amount(1024, 512),
        storage_mib: amount(0, 0),
        cpus: vec![1],
        bridges: vec!["ext".to_owned()],
    };
    let quotas = [quota("dev"), quota("dev/alice")];
    golden(&quotas.each_ref().map(Quota::of), include_str!("golden/quota.json"));
}

/// One that has carried something, and one that was not seen yet.
pub(crate) fn interfaces() -> Vec<client::InterfaceUsage> {
    let traffic = Traffic {
        received_packets: 6,
        received_bytes: 700,
        received_dropped: 8,
        sent_packets: 9,
        sent_bytes: 1000,
        sent_dropped: 11,
    };
    let usage =
        |device: &str, traffic| client::InterfaceUsage { device: device.to_owned(), traffic };
    vec![usage("service", Some(traffic)), usage("management", None)]
}

#[test]
fn statistics_are_samples_with_their_units() {
    let sample = Sample {
        time_ms: 1000,
        user_us: 1,
        system_us: 2,
        resident: 3,
        minor_faults: 4,
        major_faults: 5,
    };
    let usage = client::Usage {
        name: "dev/hello".to_owned(),
        id: MachineId([0x11; 16]),
        samples: vec![sample],
        interfaces: interfaces(),
    };
    golden(&[Usage::of(&usage)], include_str!("golden/statistics.json"));
}

#[test]
fn what_happens_to_a_console_is_one_event_a_line() {
    let bytes = |data: &[u8]| Output::Bytes { position: 5, time_ms: 0, data: data.to_vec() };
    let (text, noise) = (bytes(b"hi\n"), bytes(&[0xff, 0]));
    let gap = Output::Gap { position: 8, bytes: 1234 };
    let lines = [
        Event::output(&text),
        Event::output(&noise),
        Event::output(&gap),
        Event::ended("exited", Some(How::Code(1))),
        Event::ended("stopped", None),
    ];
    let lines: Vec<_> = lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect();
    assert_eq!(lines.join("\n") + "\n", include_str!("golden/events.jsonl"));
}
