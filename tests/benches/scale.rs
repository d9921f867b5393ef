//! `cargo bench -p vmm-tests --bench scale`: a host with a thousand machines, in one run. Fails when
//! a figure is over its limit.
//!
//! All daemons are those of a release build, all requests go over TLS on the loopback interface, on
//! sessions that stay open. Times are medians, but those of which there is only one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench fails by panicking")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use sha2::{Digest as _, Sha256};
use vmm_proto::message::client::{Reply, Request, ToServer};
use vmm_proto::resource::{Arguments, CpuSet, Machine};
use vmm_tests::deploy;
use vmm_tests::peer::{Credentials, Peer};
use vmm_tests::setup::Setup;
use xtask::bench::memory;
use xtask::house::wait_until;

/// Machines that are there when the time of one more is measured.
const LEVELS: [usize; 4] = [0, 100, 500, 1000];

/// How much longer creating a machine may take at any level than at another.
const FLAT: f64 = 1.5;

/// Sessions that start machines all at once.
const SESSIONS: usize = 8;

/// Machines that each of them starts when the rate is measured.
const STARTS: usize = 100;

/// How often the time of one machine is measured at each level.
const PROBES: usize = 41;

/// How often `vmmd` is killed.
const KILLS: usize = 5;

/// MiB of each machine.
const MACHINE_MIB: u16 = 4;

struct Host {
    setup: Setup,
    config: Arc<ClientConfig>,
}

/// An image, by what a grant says of it.
struct Guest {
    bytes: Vec<u8>,
    arguments: &'static [&'static str],
}

impl Guest {
    fn read(setup: &Setup, name: &str, arguments: &'static [&'static str]) -> Self {
        Self { bytes: std::fs::read(setup.file(name)).unwrap(), arguments }
    }

    fn deploy(&self, name: &str, index: usize) -> ToServer {
        let words = self.arguments.iter().map(|word| (*word).to_owned()).collect();
        let size = u32::try_from(self.bytes.len()).unwrap();
        let machine = Machine {
            memory_mib: MACHINE_MIB.into(),
            cpus: CpuSet::ascending(vec![u16::try_from(index % 2).unwrap()]).unwrap(),
            arguments: Arguments::new(words).unwrap(),
            replace: true,
            ..deploy::machine(Sha256::digest(&self.bytes).into(), size)
        };
        ToServer::Open(deploy::request(Some(deploy::described(name, machine))))
    }
}

/// One session that stays open.
struct Session {
    peer: Peer,
    requests: u32,
}

impl Session {
    fn open(host: &Host) -> Self {
        let address = host.setup.house.address;
        Self { peer: Peer::connect(address, Arc::clone(&host.config)).unwrap(), requests: 0 }
    }

    fn ask(&mut self, request: &ToServer) -> u32 {
        self.requests += 1;
        self.peer.send(self.requests, request).unwrap();
        self.requests
    }

    /// Starts a machine and waits until it runs.
    fn run(&mut self, guest: &Guest, name: &str, index: usize) {
        let request = self.ask(&guest.deploy(name, index));
        loop {
            match self.peer.receive().unwrap() {
                Some((of, Reply::Deployed(_))) if of == request => {}
                Some((of, Reply::Done)) if of == request => return,
                Some((of, Reply::NeedImage { offset: 0 })) if of == request => {
                    for piece in guest.bytes.chunks(32 << 10) {
                        self.peer.send(request, &ToServer::Data(piece.to_vec())).unwrap();
                    }
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    fn destroy(&mut self, name: &str) {
        let request = self.ask(&ToServer::Open(Request::Destroy { name: name.to_owned() }));
        let answer = self.peer.receive().unwrap();
        assert_eq!(answer, Some((request, Reply::Done)));
    }

    /// How many machines run.
    fn running(&mut self) -> usize {
        let request = self.ask(&ToServer::Open(Request::Info { name: None }));
        let mut running = 0;
        loop {
            match self.peer.receive().unwrap() {
                Some((of, Reply::Machines(machines))) if of == request => {
                    running += machines.iter().filter(|m| m.state == "running").count();
                }
                Some((of, Reply::Done)) if of == request => return running,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

impl Host {
    fn new() -> Self {
        let setup = Setup::with_share(&["1100", "16000", "--cpu", "0", "--cpu", "1"]);
        let setup = setup.started(&["--host-machines", "1100", "--host-memory", "16000"]);
        let own = Credentials::read(&setup.file("admin.bundle"), &setup.file("admin.key"));
        let config = own.config();
        Self { setup, config }
    }

    /// Machines `m{from}` to before `m{to}`, by several sessions at once.
    fn fill(&self, guest: &Guest, from: usize, to: usize) {
        std::thread::scope(|scope| {
            for part in 0..SESSIONS {
                scope.spawn(move || {
                    let mut session = Session::open(self);
                    for index in (from..to).filter(|index| index % SESSIONS == part) {
                        session.run(guest, &format!("m{index}"), index);
                    }
                });
            }
        });
    }

    /// Machines started in a second by several sessions, each one after the other.
    fn starts_per_second(&self, guest: &Guest) -> f64 {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for part in 0..SESSIONS {
                scope.spawn(move || {
                    let mut session = Session::open(self);
                    for index in 0..STARTS {
                        session.run(guest, &format!("hello{part}"), index);
                    }
                });
            }
        });
        let starts = u32::try_from(SESSIONS * STARTS).unwrap();
        f64::from(starts) / began.elapsed().as_secs_f64()
    }

    /// From asking for one more machine to its running.
    fn create(&self, guest: &Guest) -> Duration {
        let mut session = Session::open(self);
        let probe = |index| {
            let began = Instant::now();
            session.run(guest, "probe", index);
            let took = began.elapsed();
            session.destroy("probe");
            took
        };
        median((0..PROBES).map(probe).collect())
    }

    fn start_vmmd(&mut self) {
        let more = ["--host-machines", "1100", "--host-memory", "16000"];
        self.setup.house.start_with("vmmd", &more).unwrap();
    }

    /// From killing `vmmd` to an answer that lists `machines`: whether they still run, nobody has said
    /// yet.
    fn serves_again(&mut self, machines: usize) -> Duration {
        let began = Instant::now();
        self.setup.house.take("vmmd").unwrap().kill().unwrap();
        self.start_vmmd();
        let mut session = Session::open(self);
        wait_until("all machines again", || session.running() == machines).unwrap();
        began.elapsed()
    }

    /// From starting `vmmd` to having adopted `machines`. Nothing is started before all that
    /// `vmm-spawn` knows was compared with what should be: so this ends when one more machine runs.
    fn adopts(&mut self, machines: usize, guest: &Guest) -> Duration {
        self.setup.house.take("vmmd").unwrap().kill().unwrap();
        let began = Instant::now();
        self.start_vmmd();
        let mut session = Session::open(self);
        session.run(guest, "after", 0);
        let took = began.elapsed();
        assert_eq!(session.running(), machines + 1);
        session.destroy("after");
        took
    }
}

/// Prints one line; says whether the figure is right.
fn figure(what: &str, value: f64, unit: &str, limit: f64, at_least: bool) -> bool {
    let word = if at_least { "at least" } else { "at most" };
    println!("{what:<68} {value:>9.2} {unit:<4} {word} {limit}");
    if at_least { value >= limit } else { value <= limit }
}

fn main() -> ExitCode {
    let mut host = Host::new();
    let hello = Guest::read(&host.setup, "hello.spt", &[]);
    let ticker = Guest::read(&host.setup, "ticker.spt", &["--every=1000"]);
    Session::open(&host).run(&hello, "hello0", 0);
    let rate = host.starts_per_second(&hello);
    let mut right = figure("spt hello, starts in a second, 8 sessions", rate, "/s", 200.0, true);
    for session in 0..SESSIONS {
        Session::open(&host).destroy(&format!("hello{session}"));
    }
    let idle = memory::daemons_kib(&host.setup.house).unwrap();
    let mut creations = Vec::new();
    let mut present = 0;
    for level in LEVELS {
        host.fill(&ticker, present, level);
        present = level;
        let took = host.create(&ticker);
        println!("with {level:>4} machines, one more runs after {took:.2?}");
        creations.push(took.as_secs_f64());
        if level == 100 {
            let kills = (0..KILLS).map(|_| host.serves_again(level)).collect();
            let took = median(kills).as_secs_f64() * 1e3;
            right &=
                figure("100 machines, from killing vmmd to an answer", took, "ms", 300.0, false);
        }
    }
    let most = creations.iter().copied().fold(0.0, f64::max);
    let least = creations.iter().copied().fold(f64::MAX, f64::min);
    right &=
        figure("creating a machine, slowest over fastest level", most / least, "", FLAT, false);
    let (resident, each) =
        memory::of_many(&host.setup.house, present, idle, MACHINE_MIB.into()).unwrap();
    right &= figure("1000 machines, vmmd + vmm-spawn + vmm-console", resident, "MB", 60.0, false);
    right &= figure("1000 machines, each beside its guest's pages", each, "MiB", 1.5, false);
    let took = host.adopts(present, &ticker).as_secs_f64() * 1e3;
    let what = "1000 machines, from starting vmmd to all adopted and one more";
    right &= figure(what, took, "ms", 2000.0, false);
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
