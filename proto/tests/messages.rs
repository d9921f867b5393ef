//! The bytes of live messages, golden: two builds of one version must understand each other, so a
//! change here is a change of [`vmm_proto::message::VERSION`].

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::{Debug, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::message::client::{
    Amount, Described, Doorkeeping, Doors, Error, ErrorCode, HostNetworkInfo, InterfaceUsage,
    Machine, Network, NetworkDeed, Quota, Reply, Request, Revoked, ToServer, Usage,
};
use vmm_proto::message::console::{FromConsole, ToConsole};
use vmm_proto::message::log::{Event, FromLog, Place, ToLog};
use vmm_proto::message::spawn::{
    FromSpawn, HostNetwork, HostNetworkState, Interface, Role, Start, ToSpawn,
};
use vmm_proto::message::stats::{FromStats, Measured, Running, ToStats};
use vmm_proto::message::why::{Deed, Level, Newest, Part, Room, User, Walked};
use vmm_proto::message::wire::{self, FromWire, ToWire};
use vmm_proto::message::{ConsoleStart, Exit, Hello, Output, Sample, Traffic};

/// Collects `name hex` lines and checks that each message comes back as it was.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add<T: ToWire + FromWire + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        let bytes = wire::encode(message).unwrap();
        assert_eq!(wire::decode::<T>(&bytes).as_ref(), Ok(message), "{name}");
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(wire::decode::<T>(&longer).is_err(), "{name} with a trailing byte");
        assert!(wire::decode::<T>(&bytes[..bytes.len() - 1]).is_err(), "{name} cut short");
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        writeln!(self.0, "{name} {hex}").unwrap();
    }
}

const ID: MachineId = MachineId([7; 16]);

fn text(text: &str) -> String {
    text.to_owned()
}

fn client(lines: &mut Lines) {
    let name = || Some(text("a/b"));
    let open = |request| ToServer::Open(request);
    let described = Described { name: text("x"), grant: vec![1, 2, 3] };
    let deploy =
        |described, probation_ms| Request::Deploy { described, attach: true, probation_ms };
    lines.add("open-deploy", &open(deploy(Some(described), None)));
    lines.add("open-deploy-own", &open(deploy(None, Some(10_000))));
    lines.add("open-info", &open(Request::Info { name: name() }));
    let start = ConsoleStart::Lines(300);
    lines.add("open-attach", &open(Request::Attach { name: text("x"), start, follow: true }));
    lines.add("open-detach", &open(Request::Detach { name: text("x") }));
    lines.add("open-statistics", &open(Request::Statistics { name: None, follow: false }));
    let since_ms = Some(1_790_000_000_000);
    lines.add("open-log", &open(Request::Log { name: None, since_ms, follow: true }));
    lines.add("open-quota", &open(Request::Quota));
    lines.add("open-start", &open(Request::Start { name: text("x") }));
    let timeout_ms = Some(70_000);
    lines.add("open-stop", &open(Request::Stop { name: text("x"), timeout_ms }));
    lines.add("open-restart", &open(Request::Restart { name: text("x"), timeout_ms: None }));
    lines.add("open-destroy", &open(Request::Destroy { name: text("x") }));
    let chain = vec![vec![0x30, 0], vec![]];
    lines.add("open-revoke", &open(Request::Revoke { size: 70_000, chain }));
    why(lines);
    lines.add("open-host-drain", &open(Request::Host(Doorkeeping::Drain { wait: true })));
    lines.add("open-host-open", &open(Request::Host(Doorkeeping::Open)));
    let deeds = [
        ("add", NetworkDeed::Add(host_network())),
        ("list", NetworkDeed::List),
        ("remove", NetworkDeed::Remove { name: text("nat0") }),
    ];
    for (name, deed) in deeds {
        lines.add(&format!("open-host-network-{name}"), &open(Request::HostNetwork(deed)));
    }
    lines.add("data", &ToServer::Data(vec![0, 255]));
    lines.add("cancel", &ToServer::Cancel);
    replies(lines);
}

fn replies(lines: &mut Lines) {
    let machine = Machine {
        name: text("dev/hello"),
        state: text("running"),
        id: ID,
        pid: Some(1234),
        kind: text("spt"),
        memory_mib: 512,
        cpus: vec![0, 300],
        image_sha256: Digest([9; 32]),
        image_size: 70_000,
        started_ms: Some(1_790_000_000_000),
        restarts: 2,
        exit: Some(Exit::Code(3)),
        reason: Some(text("because")),
        over_quota: true,
        jail: vec![text("none")],
        run: 300,
        former: Some(ID),
        networks: networks(),
    };
    lines.add("need-image", &Reply::NeedImage { offset: 0 });
    lines.add("deployed", &Reply::Deployed(machine.clone()));
    lines.add("machines", &Reply::Machines(vec![machine]));
    let bytes = Output::Bytes { position: 1, time_ms: 2, data: vec![b'x'] };
    lines.add("output", &Reply::Output(bytes));
    lines.add("gap", &Reply::Output(Output::Gap { position: 1, bytes: 1 << 40 }));
    let exit = Some(Exit::Signal(9));
    lines.add("ended", &Reply::Ended { state: text("failed"), exit });
    lines.add("detached", &Reply::Detached(3));
    let carried = InterfaceUsage { device: text("net0"), traffic: Some(traffic()) };
    let silent = InterfaceUsage { device: text("net1"), traffic: None };
    let interfaces = vec![carried, silent];
    let usage = Usage { name: text("a"), id: ID, samples: vec![sample()], interfaces };
    lines.add("statistics", &Reply::Statistics(vec![usage]));
    lines.add("log-line", &Reply::LogLine(text("{}")));
    let amount = Amount { limit: 2, used: 1 };
    let quota = Quota {
        path: text("dev"),
        machines: amount,
        memory_mib: amount,
        storage_mib: amount,
        cpus: vec![1],
        bridges: vec![text("ext")],
    };
    lines.add("quota", &Reply::Quota(vec![quota]));
    lines.add("done", &Reply::Done);
    for (index, code) in ERROR_CODES.into_iter().enumerate() {
        lines.add(&format!("error-{index}"), &Reply::Error(Error::new(code, code.as_str())));
    }
    lines.add("need-list", &Reply::NeedList);
    let revoked = Revoked { issuer: text("dev"), number: text("7"), serials: 300, machines: 1 };
    lines.add("revoked", &Reply::Revoked(revoked));
    lines.add("doors", &Reply::Doors(Doors { draining: true, live: 3 }));
    let info =
        HostNetworkInfo { network: host_network(), up: Some(true), problem: None, machines: 2 };
    lines.add("host-networks", &Reply::HostNetworks(vec![info]));
}

fn host_network() -> HostNetwork {
    let (name, uplink) = (text("nat0"), Some(text("eth0")));
    HostNetwork { name, address: [10, 0, 0, 1].into(), prefix: 24, uplink }
}

fn networks() -> Vec<Network> {
    let network = |device, address, address6| Network {
        device: text(device),
        bridge: text("ext"),
        tap: text("vm0"),
        mac: [2, 0, 0, 0, 0, 1],
        address,
        address6,
    };
    let address6 = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
    let addresses = (Some((Ipv4Addr::new(10, 0, 0, 2), 24)), Some((address6, 64)));
    vec![network("net0", addresses.0, addresses.1), network("net1", None, None)]
}

fn why(lines: &mut Lines) {
    let deploy = Deed::Deploy { described: None, attach: true };
    lines.add("open-why-deploy", &ToServer::Open(Request::Why(deploy)));
    let start = Deed::Start { name: text("x") };
    lines.add("open-why-start", &ToServer::Open(Request::Why(start)));
    let walked = Walked {
        path: text("dev"),
        issuer: Digest([3; 32]),
        generation: 7,
        not_before: -1,
        not_after: 1_790_000_000,
        newest: Some(Newest { generation: 8, seen_ms: 1_790_000_000_000 }),
        revoked: false,
    };
    lines.add("why-walked", &Reply::Why(Part::Walked(walked)));
    let room = Room { limit: 2, asked: 1, used: Some(1), left: Some(1), fits: true };
    let level = Level {
        path: text("dev"),
        machines: room,
        memory_mib: Room { used: None, left: None, fits: false, ..room },
        image_bytes: room,
        cpus: vec![0, 300],
        cpus_missing: vec![2],
        bridges: Some(vec![text("ext")]),
        bridges_missing: vec![text("int")],
    };
    lines.add("why-level", &Reply::Why(Part::Level(level)));
    let user = User { name: text("dev/a"), state: text("running"), memory_mib: 64 };
    lines.add("why-users", &Reply::Why(Part::Users(vec![user])));
    let error = Error::new(ErrorCode::Quota, "no");
    lines.add("why-obstacle", &Reply::Why(Part::Obstacle(error)));
}

const ERROR_CODES: [ErrorCode; 12] = [
    ErrorCode::Usage,
    ErrorCode::Chain,
    ErrorCode::Permission,
    ErrorCode::Quota,
    ErrorCode::Address,
    ErrorCode::Name,
    ErrorCode::NotFound,
    ErrorCode::StartFailed,
    ErrorCode::Image,
    ErrorCode::Unavailable,
    ErrorCode::Busy,
    ErrorCode::Internal,
];

fn sample() -> Sample {
    Sample { time_ms: 1, user_us: 2, system_us: 3, resident: 4, minor_faults: 5, major_faults: 6 }
}

fn traffic() -> Traffic {
    Traffic {
        received_packets: 1,
        received_bytes: 300,
        received_dropped: 2,
        sent_packets: 3,
        sent_bytes: 1 << 40,
        sent_dropped: 4,
    }
}

fn spawn(lines: &mut Lines) {
    lines.add("hello", &Hello::of("vmmd"));
    for (name, role) in [("supervisor", Role::Supervisor), ("console", Role::Console)] {
        lines.add(&format!("spawn-hello-{name}"), &ToSpawn::Hello { version: 1, role });
    }
    let arguments = vec![text("--name=x")];
    let network = Interface {
        device: text("service"),
        bridge: text("ext"),
        mac: [2, 0, 0, 0, 0, 9],
        address: Some(Ipv4Addr::new(10, 0, 0, 2)),
        address6: None,
        group: Some(1),
    };
    let networks = vec![network];
    let start = Start { id: ID, run: 3, memory_mib: 64, cpus: vec![0], arguments, networks };
    lines.add("spawn-start", &ToSpawn::Start(start));
    lines.add("spawn-stop", &ToSpawn::Stop { id: ID, run: 3, force: true });
    lines.add("spawn-end-seen", &ToSpawn::EndSeen { id: ID, run: 3 });
    lines.add("spawn-forget", &ToSpawn::Forget { id: ID });
    let (jail, bridges) = (vec![text("no cgroup")], vec![text("ext")]);
    lines.add("spawn-welcome", &FromSpawn::Welcome { version: 1, jail, bridges, known: 2 });
    lines.add("spawn-known", &FromSpawn::Known { id: ID, run: 3, pid: None, ready: false });
    lines.add("spawn-started", &FromSpawn::Started { id: ID, run: 3, pid: 99 });
    let reason = text("no");
    lines.add("spawn-start-failed", &FromSpawn::StartFailed { id: ID, run: 3, reason });
    for (name, exit) in [("oom", Exit::OutOfMemory), ("unknown", Exit::Unknown)] {
        let exited = FromSpawn::Exited {
            id: ID,
            run: 3,
            exit,
            output_end: 1,
            user_us: 2,
            system_us: 3,
            max_resident_kib: 4,
        };
        lines.add(&format!("spawn-exited-{name}"), &exited);
    }
    lines.add("spawn-ring", &FromSpawn::Ring { id: ID });
    lines.add("spawn-ring-gone", &FromSpawn::RingGone { id: ID });
    lines.add("spawn-ping", &ToSpawn::Ping);
    lines.add("spawn-pong", &FromSpawn::Pong);
    let networks = vec![host_network()];
    lines.add("spawn-host-networks", &ToSpawn::HostNetworks { number: 300, networks });
    let states = vec![HostNetworkState { name: text("nat0"), problem: Some(text("no")) }];
    let bridges = vec![text("ext")];
    let told = FromSpawn::HostNetworks { number: 300, states, bridges };
    lines.add("spawn-host-networks-are", &told);
}

fn others(lines: &mut Lines) {
    for (name, start) in
        [("position", ConsoleStart::Position(5)), ("since", ConsoleStart::Since(1_790_000_000_000))]
    {
        let attach = ToConsole::Attach { machine: ID, start, follow: false };
        lines.add(&format!("console-attach-{name}"), &attach);
    }
    lines.add("console-end-at", &ToConsole::EndAt { position: 5 });
    let gap = Output::Gap { position: 1, bytes: 2 };
    lines.add("console-output", &FromConsole::Output(gap));
    lines.add("console-end", &FromConsole::End);
    lines.add("console-unknown", &FromConsole::Unknown);
    lines.add("console-where", &ToConsole::Where);
    lines.add("console-at", &FromConsole::At { position: 300 });
    let event = Event {
        source: [1; 16],
        sequence: 1,
        time_ms: 2,
        kind: text("login"),
        path: text("dev"),
        machine: None,
        fields: vec![(text("by"), text("x"))],
    };
    lines.add("log-append", &ToLog::Append(vec![event]));
    let (path, place) = (text(""), Place { file: 2, offset: 300 });
    let after = Some(place);
    let read = ToLog::Read { path, machine: None, since_ms: None, after, follow: true };
    lines.add("log-read", &read);
    lines.add("log-where", &ToLog::Where);
    lines.add("log-line", &FromLog::Line { line: text("{}"), end: place });
    lines.add("log-at", &FromLog::At(place));
    lines.add("log-durable", &FromLog::Durable { source: [1; 16], sequence: 9 });
    lines.add("log-end", &FromLog::End);
    lines.add("log-failed", &FromLog::Failed(text("full")));
    let running = Running { machine: ID, pid: 1, interfaces: 2 };
    lines.add("stats-reset", &ToStats::Reset(vec![running]));
    lines.add("stats-watch", &ToStats::Watch(running));
    lines.add("stats-ended", &ToStats::Ended { machine: ID });
    lines.add("stats-forget", &ToStats::Forget { machine: ID });
    lines.add("stats-query", &ToStats::Query { machines: vec![ID], samples: 30 });
    lines.add("stats-told", &ToStats::Told);
    let traffic = vec![None, Some(traffic())];
    let measured = Measured { machine: ID, samples: vec![sample()], traffic };
    lines.add("stats-report", &FromStats::Report(vec![measured]));
}

#[test]
fn every_message_has_the_bytes_that_it_had() {
    let mut lines = Lines::default();
    client(&mut lines);
    spawn(&mut lines);
    others(&mut lines);
    let golden = include_str!("vectors/messages.txt");
    for (now, then) in lines.0.lines().zip(golden.lines()) {
        assert_eq!(now, then);
    }
    assert_eq!(lines.0, golden, "as many lines as before");
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_a_message_or_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        // Whatever is understood can be said; that nothing panics is the point.
        if let Ok(message) = wire::decode::<ToServer>(&bytes) {
            prop_assert!(wire::encode(&message).is_ok());
        }
        if let Ok(message) = wire::decode::<Reply>(&bytes) {
            prop_assert!(wire::encode(&message).is_ok());
        }
        if let Ok(message) = wire::decode::<ToSpawn>(&bytes) {
            prop_assert!(wire::encode(&message).is_ok());
        }
        if let Ok(message) = wire::decode::<ToLog>(&bytes) {
            prop_assert!(wire::encode(&message).is_ok());
        }
    }

    #[test]
    fn a_claimed_length_costs_no_memory(claimed in 300u32..) {
        // A Data message that claims so many bytes (a varint of 32 bits) and has none.
        let mut bytes = vec![1, 252];
        bytes.extend(claimed.to_le_bytes());
        prop_assert!(wire::decode::<ToServer>(&bytes).is_err());
    }
}
